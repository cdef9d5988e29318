"""Ray: the steps of a run in worker processes, on this machine or on a cluster.

Only rows travel through Ray; video stays in files. A worker is given one task at a time, so memory
does not grow with the corpus, and when a worker dies it is known over what.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray as ray_core
from ray.exceptions import RayError, RayTaskError
from ray.util.metrics import Counter as RayCounter
from ray.util.metrics import Gauge

from aa_curation.errors import WorkerDiedError, WorkerStartError
from aa_curation.executors.shared_path import check_shared
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.worker import Worker

ATTEMPTS = 2  # a task is given up after its second crashed worker
START_ATTEMPTS = 3  # in a row, of one worker, before it is given up
_SESSION_ATTEMPTS = 3
_OBJECT_STORE_BYTES = 100 << 20
_LOOK_EVERY_S = 10.0  # for CPUs that joined the cluster
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Ray:
    """Run the steps in Ray workers: `run(recipe, sources, out, Ray(workers=8))`.

    Attributes:
        workers: how many processes, each of one CPU. None takes every CPU that this process may use
            or, on a cluster, every CPU that Ray has, also of nodes that join during the run. More
            than the cluster has are a demand on its autoscaler.
        address: of a Ray cluster; None takes RAY_ADDRESS if it is set, else starts Ray here.
    """

    workers: int | None = None
    address: str | None = None

    @contextmanager
    def start(
        self, recipe: Recipe, clips_folder: Path, sources: Sequence[Source]
    ) -> Iterator[WorkerPool]:
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        count = self.workers
        if address == "local":
            count = count or usable_cpus()
        _connect(address, count)
        try:
            check_shared(clips_folder.parent, sources)
            yield WorkerPool(recipe, clips_folder, count)
        finally:
            ray_core.shutdown()


def usable_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs that this process may use: its affinity, and the quota of its container (cgroup 1 or 2).

    `os.cpu_count()` tells those of the machine.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = math.inf
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
        quota = math.inf if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        try:
            limit_us = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())
            period_us = int((cgroup / "cpu/cpu.cfs_period_us").read_text())
            quota = limit_us / period_us if limit_us > 0 else math.inf
        except (OSError, ValueError):
            pass  # no container, or not Linux
    return max(1, int(min(allowed or 1, quota)))


class WorkerPool:
    """Ray actors with one task at a time each, which may die, alone or with their node.

    A worker gets a task only once it has reported itself ready: one that Ray cannot place, since
    its node is gone and the others are full, holds no clip and stops no other.

    Args:
        recipe: what the workers do.
        clips_folder: where accepted clips go; on a path that all nodes share.
        count: how many; None follows the CPUs of the cluster.
        worker: the class of the actors.
    """

    def __init__(
        self, recipe: Recipe, clips_folder: Path, count: int | None, worker: type = Worker
    ) -> None:
        self._make = ray_core.remote(worker).options(num_cpus=1)
        self._arguments = (recipe, clips_folder)
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}  # future -> worker's number
        self._free: deque[int] = deque()
        self._failed_starts: Counter[int] = Counter()
        self._given_up: set[int] = set()
        self._count = count
        self._looked_s = -math.inf
        self._metrics = _Metrics()
        self._grow()

    def each(
        self, step: str, tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Run a method of the worker on each task; yield (task, result) as they finish.

        The result is a WorkerDiedError where the task killed its worker `ATTEMPTS` times: out of
        memory, a crash in a decoder, a lost node. The dead worker is replaced.

        Raises:
            WorkerStartError: none of the workers could be started.
        """
        waiting = deque((task, 1) for task in tasks)
        running: dict[Any, tuple[tuple[Any, ...], int, int]] = {}  # task, attempt, worker's number
        while waiting or running:
            self._grow()
            while waiting and self._free:
                number, (task, attempt) = self._free.popleft(), waiting.popleft()
                future = getattr(self._actors[number], step).remote(*task)
                running[future] = (task, attempt, number)
            self._metrics.show(step, len(waiting), len(running), len(self._free))
            done, _ = ray_core.wait(
                [*running, *self._starting], num_returns=1, timeout=self._patience_s(running)
            )
            if not done:
                if not running and self._count is not None:
                    print("waiting for Ray to place a worker: are there free CPUs?",
                          file=sys.stderr)  # fmt: skip
                continue
            (future,) = done
            if future in self._starting:
                self._started(future)
                continue
            task, attempt, number = running.pop(future)
            try:
                result = ray_core.get(future)
                self._free.append(number)
            except RayTaskError as error:
                raise error.cause from None  # a missing model or package: every task would raise
            except RayError as error:
                self._replace(number)
                if attempt < ATTEMPTS:
                    waiting.append((task, attempt + 1))
                    continue
                result = WorkerDiedError(
                    f"killed its worker {ATTEMPTS} times; the last time: {_in_short(error)}"
                )
            self._metrics.count(step, result)
            yield task, result
        self._metrics.show(step, 0, 0, len(self._free))

    def _patience_s(self, running: object) -> float:
        return _LOOK_EVERY_S if running or self._count is None else _PATIENCE_S

    def _grow(self) -> None:
        """Start workers up to the count, or for CPUs that have joined the cluster."""
        if self._count is None and time.monotonic() - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        wanted = self._count
        if wanted is None:
            wanted = max(1, int(ray_core.cluster_resources().get("CPU", 1)))
        for number in range(len(self._actors), wanted):
            self._start(number)

    def _start(self, number: int) -> None:
        self._actors[number] = actor = self._make.remote(*self._arguments)
        self._starting[actor.__ray_ready__.remote()] = number

    def _started(self, future: Any) -> None:
        number = self._starting.pop(future)
        try:
            ray_core.get(future)
            self._failed_starts[number] = 0
            self._free.append(number)
        except RayError as error:  # its node went while it started, or it never can
            self._failed_starts[number] += 1
            if self._failed_starts[number] < START_ATTEMPTS:
                self._replace(number)
                return
            self._given_up.add(number)
            print(f"worker {number} is given up after {START_ATTEMPTS} failed starts: "
                  f"{_in_short(error)}", file=sys.stderr)  # fmt: skip
            if len(self._given_up) == len(self._actors):
                raise WorkerStartError(
                    f"no worker could be started, {START_ATTEMPTS} attempts each; the last time: "
                    f"{_in_short(error)}. Are the same packages installed on every node?"
                ) from error

    def _replace(self, number: int) -> None:
        ray_core.kill(self._actors[number])  # it may be alive where only its answer was lost
        self._start(number)


