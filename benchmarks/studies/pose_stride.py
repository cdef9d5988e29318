"""What strides of the pose stage save and cost in accuracy, on real frames.

    python benchmarks/studies/pose_stride.py VIDEO... [--frames 60] [--strides 2 3 4]

The pose of every frame, tracked, is the reference: distances are shares of the body's extent, of
the joints that both have; joints that only the reference has are lost. CPU time of the process.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.poses.blazepose import BlazePose
from aa_curation.poses.strided import StridedEstimator
from aa_datasets.pose import BODY, FACE, LEFT_HAND, RIGHT_HAND, Pose
from aa_datasets.pose_estimator import PoseEstimator, PoseTracker
from aa_datasets.video.foreign import iter_foreign_frames

PARTS = {"body": [BODY], "hands": [LEFT_HAND, RIGHT_HAND], "face": [FACE]}


def follow(tracker: PoseTracker, frames: list[NDArray[np.uint8]]) -> tuple[Pose, float]:
    """The pose, and CPU seconds."""
    started = time.process_time()
    for frame in frames:
        tracker.see(frame)
    pose = tracker.pose()
    return pose, time.process_time() - started


def apart(pose: Pose, reference: Pose, part: list[slice]) -> tuple[NDArray[np.float64], int, int]:
    """Distances of joints that both have, how many the reference has, and how many of them not."""
    body = np.where(reference.scores[:, BODY, None] > 0, reference.keypoints_px[:, BODY], np.nan)
    some = np.isfinite(body[..., 0]).any(1)
    extent = np.ones(len(body))
    extent[some] = [np.hypot(*(np.nanmax(b, 0) - np.nanmin(b, 0))) for b in body[some]]
    found, lost, total = [], 0, 0
    for joints in part:
        distance = np.linalg.norm(
            pose.keypoints_px[:, joints] - reference.keypoints_px[:, joints], axis=-1
        )
        there = reference.scores[:, joints] > 0
        total += int(there.sum())
        lost += int((there & (pose.scores[:, joints] == 0)).sum())
        share = distance / np.maximum(extent, 1)[:, None]
        found.append(share[np.isfinite(share)])
    return np.concatenate(found), total, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=60, help="of each video, from its start")
    parser.add_argument("--strides", type=int, nargs="+", default=[2, 3, 4])
    args = parser.parse_args()
    cv2.setNumThreads(1)
    estimator = BlazePose()
    clips = []
    for path in args.videos:
        decoded = itertools.islice(iter_foreign_frames(path, max_side_px=1920), args.frames)
        frames = [frame.pixels for frame in decoded]
        clips.append((frames, *follow(estimator.track(), frames)))
    count = sum(len(frames) for frames, _, _ in clips)
    every_s = sum(seconds for _, _, seconds in clips)
    print(
        f"{count} frames of {len(clips)} videos; every frame: {1000 * every_s / count:.0f} CPU ms\n"
    )
    print(
        f"| way | CPU ms a frame | | {': median, 90 %, lost | '.join(PARTS)}: median, 90 %, lost |"
    )
    print("|---" * (3 + len(PARTS)) + "|")
    ways: dict[str, PoseEstimator] = {
        f"stride {n}": StridedEstimator(estimator, n) for n in args.strides
    }
    for way, other in ways.items():
        spent_s, distances = 0.0, {part: [] for part in PARTS}
        totals, losts = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
        for frames, reference, _ in clips:
            pose, seconds = follow(other.track(), frames)
            spent_s += seconds
            for name, part in PARTS.items():
                some, total, lost = apart(pose, reference, part)
                distances[name].append(some)
                totals[name] += total
                losts[name] += lost
        cells = []
        for name in PARTS:
            median, most = np.percentile(np.concatenate(distances[name]), [50, 90])
            cells.append(f"{median:.2%}, {most:.2%}, {losts[name] / max(totals[name], 1):.1%}")
        print(f"| {way} | {1000 * spent_s / count:.0f} | {spent_s / every_s:.2f} x "
              f"| {' | '.join(cells)} |")  # fmt: skip


if __name__ == "__main__":
    main()
