"""Overlaid text on real clips: what is boxed, and what looking for it costs.

    python benchmarks/studies/overlaid_text.py CLIP [CLIP ...] [--frames 10] [--pictures DIR]

Whether a box is text only an eye can tell: DIR gets one picture a clip with its boxes drawn, the
middle one of the frames that were searched.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from aa_curation.measure.frames import iter_frames_at
from aa_curation.text.overlay import OverlaidText, TextSearch, find_overlaid_text
from aa_datasets.video.foreign import probe_video

_RED = (255, 0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=10, help="searched per clip")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the boxes")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    search = TextSearch()
    detector = search.make_detector()
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, OverlaidText, float]] = []
    for path in tqdm(arguments.clips, unit="clip"):
        info = probe_video(path)
        # As in a recipe that takes at most 10 s of a video.
        times_s = np.linspace(0, min(10.0, info.duration_s), 2 * arguments.frames + 1)[1::2]
        frames = list(iter_frames_at(path, times_s, info.fps, crop_px=None, max_side_px=1920))
        started = time.process_time()
        text = find_overlaid_text(frames, search, detector)
        rows.append((path.name, text, (time.process_time() - started) / len(frames)))
        if arguments.pictures:
            shown = frames[len(frames) // 2].copy()
            for x0, y0, x1, y1 in text.boxes:
                cv2.rectangle(shown, (x0, y0), (x1, y1), _RED, math.ceil(max(shown.shape) / 300))
            to = arguments.pictures / f"{path.stem}.png"
            if not cv2.imwrite(str(to), shown[..., ::-1]):
                print(f"{to} could not be written", file=sys.stderr)
                return 2
    print("\n| clip | size | boxes | share of the frame | CPU s a frame |\n|---|---|---|---|---|")
    for name, text, seconds in rows:
        size = f"{text.size_hw[1]}x{text.size_hw[0]}"
        print(f"| {name} | {size} | {len(text.boxes)} | {text.area:.3f} | {seconds:.2f} |")
    print(f"\n{sum(bool(text.boxes) for _, text, _ in rows)} of {len(rows)} clips have boxes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
