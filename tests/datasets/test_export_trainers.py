"""Exported training sets, read as each trainer's own reader does."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import sqlite3
import struct
import tarfile
from contextlib import closing
from pathlib import Path

import cv2
import decord
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from aa_datasets.cli import main
from aa_datasets.clip import Clip
from aa_datasets.errors import DatasetError
from aa_datasets.export_trainers import crop_faces, export_for_trainer
from aa_datasets.pose import BODY_JOINTS, NUM_JOINTS, make_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.shards import ShardSample, write_shard
from aa_datasets.video.canonical import read_canonical


def _frames(path: Path) -> np.ndarray:
    reader = decord.VideoReader(str(path), num_threads=2)
    return reader.get_batch(range(len(reader))).asnumpy()


def test_diffsynth_reads_a_csv_relative_to_its_base_path(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path
) -> None:
    captions = tmp_path / "captions"
    captions.mkdir()
    (captions / "puppet_5.txt").write_text('waves, "slowly"\n')
    argv = ["export", *map(str, shards), "--out", str(tmp_path / "wan"), "--to", "diffsynth"]
    assert main([*argv, "--caption", "a puppet", "--captions", str(captions)]) == 0
    rows = pd.read_csv(tmp_path / "wan" / "metadata.csv")
    assert len(rows) == 7
    for sample, row in zip(samples, rows.itertuples(), strict=True):
        base = tmp_path / "wan"
        stored = read_canonical(sample.mp4)
        np.testing.assert_array_equal(_frames(base / row.video), stored)
        pose = _frames(base / row.animate_pose_video)
        assert np.abs(pose.astype(int) - draw_pose(sample.pose)).mean() < 3
        assert _frames(base / row.animate_face_video).shape == (10, 512, 512, 3)
        reference = cv2.imread(str(base / "references" / f"{sample.clip.clip_id}.png"))[..., ::-1]
        np.testing.assert_array_equal(reference, stored[0])
        own = sample.clip.clip_id == "puppet_5"
        assert row.prompt == ('waves, "slowly"' if own else "a puppet")


def test_musubi_reads_json_lines_with_absolute_paths(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path
) -> None:
    assert len(list(export_for_trainer(shards, tmp_path / "m", "musubi", caption="é"))) == 7
    lines = (tmp_path / "m" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    for line, sample in zip(lines, samples, strict=True):
        row = json.loads(line)
        assert set(row) == {"video_path", "control_path", "caption"}
        assert row["caption"] == "é"
        assert '"é"' in line, "readable as it stands"
        video, control = Path(row["video_path"]), Path(row["control_path"])
        assert video.is_absolute()
        assert video.read_bytes() == sample.mp4
        assert _frames(control).shape == _frames(video).shape
    assert not (tmp_path / "m" / "faces").exists()


def test_videox_fun_reads_a_json_list_relative_to_its_data_root(
    shards: list[Path], tmp_path: Path
) -> None:
    list(export_for_trainer(shards, tmp_path, "videox-fun"))
    rows = json.loads((tmp_path / "metadata.json").read_text())
    assert len(rows) == 7
    for row in rows:
        assert row["type"] == "video"
        assert row["text"] == ""
        video, control = tmp_path / row["file_path"], tmp_path / row["control_file_path"]
        assert len(_frames(video)) == len(_frames(control)) == 10
        assert cv2.imread(row["object_file_path"][0]).shape == (64, 80, 3)


def test_unianimate_dit_reads_pickles_of_jpegs_by_name(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path
) -> None:
    """As its data set does: names in order, the same ones in both files, opened by Pillow."""
    out = tmp_path / "TikTok"
    assert main(["export", *map(str, shards), "--out", str(out), "--to", "unianimate-dit"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [s.clip.clip_id for s in samples]
    for sample in samples:
        folder = out / sample.clip.clip_id
        frames, poses = (
            pickle.loads((folder / name).read_bytes())
            for name in ("frame_data.pkl", "dw_pose_with_foot_wo_face.pkl")
        )
        assert list(frames) == list(poses) == [f"{t:06d}.jpg" for t in range(10)]
        middle = slice(8, 72)  # 80 x 64 pixels: wider than high
        for pictures, expected in (
            (frames, read_canonical(sample.mp4)),
            (poses, draw_pose(sample.pose)[..., ::-1]),  # its own script exchanges red and blue
        ):
            found = np.stack([np.array(Image.open(io.BytesIO(p))) for p in pictures.values()])
            assert found.shape == (10, 64, 64, 3)
            assert np.abs(found.astype(int) - expected[:, :, middle]).mean() < 8
    red, _, blue = np.array(Image.open(io.BytesIO(poses["000000.jpg"]))).sum((0, 1))
    assert (red > blue) != (draw_pose(sample.pose)[0, :, middle].sum((0, 1))[[0, 2]].argmax() == 0)


def test_energon_finds_every_sample_and_part_by_its_index(
    samples: list[ShardSample], shards: list[Path], tmp_path: Path
) -> None:
    """Its readers' own ways: `.tar.idx` to a sample's bytes, SQLite to those of a part."""
    out = tmp_path / "set"
    argv = ["export", *map(str, shards), "--out", str(out), "--to", "webdataset-energon"]
    assert main([*argv, "--caption", "a puppet"]) == 0
    meta = out / ".nv-meta"
    info = json.loads((meta / ".info.json").read_text())
    assert info["shard_counts"] == {"shards/train-000000.tar": 7}
    assert yaml.safe_load((meta / "dataset.yaml").read_text()) == {
        "__module__": "megatron.energon",
        "__class__": "CrudeWebdataset",
    }
    assert yaml.safe_load((meta / "split.yaml").read_text()) == {
        "split_parts": {"train": ["shards/train-000000.tar"]},
        "exclude": [],
    }
    tar = (out / "shards" / "train-000000.tar").read_bytes()
    packed = (out / "shards" / "train-000000.tar.idx").read_bytes()
    places = struct.unpack(f"{len(packed) // 8}Q", packed)
    for sample, begin, end in zip(samples, places[:-1], places[1:], strict=True):
        with tarfile.open(fileobj=io.BytesIO(tar[begin:end])) as part:
            content = {m.name: part.extractfile(m).read() for m in part}  # type: ignore[union-attr]
        clip_id = sample.clip.clip_id
        assert set(content) == {
            f"{clip_id}.{kind}"
            for kind in ("face.mp4", "json", "mp4", "pose.mp4", "pose.npz", "reference.png", "txt")
        }
        assert content[f"{clip_id}.mp4"] == sample.mp4
        assert content[f"{clip_id}.txt"] == b"a puppet"
        assert Clip.from_json(json.loads(content[f"{clip_id}.json"])) == sample.clip
        with closing(sqlite3.connect(meta / "index.sqlite")) as database:
            by_key = "SELECT sample_index, byte_offset, byte_size FROM samples WHERE sample_key = ?"
            index, offset, size = database.execute(by_key, (clip_id,)).fetchone()
            assert (offset, offset + size) == (begin, end)
            parts = database.execute(
                "SELECT part_name, content_byte_offset, content_byte_size FROM sample_parts "
                "WHERE tar_file_id = 0 AND sample_index = ?", (index,)
            ).fetchall()  # fmt: skip
        assert {f"{clip_id}.{name}": tar[at : at + size] for name, at, size in parts} == content
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert main([*argv, "--caption", "a puppet"]) == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_energon_itself_loads_the_set(shards: list[Path], tmp_path: Path) -> None:
    energon = pytest.importorskip("megatron.energon", reason="skipped: no megatron-energon")
    list(export_for_trainer(shards, tmp_path, "webdataset-energon"))

    class Encoder(energon.DefaultTaskEncoder):  # type: ignore[misc, name-defined]
        cookers = (energon.Cooker(energon.stateless(lambda sample: sample)),)

        def batch(self, samples: list[dict[str, object]]) -> list[dict[str, object]]:
            return samples

    loaded = energon.get_train_dataset(
        str(tmp_path),
        batch_size=1,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=0),
        task_encoder=Encoder(),
        auto_decode=False,
        repeat=False,
    )
    found = [sample for (sample,) in energon.get_loader(loaded)]
    assert len(found) == 7
    assert {"mp4", "pose.mp4", "face.mp4", "txt", "json"} <= set(found[0])


def test_no_held_out_clip_is_in_a_training_set(samples: list[ShardSample], tmp_path: Path) -> None:
    held_out = {samples[0].clip.clip_id, samples[3].clip.clip_id}
    some = [
        dataclasses.replace(s, clip=dataclasses.replace(s.clip, split="test"))
        if s.clip.clip_id in held_out
        else s
        for s in samples
    ]
    write_shard(tmp_path / "all.tar", some)
    argv = ["export", str(tmp_path / "all.tar"), "--to", "musubi", "--out"]
    for split, expected in (([], 5), (["--split", "test"], 2)):
        out = tmp_path / f"set_{expected}"
        assert main([*argv, str(out), *split]) == 0
        exported = {path.stem for path in (out / "videos").iterdir()}
        assert exported & held_out == (held_out if split else set())
        assert len((out / "metadata.jsonl").read_text().splitlines()) == len(exported) == expected
    with pytest.raises(DatasetError, match="no clip is of split 'val'"):
        list(export_for_trainer(tmp_path / "all.tar", tmp_path / "none", "musubi", split="val"))


def test_a_face_is_cropped_where_its_points_are() -> None:
    frame = np.zeros((1, 200, 300, 3), np.uint8)
    frame[0, 60:101, 120:161] = 255  # 41 pixels wide, its middle is (140, 80)
    keypoints = np.full((1, NUM_JOINTS, 2), np.nan)
    keypoints[0, 60], keypoints[0, 61] = (120, 60), (160, 100)
    by_face = crop_faces(frame, make_pose(keypoints, np.isfinite(keypoints[..., 0]), (200, 300)))
    side = 512 * 41 / 60  # the points are 40 apart, the crop is 1.5 times that
    assert (by_face[0, 256] > 127).sum() == pytest.approx(3 * side, abs=12)
    assert by_face[0, 256, 256].tolist() == [255, 255, 255]
    assert by_face[0, 5, 5].tolist() == [0, 0, 0]
    by_head = np.full((1, NUM_JOINTS, 2), np.nan)
    for name, x in (("right_ear", 120), ("left_ear", 160)):
        by_head[0, BODY_JOINTS.index(name)] = (x, 80)
    pose = make_pose(by_head, np.isfinite(by_head[..., 0]), (200, 300))
    assert crop_faces(frame, pose)[0, 256, 256].tolist() == [255, 255, 255]
    unseen = dataclasses.replace(pose, scores=np.where(pose.scores > 0, 0.1, 0).astype(np.float32))
    assert not crop_faces(frame, unseen).any()


def test_what_cannot_be_exported_is_named(
    shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatasetError, match=r"no folder .*gone"):
        list(export_for_trainer(shards, tmp_path, "musubi", captions=tmp_path / "gone"))
    with pytest.raises(DatasetError, match="no export to 'other': choose one of diffsynth"):
        list(export_for_trainer(shards, tmp_path, "other"))
    with pytest.raises(DatasetError, match="clip puppet_0 is in two shards"):
        list(export_for_trainer([*shards, *shards], tmp_path / "twice", "unianimate-dit"))
    common = ["export", str(shards[0]), "--out", str(tmp_path / "e")]
    for wrong, message in (
        (["--to", "musubi", "--size", "64"], "--to keeps size and length"),
        (["--caption", "x"], "go with --to"),
        (["--to", "musubi", "--keypoints"], "--keypoints"),
        (["--to", "kohya"], "kohya"),
        (["--to", "unianimate-dit", "--caption", "x"], "unianimate-dit takes no captions"),
    ):
        assert main([*common, *wrong]) == 2
        assert message in capsys.readouterr().err
