"""Ray run: the recipe over all sources, on this machine or on a cluster.

Two stages with a barrier between them: surveys say which clips there are, then clips are curated.
Only rows travel through Ray; video stays in files. A worker is given one task at a time, so memory
does not grow with the corpus, and when a worker dies it is known over what. The driver alone
writes the ledger and the shards.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from tqdm import tqdm

from aa_curation.decision import Decision, PlannedClip, Survey
from aa_curation.duplicates import reject_duplicates
from aa_curation.ledger import Ledger, LedgerWriter
from aa_curation.pack import CLIPS, pack
from aa_curation.recipe import Recipe
from aa_curation.sources import Source
from aa_curation.survey import file_stamp
from aa_curation.worker import Worker, failed

_ATTEMPTS = 2  # a clip that kills its worker twice is to blame itself
_OBJECT_STORE_BYTES = 100 << 20


def run(
    recipe: Recipe,
    sources: Sequence[Source],
    folder: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
) -> Ledger:
    """Curate all sources into `folder`; go on where an earlier run stopped.

    Args:
        recipe: what to do.
        sources: sorted by id.
        folder: of the corpus: ledger.jsonl, clips/, shards/, clips.csv.
        workers: processes; None takes every CPU that Ray has.
        address: of a Ray cluster; None uses RAY_ADDRESS if set, else starts Ray here.

    Raises:
        LedgerError: another run or another recipe holds the folder.
        WeightsError: the pose models are missing or altered.
    """
    with LedgerWriter(folder, recipe.name, recipe.sha256) as writer:
        clips = (folder / CLIPS).resolve()
        clips.mkdir(exist_ok=True)
        for leftover in clips.glob(".*.tmp"):
            leftover.unlink()
        if any(source.pose_path is None for source in sources):
            recipe.estimator()  # fails here, by name, and not in every worker
        surveys = sources_to_survey(writer.ledger, sources)
        if surveys or clips_to_curate(writer.ledger, sources):
            with _ray_session(address, workers) as num_workers:
                pool = _Pool(recipe, clips, num_workers)
                for (source,), survey in pool.each("survey", [(s,) for s in surveys]):
                    writer.add_survey(survey or _died_surveying(source))
                for duplicate in reject_duplicates(writer.ledger, sources):
                    writer.add_survey(duplicate)
                todo = clips_to_curate(writer.ledger, sources)
                for (planned, _), decision in pool.each("curate", todo):
                    writer.add_decision(decision or _died_curating(planned))
        writer.ledger.assert_complete()
        pack(writer.ledger, folder, recipe.clips_per_shard)
        return writer.ledger


def sources_to_survey(ledger: Ledger, sources: Sequence[Source]) -> list[Source]:
    """Those never surveyed, changed since, or whose survey failed."""

    def is_done(source: Source) -> bool:
        survey = ledger.surveys.get(source.source_id)
        return (
            survey is not None
            and (survey.num_bytes, survey.modified_ns) == file_stamp(source)
            and all(decision.status != "failed" for decision in survey.decisions)
        )

    return [source for source in sources if not is_done(source)]


def clips_to_curate(ledger: Ledger, sources: Sequence[Source]) -> list[tuple[PlannedClip, Source]]:
    """Those of surveyed sources that have no decision, or failed."""
    todo = []
    for source in sources:
        survey = ledger.surveys.get(source.source_id)
        for planned in survey.planned if survey else ():
            decision = ledger.decisions.get(planned.clip_id)
            if decision is None or decision.status == "failed":
                todo.append((planned, source))
    return todo


class _Pool:
    """Worker actors, each with one task at a time."""

    def __init__(self, recipe: Recipe, clips_folder: Path, num_workers: int) -> None:
        self._make = ray.remote(Worker).options(num_cpus=1)
        self._arguments = (recipe, clips_folder)
        self._actors = [self._make.remote(*self._arguments) for _ in range(num_workers)]

    def each(self, method: str, tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
        """Run a method of the worker on each task; yield (task, result) as they finish.

        The result is None where the task killed its worker `_ATTEMPTS` times (out of memory, a
        crash in a decoder); the dead worker is replaced.
        """
        waiting = deque((task, 1) for task in tasks)
        running: dict[Any, tuple[Any, int, int]] = {}  # future -> task, attempt, worker's number
        free = deque(range(len(self._actors)))
        with tqdm(
            total=len(tasks),
            desc=method,
            unit="sources" if method == "survey" else "clips",
            disable=not tasks,
        ) as progress:
            while waiting or running:
                while waiting and free:
                    number, (task, attempt) = free.popleft(), waiting.popleft()
                    future = getattr(self._actors[number], method).remote(*task)
                    running[future] = (task, attempt, number)
                (future,), _ = ray.wait(list(running), num_returns=1)
                task, attempt, number = running.pop(future)
                free.append(number)
                try:
                    result = ray.get(future)
                except RayActorError:
                    self._actors[number] = self._make.remote(*self._arguments)
                    if attempt < _ATTEMPTS:
                        waiting.append((task, attempt + 1))
                        continue
                    result = None
                except RayTaskError as error:
                    raise error.cause from None
                progress.update()
                yield task, result


@contextmanager
def _ray_session(address: str | None, workers: int | None) -> Iterator[int]:
    """Connect to Ray or start it here; gives the number of workers; ends what it started."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        ray.init(
            "local",
            num_cpus=workers or os.cpu_count(),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
    else:
        ray.init(address, **quiet)
    try:
        yield min(workers or 1 << 30, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


class WorkerDiedError(Exception):
    """A task killed its worker as often as it was tried."""


def _died_surveying(source: Source) -> Survey:
    row = _died(f"{source.source_id}-0000", source.source_id, "survey")
    return Survey(source.source_id, "", *file_stamp(source), (), (row,))


def _died_curating(planned: PlannedClip) -> Decision:
    return _died(planned.clip_id, planned.source_id, "clip")


def _died(clip_id: str, source_id: str, stage: str) -> Decision:
    error = WorkerDiedError(
        f"killed its worker {_ATTEMPTS} times: out of memory, or a decoder's crash"
    )
    return failed(clip_id, source_id, stage, error, time.perf_counter())
