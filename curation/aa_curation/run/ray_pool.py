"""Worker pool: Ray actors with one task at a time each, which may die, alone or with their node."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from tqdm import tqdm

from aa_curation.recipe import Recipe
from aa_curation.steps.worker import Worker

ATTEMPTS = 2  # a clip that kills its worker twice is to blame itself
_PATIENCE_S = 60.0


class WorkerPool:
    """Workers on whatever nodes Ray has.

    A worker gets a task only once it has reported itself ready: one that Ray cannot place, since
    its node is gone and the others are full, holds no clip and stops nobody.

    Args:
        recipe: what the workers do.
        clips_folder: where accepted clips go; on a path that all nodes share.
        num_workers: how many; each takes a CPU.
    """

    def __init__(self, recipe: Recipe, clips_folder: Path, num_workers: int) -> None:
        self._make = ray.remote(Worker).options(num_cpus=1)
        self._arguments = (recipe, clips_folder)
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}  # future -> worker's number
        self._free: deque[int] = deque()
        for number in range(num_workers):
            self._start(number)

    def each(self, method: str, tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
        """Run a method of the worker on each task; yield (task, result) as they finish.

        The result is None where the task killed its worker `ATTEMPTS` times (out of memory, a
        crash in a decoder, its node); the dead worker is replaced.
        """
        waiting = deque((task, 1) for task in tasks)
        running: dict[Any, tuple[Any, int, int]] = {}  # future -> task, attempt, worker's number
        unit = "sources" if method == "survey" else "clips"
        with tqdm(total=len(tasks), desc=method, unit=unit, disable=not tasks) as progress:
            while waiting or running:
                while waiting and self._free:
                    number, (task, attempt) = self._free.popleft(), waiting.popleft()
                    future = getattr(self._actors[number], method).remote(*task)
                    running[future] = (task, attempt, number)
                done, _ = ray.wait([*running, *self._starting], num_returns=1, timeout=_PATIENCE_S)
                if not done:
                    if not running:
                        progress.write("waiting for Ray to place a worker: are there free CPUs?")
                    continue
                (future,) = done
                if future in self._starting:
                    self._started(future)
                    continue
                task, attempt, number = running.pop(future)
                try:
                    result = ray.get(future)
                    self._free.append(number)
                except RayActorError:
                    self._start(number)
                    if attempt < ATTEMPTS:
                        waiting.append((task, attempt + 1))
                        continue
                    result = None
                except RayTaskError as error:
                    raise error.cause from None
                progress.update()
                yield task, result

    def _start(self, number: int) -> None:
        self._actors[number] = actor = self._make.remote(*self._arguments)
        self._starting[actor.__ray_ready__.remote()] = number

    def _started(self, future: Any) -> None:
        number = self._starting.pop(future)
        try:
            ray.get(future)
            self._free.append(number)
        except RayActorError:
            self._start(number)  # its node went while it started
