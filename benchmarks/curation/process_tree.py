"""CPU time and memory of a process and all that it started, for benchmarks of several processes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import psutil

_EVERY_S = 0.5


@dataclass
class Peak:
    """Of the processes of one role.

    Attributes:
        cpu_s: user and system time, of all of them together.
        own_mib: the largest unique set size that one of them reached: memory that it does not
            share.
        shared_mib: the largest resident shared memory; for Ray's raylet that is the object store.
    """

    cpu_s: float = 0.0
    own_mib: float = 0.0
    shared_mib: float = 0.0


@dataclass
class ProcessTreeMeter:
    """Samples the tree under a process while it runs.

    Decoders' children live for less than a sample; they are counted in the time that their fork
    server has waited for, and everybody else by what was last seen of them.

    Attributes:
        pid: of the process at the root; None takes this one.
        roles: name -> Peak, by `role_of`.
    """

    pid: int | None = None
    roles: dict[str, Peak] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._root = psutil.Process(self.pid)
        self._seen_s: dict[int, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def cpu_s(self) -> float:
        """Since the meter was entered, of the whole tree."""
        return sum(peak.cpu_s for peak in self.roles.values())

    def __enter__(self) -> ProcessTreeMeter:
        self.sample(first=True)
        self._thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._done.set()
        self._thread.join()
        self.sample()

    def _run(self) -> None:
        while not self._done.wait(_EVERY_S):
            self.sample()

    def sample(self, *, first: bool = False) -> None:
        """Look at every process of the tree once."""
        waiting = [self._root]
        while waiting:
            process = waiting.pop()
            try:
                with process.oneshot():
                    role = "driver" if process == self._root else role_of(process)
                    times = process.cpu_times()
                    memory = process.memory_full_info()
                children = [] if role == "decoders" else process.children()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it has just ended
            waiting += children
            spent_s = times.user + times.system
            if role == "decoders":
                spent_s += times.children_user + times.children_system
            if first:
                self._seen_s[process.pid] = spent_s
            peak = self.roles.setdefault(role, Peak())
            peak.cpu_s += spent_s - self._seen_s.get(process.pid, 0.0)
            self._seen_s[process.pid] = spent_s
            peak.own_mib = max(peak.own_mib, memory.uss / 2**20)
            peak.shared_mib = max(peak.shared_mib, memory.shared / 2**20)


def role_of(process: psutil.Process) -> str:
    """What a process is for, by its command line."""
    words = " ".join(process.cmdline())
    if "forkserver" in words:
        return "decoders"
    if words.split(" ")[0].endswith("raylet"):  # whose arguments name default_worker.py, too
        return "raylet"
    if "ray::Worker" in words or "default_worker.py" in words:
        return "workers"
    return "ray"
