"""One sheet of the miniature Table 3: what each variant generates for the first held-out puppets.

    python benchmarks/table3/pictures.py table3-out --write docs/images/table3.png

Rows are the first puppets in the order of their ids, two moments each, never chosen by their looks;
columns the reference (the video's first frame), every variant of one seed, and the true frame.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from budget import VARIANTS
from PIL import Image, ImageDraw, ImageFont

_SIDE_PX, _GAP_PX, _HEAD_PX = 144, 6, 30
_LABELS = {"reference_net": "ReferenceNet", "clip": "encoder alone", "controlnet": "ControlNet",
           "clip+controlnet": "encoder + ControlNet"}  # fmt: skip


def draw_sheet(out: Path, seed: int, puppets: int = 3) -> Image.Image:
    """Of a finished run of each variant.

    Raises:
        SystemExit: a variant of this seed has no predictions yet.
    """
    runs = {v: out / "runs" / f"{v}-{seed}" / "predictions" for v in VARIANTS}
    absent = [variant for variant, folder in runs.items() if not folder.is_dir()]
    if absent:
        raise SystemExit(f"seed {seed} is not finished: no predictions of {', '.join(absent)}")
    truth = out / "references"
    names = sorted(path.name for path in runs[VARIANTS[0]].iterdir())[:puppets]
    rows = [
        [truth / name / "0000.png", *(runs[v] / name / frame for v in VARIANTS),
         truth / name / frame]
        for name in names
        for frame in _moments(runs[VARIANTS[0]] / name)
    ]  # fmt: skip
    heads = ["reference", *(_LABELS[v] for v in VARIANTS), "truth"]
    step = _SIDE_PX + _GAP_PX
    size = len(heads) * step + _GAP_PX, _HEAD_PX + len(rows) * step
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for column, head in enumerate(heads):
        middle = _GAP_PX + column * step + _SIDE_PX / 2, _HEAD_PX / 2
        draw.text(middle, head, fill="black", anchor="mm", font=font)
    for y, row in enumerate(rows):
        for x, path in enumerate(row):
            with Image.open(path) as picture:
                shown = picture.convert("RGB").resize(
                    (_SIDE_PX, _SIDE_PX), Image.Resampling.NEAREST
                )
            sheet.paste(shown, (_GAP_PX + x * step, _HEAD_PX + y * step))
    return sheet


def _moments(video: Path) -> list[str]:
    """Names of the frames in the middle and at the end, where the reference says the least."""
    frames = sorted(path.name for path in video.glob("*.png"))
    return [frames[i] for i in np.unique([len(frames) // 2, len(frames) - 1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of run.py's runs")
    parser.add_argument("--write", type=Path, required=True, metavar="FILE.png")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--puppets", type=int, default=3)
    args = parser.parse_args()
    draw_sheet(args.out, args.seed, args.puppets).save(args.write, optimize=True)
    print(f"written: {args.write}")


if __name__ == "__main__":
    main()
