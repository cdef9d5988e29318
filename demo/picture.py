"""The README's pictures, made from what the demo left behind.

usage: python demo/picture.py clips OUT.png SHARD...
       python demo/picture.py generated OUT.png DEMO_OUT
       python demo/picture.py moving OUT.webp DEMO_OUT

`clips`: frames of curated clips above the poses that were found in them. `generated`: for the first
held-out puppets and the real clip, at the middle of the video: reference, pose, generated, truth.
`moving`: the same four side by side, as an animation, for four held-out puppets.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from aa_datasets import ShardSample, draw_pose, read_shards
from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.video.canonical import read_canonical

SIZE_HW = (224, 168)
PUPPETS, FOOTAGE = 4, 2
GENERATED_PUPPETS, GENERATED_PX = 6, 160
MOVING_PUPPETS, MOVING_PX, FPS, GAP_PX, LABEL_PX = 4, 128, 12, 16, 22
LABELS = ("reference", "pose", "generated", "truth")
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
    columns = []
    for kind, name, count in (("puppets", "test", GENERATED_PUPPETS), ("real", "test-real", 1)):
        for sample in _held_out(demo_out, name, count):
            four = _four(demo_out, kind, sample, GENERATED_PX)
            columns.append(np.concatenate([picture[len(picture) // 2] for picture in four]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(out)


def moving(out: Path, demo_out: Path) -> None:
    """Two rows of two puppets, each as reference, pose, generated and true frames."""
    samples = _held_out(demo_out, "test", MOVING_PUPPETS)
    fours = [_four(demo_out, "puppets", sample, MOVING_PX) for sample in samples]
    num_frames = min(len(four[0]) for four in fours)
    half = 4 * MOVING_PX
    size = (2 * half + GAP_PX, LABEL_PX + 2 * MOVING_PX + GAP_PX)
    frames = []
    for t in range(num_frames):
        canvas = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(canvas)
        for number, four in enumerate(fours):
            left, top = (number % 2) * (half + GAP_PX), (number // 2) * (MOVING_PX + GAP_PX)
            for column, (label, picture) in enumerate(zip(LABELS, four, strict=True)):
                x = left + column * MOVING_PX
                canvas.paste(Image.fromarray(picture[t]), (x, LABEL_PX + top))
                if number < 2:
                    pen.text((x + 4, 3), label, "#444", ImageFont.load_default(13))
        frames.append(canvas)
    frames[0].save(
        out, save_all=True, append_images=frames[1:], duration=1000 // FPS, loop=0, quality=85
    )


def _held_out(demo_out: Path, shard: str, count: int) -> list[ShardSample]:
    return list(read_shards([demo_out / "corpus" / "shards" / f"{shard}-000000.tar"]))[:count]


def _four(demo_out: Path, kind: str, sample: ShardSample, side_px: int) -> list[list[Picture]]:
    """Reference, pose, generated and true frames of a clip: four lists of one length."""
    predicted = sorted((demo_out / kind / sample.clip.clip_id).glob("*.png"))
    true = sorted((demo_out / f"references-{kind}" / sample.clip.clip_id).glob("*.png"))
    pose = resize_pose(sample.pose.at_frames(np.arange(len(predicted))), (side_px, side_px))
    return [
        [_read(true[0], side_px)] * len(predicted),
        list(draw_pose(pose)),
        [_read(path, side_px) for path in predicted],
        [_read(path, side_px) for path in true],
    ]


def _read(path: Path, side_px: int) -> Picture:
    picture = np.asarray(Image.open(path).convert("RGB"))
    return cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


if __name__ == "__main__":
    what, to = sys.argv[1], Path(sys.argv[2])
    paths = [Path(argument) for argument in sys.argv[3:]]
    if what == "clips":
        clips(to, paths)
    elif what == "generated":
        generated(to, paths[0])
    else:
        moving(to, paths[0])
