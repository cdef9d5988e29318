"""Which clip lies in which shard, while a corpus grows and shrinks."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_curation.cli.main import main
from aa_curation.corpus import write_shards
from aa_curation.corpus.verify import iter_problems
from aa_curation.corpus.write_shards import shard_plan
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.ledger.file import LEDGER_NAME, read_ledger
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import CorpusHead, Decision
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.pack_shard import pack_shard
from aa_datasets.clip import Clip
from aa_datasets.shards import read_shards


def _accepted(clip_id: str, split: str = "train") -> Decision:
    clip = Clip(
        clip_id, clip_id, "file", "MIT", 0.0, 1.0, 24.0, (256, 256), 24, False, "dwpose", split
    )
    return Decision(clip_id, clip_id, "accepted", "clip", clip=clip)


def test_one_percent_more_clips_rewrites_no_shard() -> None:
    ledger = Ledger(CorpusHead("demo", "abc", clips_per_shard=256))
    for number in range(5000):
        ledger.add_decision(_accepted(f"c{number}"))
    before = shard_plan(ledger)
    assert [len(ids) for ids in before.values()] == [256] * 19 + [136]
    ledger.add_shards(before)
    for number in range(5000, 5050):
        ledger.add_decision(_accepted(f"c{number}"))
    after = shard_plan(ledger)
    assert {name: after[name] for name in before} == before
    (new,) = after.keys() - before.keys()
    assert (new, len(after[new])) == ("train-000020.tar", 50)


clips = st.sets(st.integers(0, 30), max_size=31)


@settings(max_examples=100)
@given(runs=st.lists(clips, min_size=1, max_size=6), split=st.booleans())
def test_a_clip_never_moves_whatever_comes_and_goes(runs: list[set[int]], split: bool) -> None:
    """Runs after which just these clips are accepted, of one split or of two."""
    ledger = Ledger(CorpusHead("demo", "abc", clips_per_shard=4))
    shard_of: dict[str, str] = {}
    for accepted in runs:
        for number in range(31):
            row = _accepted(f"c{number}", "test" if split and number % 3 else "train")
            if number not in accepted:
                row = replace(row, status="rejected", reason="static")
            ledger.add_decision(row)
        plan = shard_plan(ledger)
        assert sorted(c for ids in plan.values() for c in ids) == sorted(
            f"c{number}" for number in accepted
        )
        assert all(len(ids) <= 4 for ids in plan.values())
        for name, ids in plan.items():
            for clip_id in ids:
                assert shard_of.setdefault(clip_id, name) == name
        ledger.add_shards(plan)


def test_a_clip_of_another_split_leaves_its_shard() -> None:
    ledger = Ledger(CorpusHead("demo", "abc", clips_per_shard=4))
    ledger.add_decision(_accepted("a"))
    ledger.add_decision(_accepted("b"))
    ledger.add_shards(shard_plan(ledger))
    ledger.add_decision(_accepted("a", "test"))
    assert shard_plan(ledger) == {"test-000000.tar": ["a"], "train-000000.tar": ["b"]}


def _sources(folder: Path) -> tuple[list[Source], list[Source]]:
    """Those of the shared folder: all but one puppet, and that puppet."""
    every = read_sources([folder])
    late = [source for source in every if source.source_id == "puppet_4"]
    return [source for source in every if source not in late], late


def _hashes(folder: Path) -> dict[str, str]:
    files = [*(folder / "shards").glob("*.*"), folder / "clips.csv"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def early(
    small_shards: Recipe, sources_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A corpus that lacks one puppet."""
    folder = tmp_path_factory.mktemp("early") / "corpus"
    run(small_shards, _sources(sources_folder)[0], folder, Local())
    return folder


@pytest.fixture
def corpus(early: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(early, tmp_path / "corpus"))


def test_the_plan_is_in_the_ledger_before_the_first_shard_is_written(
    corpus: Path, small_shards: Recipe, sources_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[bool] = []

    def looking(name: str, decisions: list[Decision], folder: Path) -> int:
        stored = dict(read_ledger(folder).sql("SELECT clip_id, shard FROM shard_of"))
        planned.append(all(stored.get(decision.clip_id) == name for decision in decisions))
        return pack_shard(name, decisions, folder)

    run(small_shards, read_sources([sources_folder]), corpus, Local())
    monkeypatch.setattr(write_shards, "pack_shard", looking)
    assert main(["repack", "--out", str(corpus)]) == 0
    assert planned
    assert all(planned)


def test_a_clip_that_is_added_leaves_every_shard_and_its_latents_as_they_are(
    corpus: Path, small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    for shard in corpus.glob("shards/*.tar"):
        for kind in ("npy", "json"):
            shard.with_suffix(f".latents.{kind}").write_bytes(b"")
    before = _hashes(corpus)
    run(small_shards, read_sources([sources_folder]), corpus, Local())
    after = _hashes(corpus)
    before.pop("clips.csv")
    assert {name: after[name] for name in before} == before
    assert {name.partition(".")[0] for name in after.keys() - before.keys() - {"clips.csv"}} == {
        "train-000001"
    }
    assert list(iter_problems(read_ledger(corpus), corpus)) == []

    # `repack` gives what one run over all sources would have given.
    run(small_shards, read_sources([sources_folder]), tmp_path / "at_once", Local())
    for latents in corpus.glob("shards/*.latents.*"):
        latents.unlink()
    assert _hashes(corpus) != _hashes(tmp_path / "at_once")
    assert main(["repack", "--out", str(corpus)]) == 0
    assert _hashes(corpus) == _hashes(tmp_path / "at_once")
    assert main(["verify", "--out", str(corpus)]) == 0


def test_a_corpus_of_an_earlier_version_keeps_the_shards_that_it_has(
    corpus: Path, small_shards: Recipe, sources_folder: Path, to_lines: Callable[[Path], None]
) -> None:
    """It did not write down what it put where; what was taken down left a hole in its shard."""
    assert main(["takedown", "--source", "puppet_1", "--out", str(corpus)]) == 0
    as_it_was = read_ledger(corpus)
    to_lines(corpus)
    assert read_ledger(corpus).decisions == as_it_was.decisions
    before = _hashes(corpus)
    assert list(iter_problems(read_ledger(corpus), corpus)) == []
    run(small_shards, read_sources([sources_folder]), corpus, Local())
    after = _hashes(corpus)
    before.pop("clips.csv")
    assert {name: after[name] for name in before} == before
    assert {path.name for path in corpus.glob("ledger*")} == {LEDGER_NAME, "ledger.jsonl.old"}
    assert "puppet_4" in {s.clip.source_id for s in read_shards([corpus])}
    assert main(["verify", "--out", str(corpus)]) == 0
    assert {f"{n}.tar" for n in {name.partition(".")[0] for name in after} - {"clips"}} == set(
        shard_plan(read_ledger(corpus))
    )
