from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from aa_datasets.errors import DatasetError
from aa_datasets.export import export_frames, export_keypoints, export_nearest_pose
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.crop_resize import resize_pose
from aa_datasets.loader.loader import make_loader
from aa_datasets.pose import BODY
from aa_datasets.shards import ShardSample, write_shard


def _read(folder: Path) -> np.ndarray:
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == [f"{t:04d}.png" for t in range(len(paths))]
    return np.stack([cv2.imread(str(path))[..., ::-1] for path in paths])


def test_exported_frames_are_those_of_the_loader(shards: list[Path], tmp_path: Path) -> None:
    done = list(export_frames(shards, tmp_path, (32, 24)))
    assert done == [f"puppet_{seed}" for seed in range(7)]
    loader = make_loader(
        shards, LoaderConfig(stage=2, batch_size=7, size_hw=(32, 24), num_frames=10)
    )
    batch = next(loader)  # windows as long as the clips: all frames in order
    for clip_id, target in zip(batch.clip_ids, batch.target, strict=True):
        np.testing.assert_array_equal(_read(tmp_path / clip_id), target.numpy())


def test_exported_keypoints_lie_in_the_exported_frames(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path
) -> None:
    assert len(list(export_keypoints(shards, tmp_path / "k", (32, 24), 4))) == 7
    for sample in samples:
        with np.load(tmp_path / "k" / f"{sample.clip.clip_id}.npz") as arrays:
            expected = resize_pose(sample.pose, (32, 24))
            np.testing.assert_array_equal(arrays["keypoints_px"], expected.keypoints_px[:4, BODY])
            np.testing.assert_array_equal(arrays["scores"], expected.scores[:4, BODY])
            assert tuple(arrays["size_hw"]) == (32, 24)


def test_max_frames_cuts_each_clip(shards: list[Path], tmp_path: Path) -> None:
    list(export_frames(shards[:1], tmp_path, (16, 16), max_frames=3))
    assert [len(list(folder.iterdir())) for folder in tmp_path.iterdir()] == [3] * 4


def test_nearest_pose_of_a_known_clip_is_the_clip(shards: list[Path], tmp_path: Path) -> None:
    list(export_frames(shards[:1], tmp_path / "true", (32, 32)))
    list(export_nearest_pose(shards[:1], shards[:1], tmp_path / "near", (32, 32)))
    for folder in (tmp_path / "true").iterdir():
        np.testing.assert_array_equal(_read(tmp_path / "near" / folder.name), _read(folder))


def test_nearest_pose_shows_training_frames_only(shards: list[Path], tmp_path: Path) -> None:
    list(export_frames(shards[:1], tmp_path / "train", (16, 16)))
    known = {frame.tobytes() for f in (tmp_path / "train").iterdir() for frame in _read(f)}
    list(export_nearest_pose(shards[1:], shards[:1], tmp_path / "near", (16, 16), 5))
    for folder in (tmp_path / "near").iterdir():
        frames = _read(folder)
        assert len(frames) == 5
        assert {frame.tobytes() for frame in frames} <= known


def test_nearest_pose_needs_training_clips(shards: list[Path], tmp_path: Path) -> None:
    write_shard(tmp_path / "none.tar", [])
    with pytest.raises(DatasetError, match="no training clips"):
        list(export_nearest_pose(shards, [tmp_path / "none.tar"], tmp_path / "x", (16, 16)))


def test_opencv_still_writes_and_reads_png_after_decord(tmp_path: Path) -> None:
    """decord's zlib, loaded first, makes cv2 lose every PNG; a fresh process shows the order."""
    code = (
        "import sys, numpy; from aa_datasets.video.canonical import *;"
        "read_canonical(encode_canonical(numpy.zeros((2, 32, 32, 3), 'u1'), 24), decoder='decord');"
        "import cv2;"
        "ok, png = cv2.imencode('.png', numpy.zeros((8, 8, 3), 'u1'));"
        "sys.exit(not ok or cv2.imdecode(png, 1) is None)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_frame_that_cannot_be_written_is_named(shards: list[Path], tmp_path: Path) -> None:
    (tmp_path / "puppet_0" / "0000.png").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"0000\.png could not be written"):
        list(export_frames(shards[:1], tmp_path, (16, 16)))
