"""A corpus from S3 and back: lists, sources and shards over a real server of its protocol.

Skipped without moto's server and s3fs: `pip install 'moto[server]' s3fs`.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aa_curation.errors import SourceError
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import read_sources
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.loader import make_loader

fsspec = pytest.importorskip("fsspec", reason="skipped: fsspec is not installed")
pytest.importorskip("s3fs", reason="skipped: s3fs is not installed")
moto = pytest.importorskip("moto.server", reason="skipped: moto[server] is not installed")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket of a server on this machine."""
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    fsspec.filesystem("s3").makedirs("corpora", exist_ok=True)
    yield "s3://corpora"
    fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


def test_a_corpus_is_made_from_a_bucket_and_trained_on_in_one(
    bucket: str, small_shards: Recipe, write_puppet: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    store = fsspec.filesystem("s3")
    rows = [write_puppet(tmp_path, seed) for seed in (1, 2)]
    lines = [["source_id", "url", "licence", "pose_file"]]
    for row in rows:
        store.put_file(str(tmp_path / row["location"]), f"corpora/videos/{row['location']}")
        pose = str(tmp_path / row["pose_file"])
        lines.append([row["source_id"], f"videos/{row['location']}", "MIT", pose])
    lines.append(["gone", "videos/gone.mp4", "MIT", ""])
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    store.put_file(str(tmp_path / "list.csv"), "corpora/list.csv")

    corpus = tmp_path / "corpus"
    ledger = run(small_shards, [f"{bucket}/list.csv"], corpus, Local())
    assert ledger.funnel() == {("accepted", ""): 2, ("rejected", "no_object"): 1}
    for row in rows:
        fetched = ledger.fetches[row["source_id"]].file
        assert fetched is not None
        content = (tmp_path / row["location"]).read_bytes()
        assert fetched.sha256 == hashlib.sha256(content).hexdigest()

    store.put(str(corpus / "shards"), "corpora/shards", recursive=True)
    config = LoaderConfig(stage=1, batch_size=2, size_hw=(64, 64), shard_cache_dir=tmp_path / "c")
    here, there = (next(make_loader(place, config)) for place in (corpus, f"{bucket}/shards/"))
    assert there.clip_ids == here.clip_ids
    assert (there.target == here.target).all()


def test_a_bucket_that_is_not_there_is_one_line(bucket: str) -> None:
    with pytest.raises(SourceError, match=r"cannot read s3://no-such-bucket/list\.csv: "):
        read_sources(["s3://no-such-bucket/list.csv"])
