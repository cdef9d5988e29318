"""Shards are what `ray.data.read_webdataset` reads, with its own decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aa_datasets.clip import Clip
from aa_datasets.pose import read_pose
from aa_datasets.shards import ShardSample
from aa_datasets.video.canonical import read_canonical


@pytest.mark.slow  # starts Ray
def test_ray_data_reads_every_clip_of_the_shards(
    samples: list[ShardSample], shards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=100 << 20)
    try:
        paths = [str(path) for path in shards]
        rows = ray.data.read_webdataset(paths, file_extensions=["tar"]).take_all()
    finally:
        ray.shutdown()
    found = {row["__key__"]: row for row in rows}
    assert len(rows) == len(found) == len(samples)
    for sample in samples:
        row = found[sample.clip.clip_id]
        assert Clip.from_json(row["meta.json"]) == sample.clip
        assert bytes(row["mp4"]) == sample.mp4
        pose = read_pose(bytes(row["pose.npz"]))
        np.testing.assert_array_equal(pose.keypoints_px, sample.pose.keypoints_px)
        assert len(read_canonical(bytes(row["mp4"]))) == sample.clip.num_frames
