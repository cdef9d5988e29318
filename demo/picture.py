"""The README's picture: frames of curated clips above the poses that were found in them.

usage: python demo/picture.py OUT.png SHARD...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from aa_datasets.canonical_video import read_canonical
from aa_datasets.draw_pose import draw_pose
from aa_datasets.frames import resize_frames, resize_pose
from aa_datasets.shards import read_shards

SIZE_HW = (224, 168)
PUPPETS, FOOTAGE = 4, 2


def main(out: Path, shards: list[Path]) -> None:
    columns: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for sample in read_shards(shards):
        middle = np.array([sample.clip.num_frames // 2])
        frame = resize_frames(read_canonical(sample.mp4, middle), SIZE_HW)[0]
        skeleton = draw_pose(resize_pose(sample.pose.at_frames(middle), SIZE_HW))[0]
        columns[sample.clip.synthetic].append(np.concatenate([frame, skeleton]))
    shown = columns[False][:FOOTAGE] + columns[True][:PUPPETS]
    Image.fromarray(np.concatenate(shown, axis=1)).save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(shard) for shard in sys.argv[2:]])
