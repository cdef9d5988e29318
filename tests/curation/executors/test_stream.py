"""A run as a stream: blocks of sources, shards before its end, and the same bytes whatever ends
when."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aa_curation.crawl.store import Store
from aa_curation.errors import WorkerDiedError
from aa_curation.executors import stream
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.executors.stream import Step, Task
from aa_curation.ledger.file import read_ledger
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.worker import Worker

NUM_SOURCES = 14


class StopError(Exception):
    """What ends a run in its middle."""


class Shuffled:
    """Four workers that finish in an order drawn at random (None: in the order of their tasks),
    and stop after some results."""

    def __init__(self, seed: int | None, stop_after: int | None = None) -> None:
        self._draw = None if seed is None else random.Random(seed)
        self._stop_after = stop_after
        self.done: list[tuple[Step, Task]] = []

    @contextmanager
    def start(
        self, recipe: Recipe, clips_folder: Path, sources: Sequence[Source]
    ) -> Iterator[Shuffled]:
        self._worker, self._tasks = Worker(recipe, clips_folder), []
        yield self

    def room(self) -> bool:
        return len(self._tasks) < 4

    def busy(self) -> bool:
        return bool(self._tasks)

    def fetchers(self, store: Store) -> None:
        return None

    def submit(self, step: Step, task: Task) -> None:
        self._tasks.append((step, task))

    def finished(self, timeout_s: float) -> list[tuple[Step, Task, Any]]:
        if self._stop_after is not None and len(self.done) >= self._stop_after:
            raise StopError
        place = self._draw.randrange(len(self._tasks)) if self._draw else 0
        step, task = self._tasks.pop(place)
        self.done.append((step, task))
        return [(step, task, getattr(self._worker, step)(*task))]


@pytest.fixture(autouse=True)
def little_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LEAST_SOURCES", 2)


@pytest.fixture(scope="module")
def recipe(small_shards: Recipe) -> Recipe:
    return replace(small_shards, min_s=0.3)


@pytest.fixture(scope="module")
def many(
    tmp_path_factory: pytest.TempPathFactory,
    write_puppet: Callable[..., dict[str, str]],
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
) -> Path:
    """Puppets, of which three are in twice: as the same file, and as a longer one."""
    folder = tmp_path_factory.mktemp("many")
    rows = [write_puppet(folder, seed, 12) for seed in range(NUM_SOURCES - 3)]
    rows += [{**rows[place], "source_id": f"again_{place}"} for place in (1, 4)]
    rows.append({**rows[2], "source_id": "a_copy", "split": "val"})
    return write_sources(folder, rows)


@pytest.fixture(scope="module")
def at_once(many: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus that one worker makes of it."""
    folder = tmp_path_factory.mktemp("at_once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "LEAST_SOURCES", 2)
        run(recipe, [many], folder, Local())
    return folder


def _contents(folder: Path) -> dict[str, str]:
    files = [*folder.glob("shards/*"), folder / "clips.csv"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_neither_a_run_nor_its_workers_load_torch() -> None:
    """470 MiB and seconds for each of them."""
    code = "import sys, aa_curation.executors.run as run; run.load_recipe('default')"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def test_the_corpus_does_not_depend_on_who_is_done_first(
    at_once: Path, many: Path, recipe: Recipe, tmp_path: Path
) -> None:
    sources = random.Random(0).sample(read_sources([many]), NUM_SOURCES)
    ledger = run(recipe, sources, tmp_path, Shuffled(0))
    assert _contents(tmp_path) == _contents(at_once)
    reasons = {d.clip_id: d.reason for d in ledger.decisions.values()}
    assert reasons == {d.clip_id: d.reason for d in read_ledger(at_once).decisions.values()}
    assert list(reasons.values()).count("duplicate") == 3
    assert reasons["a_copy-0000"] == "", "it is of a held-out split"


def test_shards_are_there_while_sources_are_not_even_surveyed(
    many: Path, recipe: Recipe, tmp_path: Path
) -> None:
    workers = Shuffled(None)
    run(recipe, [many], tmp_path, workers)
    steps = [step for step, _ in workers.done]
    assert "survey" in steps[steps.index("pack") :], "the stream waited for all surveys"
    surveyed_ahead = steps[: steps.index("curate")].count("survey")
    assert surveyed_ahead < NUM_SOURCES / 2
    packed = [task[0] for step, task in workers.done if step == "pack"]
    assert len(packed) == len(set(packed)) >= 3
    # Those that are full lie there when the next ones are made; the rest is packed at the end.
    names = {path.name for path in tmp_path.glob("shards/*.tar")}
    assert names - set(packed) <= {"test-000002.tar", "train-000003.tar", "val-000000.tar"}


@pytest.mark.parametrize(
    "stop_after",
    [pytest.param(1, marks=pytest.mark.slow), 13, pytest.param(24, marks=pytest.mark.slow)],
)
def test_a_stream_that_ends_in_its_middle_is_resumed_to_the_same_bytes(
    at_once: Path, many: Path, recipe: Recipe, tmp_path: Path, stop_after: int
) -> None:
    with pytest.raises(StopError):
        run(recipe, [many], tmp_path, Shuffled(stop_after, stop_after))
    ledger = run(recipe, [many], tmp_path, Shuffled(stop_after + 1))
    assert _contents(tmp_path) == _contents(at_once)
    assert ledger.shard_of == read_ledger(at_once).shard_of
    again = Shuffled(0)
    run(recipe, [many], tmp_path, again)
    assert again.done == [], "nothing is left to do"


def test_a_worker_that_dies_over_a_shard_leaves_it_to_the_end(
    at_once: Path, many: Path, recipe: Recipe, tmp_path: Path
) -> None:
    class Dying(Shuffled):
        def finished(self, timeout_s: float) -> list[tuple[Step, Task, Any]]:
            ((step, task, result),) = super().finished(timeout_s)
            if step == "pack":
                (tmp_path / "shards" / task[0]).unlink()
                result = WorkerDiedError("killed its worker 2 times")
            return [(step, task, result)]

    run(recipe, [many], tmp_path, Dying(0))
    assert _contents(tmp_path) == _contents(at_once)


def test_a_source_that_failed_is_tried_again_in_a_block_behind(
    many: Path, recipe: Recipe, tmp_path: Path
) -> None:
    class Failing(Shuffled):
        def finished(self, timeout_s: float) -> list[tuple[Step, Task, Any]]:
            ((step, task, result),) = super().finished(timeout_s)
            if step == "survey" and task[0].source_id == "puppet_5":
                result = WorkerDiedError("killed its worker 2 times")
            return [(step, task, result)]

    ledger = run(recipe, [many], tmp_path, Failing(0))
    assert ledger.funnel()["failed", "WorkerDiedError"] == 1
    before = dict(ledger.shard_of)
    last = ledger.last_block()
    ledger = run(recipe, [many], tmp_path, Local())
    assert ledger.funnel()["failed", "WorkerDiedError"] == 0
    assert ledger.block_of("puppet_5") == last + 1
    shards = dict(ledger.shard_of)
    assert {name: shards[name] for name in before} == before
    assert shards.keys() - before.keys() == {"puppet_5-0000"}
