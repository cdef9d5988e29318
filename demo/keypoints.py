"""Joints of real people in small frames, for AKD: BlazePose on frames that are enlarged first.

usage: python demo/keypoints.py VIDEOS OUT

VIDEOS is a folder of <video>/<frame>.png, OUT gets <video>.npz as aa-eval reads them. True and
generated frames go through it alike, so that its errors on small frames count for both.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import cyclopts
import numpy as np

from aa_curation.poses.blazepose import BlazePose
from aa_datasets.pose import BODY
from aa_model.inference.pose_detectors import follow_pose

_ENLARGED = 4


def main(videos: Path, out: Path) -> None:
    """Write the joints of every video in `videos`."""
    folders = sorted(path for path in videos.iterdir() if path.is_dir())
    if not folders:
        raise SystemExit(f"{videos} holds no folders of frames")
    out.mkdir(parents=True, exist_ok=True)
    estimator = BlazePose()
    for folder in folders:
        frames = [cv2.imread(str(path)) for path in sorted(folder.glob("*.png"))]
        height, width = frames[0].shape[:2]
        larger = (width * _ENLARGED, height * _ENLARGED)
        pose = follow_pose(
            estimator,
            (cv2.resize(f, larger, interpolation=cv2.INTER_CUBIC)[..., ::-1] for f in frames),
        )
        np.savez(
            out / f"{folder.name}.npz",
            keypoints_px=(pose.keypoints_px[:, BODY] + 0.5) / _ENLARGED - 0.5,
            scores=pose.scores[:, BODY],
            size_hw=np.array((height, width), dtype=np.int32),
        )


if __name__ == "__main__":
    cyclopts.run(main)
