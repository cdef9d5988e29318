"""Local: the steps of a run in this process, one after the other, without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aa_curation.crawl.store import Store
from aa_curation.executors.stream import Step, Task
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.worker import Worker


@dataclass(frozen=True, slots=True)
class Local:
    """Run every step in this process: `run(recipe, sources, out, Local())`.

    One core is used (a video's decoder is a process of its own). A step that crashes the process
    ends the run; the next run resumes it.
    """

    @contextmanager
    def start(
        self, recipe: Recipe, clips_folder: Path, sources: Sequence[Source]
    ) -> Iterator[_OneWorker]:
        yield _OneWorker(Worker(recipe, clips_folder))


class _OneWorker:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._task: tuple[Step, Task] | None = None

    def room(self) -> bool:
        return self._task is None

    def busy(self) -> bool:
        return self._task is not None

    def submit(self, step: Step, task: Task) -> None:
        self._task = step, task

    def fetchers(self, store: Store) -> None:
        return None

    def finished(self, timeout_s: float) -> list[tuple[Step, Task, Any]]:
        if self._task is None:
            return []
        (step, task), self._task = self._task, None
        return [(step, task, getattr(self._worker, step)(*task))]
