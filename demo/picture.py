"""The README's pictures, made from what the demo left behind.

usage: python demo/picture.py clips OUT.png SHARD...
       python demo/picture.py generated OUT.png DEMO_OUT

`clips`: frames of curated clips above the poses that were found in them. `generated`: for the first
held-out puppets and the real clip, at the middle of the video: reference, pose, generated, truth.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.shards import read_shards
from aa_datasets.video.canonical import read_canonical

SIZE_HW = (224, 168)
PUPPETS, FOOTAGE = 4, 2
GENERATED_PUPPETS, GENERATED_PX = 6, 160
Picture = NDArray[np.uint8]


def clips(out: Path, shards: list[Path]) -> None:
    columns: dict[bool, list[Picture]] = {True: [], False: []}
    for sample in read_shards(shards):
        middle = np.array([sample.clip.num_frames // 2])
        frame = resize_frames(read_canonical(sample.mp4, middle), SIZE_HW)[0]
        skeleton = draw_pose(resize_pose(sample.pose.at_frames(middle), SIZE_HW))[0]
        columns[sample.clip.synthetic].append(np.concatenate([frame, skeleton]))
    shown = columns[False][:FOOTAGE] + columns[True][:PUPPETS]
    Image.fromarray(np.concatenate(shown, axis=1)).save(out)


def generated(out: Path, demo_out: Path) -> None:
    shards = demo_out / "corpus" / "shards"
    columns = []
    for kind, name, count in (("puppets", "test", GENERATED_PUPPETS), ("real", "test-real", 1)):
        for sample in list(read_shards([shards / f"{name}-000000.tar"]))[:count]:
            predicted = sorted((demo_out / kind / sample.clip.clip_id).glob("*.png"))
            true = sorted((demo_out / f"references-{kind}" / sample.clip.clip_id).glob("*.png"))
            t = len(predicted) // 2
            pose = resize_pose(sample.pose.at_frames(np.array([t])), (GENERATED_PX, GENERATED_PX))
            column = [_read(true[0]), draw_pose(pose)[0], _read(predicted[t]), _read(true[t])]
            columns.append(np.concatenate(column))
    Image.fromarray(np.concatenate(columns, axis=1)).save(out)


def _read(path: Path) -> Picture:
    picture = np.asarray(Image.open(path).convert("RGB"))
    size = (GENERATED_PX, GENERATED_PX)
    return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


if __name__ == "__main__":
    what, to = sys.argv[1], Path(sys.argv[2])
    paths = [Path(argument) for argument in sys.argv[3:]]
    if what == "clips":
        clips(to, paths)
    else:
        generated(to, paths[0])
