"""What `aa-datasets stats` says, line by line, of clips that are written down."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from aa_datasets.clip import Clip
from aa_datasets.pose import FACE, LEFT_HAND, NUM_JOINTS, RIGHT_HAND, make_pose
from aa_datasets.shards import ShardSample
from aa_datasets.stats import clips_frame, describe

CLIP = Clip("a-0", "a", "s", "MIT", 0.0, 1.0, 24.0, (480, 640), 24, True, "renderer", "train")


@pytest.fixture
def clips() -> pd.DataFrame:
    """A clip of 24 frames with both hands, of 48 with one and no face, and of 12 with none."""
    scores = np.ones((24, NUM_JOINTS))
    poses = []
    for frames, absent in ((24, []), (48, [RIGHT_HAND, FACE]), (12, [LEFT_HAND, RIGHT_HAND, FACE])):
        scores = np.ones((frames, NUM_JOINTS))
        for part in absent:
            scores[:, part] = 0
        poses.append(make_pose(np.ones((frames, NUM_JOINTS, 2)), scores, (480, 640)))
    some = [
        CLIP,
        dataclasses.replace(
            CLIP, clip_id="a-1", num_frames=48, split="val", text_px=((0, 0, 9, 9),)
        ),
        dataclasses.replace(CLIP, clip_id="b-0", source_id="b", num_frames=12, fps=12.0,
                            size_hw=(640, 480), synthetic=False, licence="CC0-1.0",
                            pose_from="blazepose"),
    ]  # fmt: skip
    sizes = (100, 300, 20)
    return clips_frame(
        ShardSample(clip, b"x" * size, pose)
        for clip, size, pose in zip(some, sizes, poses, strict=True)
    )


def test_a_frame_has_a_row_a_clip(clips: pd.DataFrame) -> None:
    assert clips.clip_id.tolist() == ["a-0", "a-1", "b-0"]
    assert clips.video_bytes.tolist() == [100, 300, 20]
    assert clips.length_s.tolist() == [1, 2, 1]
    for part, shares in {"body": [1, 1, 1], "left hand": [1, 1, 0], "right hand": [1, 0, 0],
                         "face": [1, 0, 0]}.items():  # fmt: skip
        assert clips[part].tolist() == shares, part


def test_every_line_counts_what_it_says(clips: pd.DataFrame) -> None:
    assert list(describe(clips, 24)) == [
        "3 clips of 2 sources, 84 frames, 4.0 s",
        "split train: 2 clips of 2 sources, 36 frames, 2.0 s",
        "split val: 1 clip of 1 source, 48 frames, 2.0 s",
        "length in s: 1 to 2, median 1",
        "length in frames: 12 to 48, median 24",
        "shorter than a window of 24 frames: 1 clip, which stage 2 leaves out",
        "frames per second: 24 (2 clips), 12 (1 clip)",
        "width x height: 640x480 (2 clips), 480x640 (1 clip)",
        "video: 420 bytes, 5 a frame",
        "joints present: body 100.0 %, left hand 85.7 %, right hand 28.6 %, face 28.6 %",
        "poses from: renderer (2 clips), blazepose (1 clip)",
        "synthetic: 2 of 3 clips",
        "with text laid over: 1 of 3 clips",
        "licences: MIT (2 clips), CC0-1.0 (1 clip)",
    ]
    assert "25 frames: 2 clips," in list(describe(clips, 25))[5]
    assert list(describe(clips[:0], 24)) == ["0 clips"]
