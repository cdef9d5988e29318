"""A training run of `aa-train` that is resumed over a corpus that has grown since."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.recipe import Recipe
from aa_model.cli import train as train_cli


def test_a_training_resumes_over_a_corpus_that_has_grown_by_a_shard(
    small_shards: Recipe,
    write_puppet: Callable[..., dict[str, str]],
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
    tmp_path: Path,
) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "run"
    rows = [write_puppet(tmp_path, seed) for seed in (1, 2)]
    run(small_shards, [write_sources(tmp_path, rows)], corpus, Local())
    before = {path.name: path.read_bytes() for path in corpus.glob("shards/*.tar")}

    def train(steps: int, *more: str) -> list[str]:
        arguments = [str(corpus), "--stage", "autoencoder", "--preset", "tiny", "--batch-size", "1"]
        arguments += ["--steps", str(steps), "--out", str(out), "--save-every", "1", *more]
        assert train_cli.main(arguments) == 0
        with (out / "loss.csv").open() as file:
            return [row["loss"] for row in csv.DictReader(file)]

    losses = train(3)
    rows += [write_puppet(tmp_path, seed) for seed in (4, 5)]
    run(small_shards, [write_sources(tmp_path, rows)], corpus, Local())
    after = {path.name: path.read_bytes() for path in corpus.glob("shards/*.tar")}
    assert before.items() < after.items(), "the first shard is as it was"
    assert len(after) == 2
    with pytest.warns(RuntimeWarning, match=r"0 of 1 are gone or altered .* 1 are new"):
        resumed = train(6, "--resume")
    assert resumed[:3] == losses
    assert len(resumed) == 6