class _Metrics:
    """What Ray's dashboard and Prometheus show of a run, next to the numbers of Ray itself.

    `ray_aa_curate_results_total` by step and outcome (a reason, or "accepted"): its rate is clips a
    second. `ray_aa_curate_tasks` by step: waiting, or running. `ray_aa_curate_free_workers`.
    """

    def __init__(self) -> None:
        self._results = RayCounter(
            "aa_curate_results", "Results of steps.", tag_keys=("step", "outcome")
        )
        self._tasks = Gauge("aa_curate_tasks", "Sources or clips.", tag_keys=("step", "state"))
        self._free = Gauge("aa_curate_free_workers", "Workers without a task.")

    def count(self, step: str, result: object) -> None:
        names = (getattr(result, name, "") for name in ("reason", "status"))
        outcome = next(filter(None, names), "surveyed")
        if isinstance(result, Exception):
            outcome = type(result).__name__
        self._results.inc(1, {"step": step, "outcome": outcome})

    def show(self, step: str, waiting: int, running: int, free: int) -> None:
        self._tasks.set(waiting, {"step": step, "state": "waiting"})
        self._tasks.set(running, {"step": step, "state": "running"})
        self._free.set(free)


def _in_short(error: Exception) -> str:
    """The kind of a death, and the line that says most of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Of a constructor's traceback the last line names the error, of a death the first.
    said = next((line for line in reversed(lines) if "Error:" in line), lines[0] if lines else "")
    return f"{type(error).__name__}: {said}"


def _connect(address: str, count: int | None) -> None:
    """Connect to Ray or start it here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address != "local":
        ray_core.init(address, **quiet)
        return
    # Ray gives its own node 30 s to start, which a busy machine may not keep: try again.
    for attempts_left in reversed(range(_SESSION_ATTEMPTS)):
        try:
            ray_core.init(
                "local",
                num_cpus=count,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
            return
        except Exception as error:  # Ray raises nothing more particular
            ray_core.shutdown()
            if "timed out during startup" not in str(error) or not attempts_left:
                raise
