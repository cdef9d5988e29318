"""Puppets on disk: a shard that the loader takes, and a folder of sources that curation takes."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from aa_datasets import (
    LoaderConfig,
    make_loader,
    read_pose,
    read_record,
    read_shards,
    render_puppets,
)
from aa_datasets.cli import main
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import write_shard
from aa_datasets.video.canonical import read_canonical

SMALL = {"num_frames": 4, "fps": 12.0, "size_hw": (64, 80)}


def test_a_shard_and_a_folder_hold_the_same_puppets(tmp_path: Path) -> None:
    shard = render_puppets(tmp_path / "p" / "puppets.tar", count=2, first_seed=5, **SMALL)
    sources = render_puppets(tmp_path / "videos", count=2, first_seed=5, split="test", **SMALL)
    samples = list(read_shards([shard]))
    rows = list(csv.DictReader(sources.open()))
    assert [row["source_id"] for row in rows] == ["puppet_0000005", "puppet_0000006"]
    for seed, sample, row in zip((5, 6), samples, rows, strict=True):
        puppet = render_puppet(seed, seed, **SMALL)
        assert (sample.clip.clip_id, sample.clip.split) == (row["source_id"], "train")
        assert (row["split"], row["synthetic"]) == ("test", "true")
        assert sample.mp4 == (sources.parent / row["location"]).read_bytes()
        assert np.abs(read_canonical(sample.mp4).astype(int) - puppet.frames).mean() < 5
        for pose in (sample.pose, read_pose(sources.parent / row["pose_file"])):
            np.testing.assert_array_equal(pose.keypoints_px, puppet.pose.keypoints_px)


def test_the_loader_takes_the_shard(tmp_path: Path) -> None:
    shard = render_puppets(tmp_path / "puppets.tar", count=2, **SMALL)
    config = LoaderConfig(stage=2, batch_size=2, num_frames=3, size_hw=(64, 80))
    batch = next(make_loader([shard], config))
    assert set(batch.clip_ids) == {"puppet_0000000", "puppet_0000001"}
    assert batch.target.shape == (2, 3, 64, 80, 3)


def test_a_folder_and_a_shard_may_be_named_by_strings(tmp_path: Path) -> None:
    render_puppets(str(tmp_path / "train-000000.tar"), count=1, num_frames=4)
    assert len(list(read_shards(str(tmp_path)))) == 1
    assert len(read_record(str(tmp_path / "train-000000.tar")).clips) == 1


def test_a_shard_of_other_clips_is_not_replaced_by_puppets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = render_puppets(tmp_path / "puppets.tar", count=1, num_frames=4)
    argv = ["puppets", "--out", str(shard), "--count", "2", "--frames", "2", "--size", "64"]
    assert main(argv) == 0
    assert capsys.readouterr().out.endswith("puppets.tar (replaced)\n")
    (sample, _) = read_shards(shard)
    footage = dataclasses.replace(sample.clip, pose_from="yolox", synthetic=False)
    write_shard(shard, [dataclasses.replace(sample, clip=footage)])
    before = shard.read_bytes()
    assert main(argv) == 2
    assert "holds clips that are not puppets" in capsys.readouterr().err
    shard.with_suffix(".json").unlink()
    assert main(argv) == 2
    assert "not replaced by puppets: give another --out" in capsys.readouterr().err
    assert shard.read_bytes() == before
