"""How much of its models' own rate the pose stage reaches: BlazePose, hands and face.

    python benchmarks/curation/pose_rate.py VIDEO... [--frames 60] [--side 1920]

The tracker sees every frame. CPU seconds inside the models (LiteRT's invoke) are the limit; what is
around them is crops, heat maps and the layout of joints. Frames are decoded before.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from pathlib import Path

import cv2
from ai_edge_litert.interpreter import Interpreter

from aa_curation.models import tflite_file
from aa_curation.poses.blazepose import BlazePose
from aa_datasets.video.foreign import iter_foreign_frames

SPENT_S: Counter[str] = Counter()


class TimedInterpreter(Interpreter):
    """LiteRT's, with the CPU time of its models taken."""

    def invoke(self) -> None:
        started = time.thread_time()
        super().invoke()
        SPENT_S["models"] += time.thread_time() - started
        SPENT_S["calls"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=60, help="of each video, from its start")
    parser.add_argument("--side", type=int, default=1920, help="long side at which frames are read")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    tflite_file.Interpreter = TimedInterpreter  # type: ignore[misc]
    estimator = BlazePose()
    total_s, frames = 0.0, 0
    for path in args.videos:
        decoded = itertools.islice(iter_foreign_frames(path, max_side_px=args.side), args.frames)
        pixels = [frame.pixels for frame in decoded]
        tracker = estimator.track()
        started = time.thread_time()
        for frame in pixels:
            tracker.see(frame)
        tracker.pose()
        total_s += time.thread_time() - started
        frames += len(pixels)
    models_s = SPENT_S["models"]
    print(
        f"{frames} frames: {1000 * total_s / frames:.1f} CPU ms a frame, of which "
        f"{1000 * models_s / frames:.1f} in {SPENT_S['calls'] / frames:.1f} calls of models: "
        f"{models_s / total_s:.1%} of the models' own rate"
    )


if __name__ == "__main__":
    main()
