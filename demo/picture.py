"""The README's pictures, made from what the demo left behind.

usage: python demo/picture.py clips OUT.png SHARD...
       python demo/picture.py moving OUT.webp DEMO_OUT      (or OUT.gif)

`clips`: frames of curated clips above the poses that were found in them. `moving`: reference,
pose, generated and true frames, as an animation, for four held-out puppets and a real person, on
whose earlier frames the network was fine-tuned. At most 3 MB.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import cyclopts
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from aa_datasets import ShardSample, draw_pose, read_shards
from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.video.canonical import read_canonical

SIZE_HW = (224, 168)
PUPPETS, FOOTAGE = 4, 2
MOVING_PUPPETS, MOVING_PX, FPS, GAP_PX, LABEL_PX = 4, 128, 12, 16, 22
LABELS = ("reference", "pose", "generated", "truth")
TEST, REAL = "corpus/shards/test-000000.tar", "parts/rest.tar"  # in what the demo left behind
MAX_BYTES = 3 * 2**20
Picture = NDArray[np.uint8]
app = cyclopts.App(help="The README's pictures, made from what the demo left behind.")


@app.command
def clips(out: Path, *shards: Path) -> None:
    """Frames of curated clips above the poses that were found in them."""
    if not shards:
        raise SystemExit("give the shards whose clips are to be shown")
    columns: dict[bool, list[Picture]] = {True: [], False: []}
    for sample in read_shards(shards):
        middle = np.array([sample.clip.num_frames // 2])
        frame = resize_frames(read_canonical(sample.mp4, middle), SIZE_HW)[0]
        skeleton = draw_pose(resize_pose(sample.pose.at_frames(middle), SIZE_HW))[0]
        columns[sample.clip.synthetic].append(np.concatenate([frame, skeleton]))
    shown = columns[False][:FOOTAGE] + columns[True][:PUPPETS]
    Image.fromarray(np.concatenate(shown, axis=1)).save(out)


@app.command
def moving(out: Path, demo_out: Path) -> None:
    """Up to four puppets in two rows, and a real person before and after fine-tuning, animated."""
    puppets = [
        _four(demo_out, "puppets", sample) for sample in _held_out(demo_out / TEST, MOVING_PUPPETS)
    ]
    (person,) = _held_out(demo_out / REAL, 1)
    before, after = (_four(demo_out, kind, person) for kind in ("real-before", "real"))
    rows = [
        (puppets[:2], ("puppets, of which the network saw none", "")),
        (puppets[2:], ("", "")),
        ([before, after], ("a person: not fine-tuned", "fine-tuned on this person's first frames")),
    ]
    half, height = 4 * MOVING_PX, MOVING_PX + LABEL_PX
    frames = []
    for t in range(max(len(four[0]) for four in (*puppets, after))):
        canvas = Image.new("RGB", (2 * half + GAP_PX, LABEL_PX + len(rows) * height), "white")
        pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
        for number, (fours, titles) in enumerate(rows):
            top = LABEL_PX + number * height
            for side, (four, title) in enumerate(zip(fours, titles, strict=False)):
                left = side * (half + GAP_PX)
                pen.text((left + 4, top + 3), title, "#444", font)
                for column, (label, pictures) in enumerate(zip(LABELS, four, strict=True)):
                    x = left + column * MOVING_PX
                    frame = pictures[t % len(pictures)]
                    canvas.paste(Image.fromarray(frame), (x, top + LABEL_PX))
                    if number == 0:
                        pen.text((x + 4, 3), label, "#444", font)
        frames.append(canvas)
    for quality in (85, 70, 50, 30):
        frames[0].save(
            out, save_all=True, append_images=frames[1:], duration=1000 // FPS, loop=0,
            quality=quality,
        )  # fmt: skip
        if out.stat().st_size <= MAX_BYTES:
            return
    raise SystemExit(f"{out} has {out.stat().st_size} bytes: expected at most {MAX_BYTES}")


def _held_out(path: Path, count: int) -> list[ShardSample]:
    if not path.is_file():
        raise SystemExit(f"no {path}: give the folder that demo/run.sh wrote, such as demo-out")
    found = list(itertools.islice(read_shards([path]), count))
    if not found:
        raise SystemExit(f"{path} holds no clip: run demo/run.sh again")
    return found


def _four(demo_out: Path, kind: str, sample: ShardSample) -> list[list[Picture]]:
    """Reference, pose, generated and true frames of a clip: four lists of one length."""
    predicted = sorted((demo_out / kind / sample.clip.clip_id).glob("*.png"))
    kind_of_truth = kind.removesuffix("-before")
    true = sorted((demo_out / f"references-{kind_of_truth}" / sample.clip.clip_id).glob("*.png"))
    if not predicted or len(predicted) != len(true):
        raise SystemExit(
            f"{sample.clip.clip_id}: {len(predicted)} generated frames in {demo_out / kind}, "
            f"{len(true)} true ones: run demo/run.sh again"
        )
    pose = resize_pose(sample.pose.at_frames(np.arange(len(predicted))), (MOVING_PX, MOVING_PX))
    return [
        [_read(true[0])] * len(predicted),
        list(draw_pose(pose)),
        [_read(path) for path in predicted],
        [_read(path) for path in true],
    ]


def _read(path: Path) -> Picture:
    picture = np.asarray(Image.open(path).convert("RGB"))
    return cv2.resize(picture, (MOVING_PX, MOVING_PX), interpolation=cv2.INTER_CUBIC).astype(
        np.uint8
    )


if __name__ == "__main__":
    app()
