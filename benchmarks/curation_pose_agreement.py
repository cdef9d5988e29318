"""How far our BlazePose lies from MediaPipe's own holistic pipeline, on real frames.

    python benchmarks/curation_pose_agreement.py CLIPS --mediapipe-python /elsewhere/bin/python

CLIPS is a folder of videos, of which three frames each are looked at. MediaPipe 0.10.21 needs
numpy 1 and cannot share our environment: give the Python of another one (`pip install
mediapipe==0.10.21`). Both see the same pixels, each frame on its own. Body distances are shares of
the body's extent, hand distances of the hand's; frames on which the two take different people are
counted apart.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from aa_curation.poses.blazepose import BlazePose
from aa_curation.source_lists import VIDEO_SUFFIXES
from aa_datasets.errors import VideoError
from aa_datasets.foreign_video import iter_foreign_frames, probe_video

_ANOTHER_PERSON = 0.1  # of the body's extent
_THEIRS = """
import sys, glob, numpy as np, mediapipe as mp, cv2
found = {}
with mp.solutions.holistic.Holistic(static_image_mode=True, model_complexity=1) as model:
    for path in sorted(glob.glob(sys.argv[1] + "/*.png")):
        image = cv2.imread(path)[:, :, ::-1]
        scale = np.array([image.shape[1], image.shape[0]])
        result = model.process(np.ascontiguousarray(image))
        parts = (result.pose_landmarks, result.left_hand_landmarks, result.right_hand_landmarks)
        for part, marks in zip(("body", "left", "right"), parts):
            if marks is not None:
                points = np.array([[m.x, m.y] for m in marks.landmark]) * scale
                found[path.rsplit("/", 1)[1][:-4] + "." + part] = points
np.savez(sys.argv[2], **found)
"""


def write_frames(clips: Path, folder: Path) -> int:
    """Three frames of each video, as PNG."""
    count = 0
    for path in tqdm(sorted(p for p in clips.iterdir() if p.suffix in VIDEO_SUFFIXES)):
        try:
            seconds = probe_video(path).duration_s
            for share in (0.25, 0.5, 0.75):
                frame = next(iter(iter_foreign_frames(path, start_s=share * seconds)), None)
                if frame is not None:
                    name = f"{path.stem}-{round(100 * share)}.png"
                    cv2.imwrite(str(folder / name), frame.pixels[:, :, ::-1])
                    count += 1
        except VideoError as error:
            print(f"left out: {error}", file=sys.stderr)
    return count


def extent(points: np.ndarray) -> float:
    return float(np.hypot(*np.ptp(points, axis=0)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--mediapipe-python", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_frames(arguments.clips, folder)
        their_file = folder / "theirs.npz"
        command = [str(arguments.mediapipe_python), "-c", _THEIRS, name, str(their_file)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        theirs = np.load(their_file)
        cv2.setNumThreads(1)
        estimator = BlazePose()
        body_apart, hand_apart, both_found, hand_agrees, other_person, cpu_s = [], [], 0, 0, 0, 0.0
        for path in tqdm(sorted(folder.glob("*.png"))):
            frame = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
            start = time.process_time()
            body = estimator.main_body(frame, None)
            ours = estimator.both_hands(frame, body) if body is not None else (None, None)
            cpu_s += time.process_time() - start
            if body is None or f"{path.stem}.body" not in theirs:
                continue
            their_body = theirs[f"{path.stem}.body"]
            apart = np.hypot(*(body.points - their_body).T) / extent(their_body)
            if np.median(apart) > _ANOTHER_PERSON:
                other_person += 1
                continue
            both_found += 1
            body_apart.append(apart)
            for part, hand in zip(("left", "right"), ours, strict=True):
                here = hand is not None and hand.confidence >= 0.5
                there = f"{path.stem}.{part}" in theirs
                hand_agrees += here == there
                if here and there and hand is not None:
                    points = theirs[f"{path.stem}.{part}"]
                    hand_apart.append(np.hypot(*(hand.points - points).T) / extent(points))
    print(f"{count} frames; both see the same person on {both_found}, another on {other_person}")
    for what, rows in (("body", body_apart), ("hands", hand_apart)):
        shares = 100 * np.concatenate(rows)
        median, ninety = np.percentile(shares, [50, 90])
        print(f"{what}: {median:.2f} % of its extent (median), {ninety:.2f} % (90th percentile)")
    print(f"hands: both say that there is one, or none, in {hand_agrees} of {2 * both_found}")
    print(f"search in the frame and its tiles, body and hands: {cpu_s / count:.3f} CPU s a frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
