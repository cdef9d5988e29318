"""Ray: the steps of a run in worker processes, on this machine or on a cluster.

Only rows travel through Ray; video stays in files. A worker is given one task at a time, so memory
does not grow with the corpus, and when a worker dies it is known over what.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import ray as ray_core
from ray.exceptions import RayError, RayTaskError
from ray.util.metrics import Counter as RayCounter
from ray.util.metrics import Gauge

from aa_curation.crawl.store import Store
from aa_curation.errors import WorkerDiedError, WorkerStartError
from aa_curation.executors.ray_fetchers import ATTEMPTS, RayFetchers, in_short
from aa_curation.executors.shared_path import check_shared
from aa_curation.executors.stream import Step, Task
from aa_curation.models.onnx_file import CPU, Device
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.worker import Worker

START_ATTEMPTS = 3  # in a row, of one worker, before it is given up
_SESSION_ATTEMPTS = 3
_OBJECT_STORE_BYTES = 100 << 20
_LOOK_EVERY_S = 10.0  # for CPUs that joined the cluster
_PATIENCE_S = 60.0
_SHOW_EVERY_S = 5.0


_NONE_YET = object()


@dataclass(frozen=True, slots=True)
class _Job:
    """A task, which is tried twice."""

    step: Step
    task: Task
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Ray:
    """Run the steps in Ray workers: `run(recipe, sources, out, Ray(workers=8))`.

    Attributes:
        workers: how many processes, each of one CPU. None takes every CPU that this process may use
            or, on a cluster, every CPU that Ray has, also of nodes that join during the run. More
            than the cluster has are a demand on its autoscaler.
        address: of a Ray cluster; None takes RAY_ADDRESS if it is set, else starts Ray here.
        gpus: of each worker, for the recipe's ONNX models; 0.5 lets two workers share one. With
            `workers` as None there are as many workers as that allows.
        clips_at_once: that a worker curates, so that its models take frames of several clips in one
            batch. What is found in a clip depends on it in the last digits, and on nothing else.
        fetchers: processes that fetch URLs, each the hosts that a hash gives to it; 0: this one
            does. None takes one for each node, and 0 where there is one node.
    """

    workers: int | None = None
    address: str | None = None
    gpus: float = 0.0
    clips_at_once: int = 1
    fetchers: int | None = None

    @contextmanager
    def start(
        self, recipe: Recipe, clips_folder: Path, sources: Sequence[Source]
    ) -> Iterator[WorkerPool]:
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        count = self.workers
        if address == "local" and not self.gpus:
            count = count or usable_cpus()
        _connect(address, count)
        device = Device(gpu=self.gpus > 0, batch=self.clips_at_once)
        try:
            check_shared(clips_folder.parent, sources)
            yield WorkerPool(
                recipe,
                clips_folder,
                count,
                device=device,
                gpus=self.gpus,
                fetchers=self.fetchers,
            )
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
    """Ray actors with so many tasks at a time as their models' batch has images, which is one on a
    CPU. They may die, alone or with their node.

    A worker gets a task only once it has reported itself ready: one that Ray cannot place, since
    its node is gone and the others are full, holds no clip and stops no other.

    Args:
        recipe: what the workers do.
        clips_folder: where accepted clips go; on a path that all nodes share.
        count: how many; None follows the CPUs of the cluster, or its GPUs.
        worker: the class of the actors.
        device: of their models.
        gpus: of each.
        fetchers: see `Ray`.
    """

    def __init__(
        self,
        recipe: Recipe,
        clips_folder: Path,
        count: int | None,
        worker: type = Worker,
        *,
        device: Device = CPU,
        gpus: float = 0.0,
        fetchers: int | None = None,
    ) -> None:
        self._slots, self._gpus = device.batch, gpus
        self._make = ray_core.remote(worker).options(
            num_cpus=1, num_gpus=gpus, max_concurrency=device.batch
        )
        self._arguments = (recipe, clips_folder, device)
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}  # reference -> worker's number
        self._running: dict[Any, tuple[_Job, int, Any]] = {}  # reference -> job, number, actor
        self._waiting: deque[_Job] = deque()
        self._again: deque[_Job] = deque()  # each gets a worker to itself: it may kill it
        self._free: deque[int] = deque()  # a worker's number for each task that it takes yet
        self._tasks_of: Counter[int] = Counter()  # at work, by worker
        # What the threads of Ray say is done: nothing is asked over all that runs, of which there
        # may be thousands.
        self._done: queue.SimpleQueue[tuple[Any, Future[Any]]] = queue.SimpleQueue()
        self._failed_starts: Counter[int] = Counter()
        self._given_up: set[int] = set()
        self._count = count
        self._looked_s = self._shown_s = -math.inf
        self._heard_s = time.monotonic()
        self._metrics = _Metrics()
        self._num_fetchers = fetchers
        self._grow()

    def room(self) -> bool:
        """See `Workers`: a task may wait for each worker."""
        return len(self._waiting) < max(1, len(self._actors)) * self._slots

    def busy(self) -> bool:
        """See `Workers`."""
        return bool(self._waiting or self._again or self._running)

    def submit(self, step: Step, task: Task) -> None:
        """See `Workers`."""
        self._waiting.append(_Job(step, task))
        self._give_out()

    def fetchers(self, store: Store) -> RayFetchers | None:
        """See `Workers`."""
        count = self._num_fetchers
        if count is None:
            nodes = [n for n in ray_core.nodes() if n["Alive"] and n["Resources"].get("CPU")]
            count = len(nodes) if len(nodes) > 1 else 0
        return RayFetchers(count, store) if count else None

    def finished(self, timeout_s: float) -> list[tuple[Step, Task, Any]]:
        """See `Workers`. A task that kills its worker is done a second time; the result is a
        WorkerDiedError where it did so `ATTEMPTS` times: out of memory, a crash in a decoder, a
        lost node. The dead worker is replaced.

        Raises:
            WorkerStartError: none of the workers could be started.
        """
        self._grow()
        self._give_out()
        found: list[tuple[Step, Task, Any]] = []
        try:
            events = [self._done.get(timeout=timeout_s)]
        except queue.Empty:
            self._say_if_stuck()
            return found
        while True:
            try:
                events.append(self._done.get_nowait())
            except queue.Empty:
                break
        self._heard_s = time.monotonic()
        for reference, future in events:
            if reference in self._starting:
                self._started(reference, future)
            else:
                job, number, actor = self._running.pop(reference)
                result = self._result(job, number, actor, future)
                if result is not _NONE_YET:
                    self._metrics.count(job.step, result)
                    found.append((job.step, job.task, result))
        self._give_out()
        return found

    def _result(self, job: _Job, number: int, actor: Any, future: Future[Any]) -> Any:
        is_its = self._actors[number] is actor  # and not of its successor
        error = future.exception()
        if is_its:
            self._tasks_of[number] -= 1
        if error is None:
            if is_its:
                self._free.extend([number] * (1 if job.attempt == 1 else self._slots))
            return future.result()
        if isinstance(error, RayTaskError):
            raise error.cause from None  # a missing model or package: every task would raise
        if not isinstance(error, RayError):
            raise error
        if is_its:
            self._replace(number)
        if job.attempt < ATTEMPTS:
            self._again.append(replace(job, attempt=job.attempt + 1))
            return _NONE_YET
        return WorkerDiedError(
            f"killed its worker {ATTEMPTS} times; the last time: {in_short(error)}"
        )

    def _give_out(self) -> None:
        # The second attempt of a task waits until a worker has nothing else to lose.
        while self._again and (idle := [n for n in set(self._free) if not self._tasks_of[n]]):
            self._forget_slots(min(idle))
            self._give(min(idle), self._again.popleft())
        kept_for_it = min(set(self._free), default=None) if self._again else None
        for _ in range(len(self._free)):
            if not self._waiting:
                break
            number = self._free.popleft()
            if number == kept_for_it:
                self._free.append(number)
            else:
                self._give(number, self._waiting.popleft())
        self._show()

    def _give(self, number: int, job: _Job) -> None:
        actor = self._actors[number]
        reference = getattr(actor, job.step).remote(*job.task)
        self._running[reference] = job, number, actor
        self._tasks_of[number] += 1
        self._tell_when_done(reference)

    def _forget_slots(self, number: int) -> None:
        self._free = deque(n for n in self._free if n != number)

    def _show(self) -> None:
        if time.monotonic() - self._shown_s > _SHOW_EVERY_S:
            self._shown_s = time.monotonic()
            running = [job for job, *_ in self._running.values()]
            self._metrics.show([*self._waiting, *self._again], running, len(self._free))

    def _tell_when_done(self, reference: Any) -> None:
        reference.future().add_done_callback(lambda done: self._done.put((reference, done)))

    def _say_if_stuck(self) -> None:
        stuck = (self._waiting or self._again) and not self._running and self._count is not None
        if stuck and time.monotonic() - self._heard_s > _PATIENCE_S:
            self._heard_s = time.monotonic()
            print("waiting for Ray to place a worker: are there free CPUs?", file=sys.stderr)

    def _grow(self) -> None:
        """Start workers up to the count, or for CPUs that have joined the cluster."""
        if self._count is None and time.monotonic() - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        wanted = self._count
        if wanted is None:
            there = ray_core.cluster_resources()
            wanted = int(there.get("CPU", 1))
            if self._gpus:
                wanted = min(wanted, int(there.get("GPU", 0) / self._gpus))
            wanted = max(1, wanted)
        for number in range(len(self._actors), wanted):
            self._start(number)

    def _start(self, number: int) -> None:
        self._actors[number] = actor = self._make.remote(*self._arguments)
        reference = actor.__ray_ready__.remote()
        self._starting[reference] = number
        self._tell_when_done(reference)

    def _started(self, reference: Any, future: Future[Any]) -> None:
        number = self._starting.pop(reference)
        error = future.exception()
        if error is None:
            self._failed_starts[number] = 0
            self._free.extend([number] * self._slots)
        else:  # its node went while it started, or it never can
            self._failed_starts[number] += 1
            if self._failed_starts[number] < START_ATTEMPTS:
                self._replace(number)
                return
            self._given_up.add(number)
            print(f"worker {number} is given up after {START_ATTEMPTS} failed starts: "
                  f"{in_short(error)}", file=sys.stderr)  # fmt: skip
            if len(self._given_up) == len(self._actors):
                raise WorkerStartError(
                    f"no worker could be started, {START_ATTEMPTS} attempts each; the last time: "
                    f"{in_short(error)}. Are the same packages installed on every node?"
                ) from error

    def _replace(self, number: int) -> None:
        ray_core.kill(self._actors[number])  # it may be alive where only its answer was lost
        self._forget_slots(number)
        self._tasks_of[number] = 0
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

    def show(self, waiting: Iterable[_Job], running: Iterable[_Job], free: int) -> None:
        for state, jobs in (("waiting", waiting), ("running", running)):
            counts = Counter(job.step for job in jobs)
            for step in get_args(Step):
                self._tasks.set(counts[step], {"step": step, "state": state})
        self._free.set(free)


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
            if "timed out during startup" not in str(error):
                raise
            if not attempts_left:
                raise WorkerStartError(
                    f"Ray did not start here in {_SESSION_ATTEMPTS} attempts of 30 s: this machine "
                    "may be too busy; run again later, or give --address of a Ray that runs"
                ) from error
