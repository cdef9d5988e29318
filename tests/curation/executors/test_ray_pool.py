"""What becomes of tasks whose workers die, cannot start, or join late."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from aa_curation.errors import WorkerDiedError, WorkerStartError
from aa_curation.executors import ray_executor
from aa_curation.executors.ray_executor import START_ATTEMPTS, WorkerPool, usable_cpus
from aa_curation.models.onnx_file import Device
from aa_curation.recipe import Recipe

CPU_TEST = "from aa_curation.executors.ray_executor import usable_cpus; print(usable_cpus())"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu.max": "800000 100000\n"}, 4),
    ],
)
def test_workers_follow_the_quota_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert usable_cpus(tmp_path) == expected


def test_workers_follow_the_affinity_of_the_process() -> None:
    one = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{one}}}); {CPU_TEST}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "1"


@pytest.fixture
def local_ray() -> Iterator[Callable[..., None]]:
    def start(**options: Any) -> None:
        ray.init("local", include_dashboard=False, log_to_driver=False,
                 object_store_memory=80 << 20, **options)  # fmt: skip

    try:
        yield start
    finally:
        ray.shutdown()


def _each(pool: WorkerPool, tasks: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
    """Tasks and results, with as many tasks in the pool as it takes."""
    left = iter(tasks)
    task = next(left, None)
    while task is not None or pool.busy():
        while task is not None and pool.room():
            pool.submit("survey", task)
            task = next(left, None)
        for _, done, result in pool.finished(60.0):
            yield done, result


def _mortal() -> type:
    """A worker class; a local one, so that Ray sends its code."""

    class Mortal:
        def __init__(self, recipe: object, folder: Path, device: object) -> None:
            self._folder = folder

        def survey(self, what: str) -> str:
            import os
            import time

            if what == "exit":
                os._exit(1)
            if what == "exit once" and not (self._folder / "died").exists():
                (self._folder / "died").touch()
                os._exit(1)
            if what == "memory":
                held = []
                for _ in range(32):
                    held.append(b"x" * (1 << 28))
                    time.sleep(0.2)
                time.sleep(20)
            if what == "bug":
                raise LookupError("a missing model")
            return f"did {what}"

    return Mortal


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_death_is_a_result_with_its_reason_and_the_other_tasks_are_done(
    local_ray: Callable[..., None], demo_recipe: Recipe, tmp_path: Path, at_once: int
) -> None:
    """Also where a worker has several tasks, which die with it."""
    local_ray(num_cpus=2)
    pool = WorkerPool(demo_recipe, tmp_path, 2, _mortal(), device=Device(batch=at_once))
    tasks = [(what,) for what in ("a", "exit", "b", "exit once", "c")]
    results = {task[0]: result for task, result in _each(pool, tasks)}
    died = results.pop("exit")
    assert isinstance(died, WorkerDiedError)
    assert "killed its worker 2 times; the last time: ActorDiedError" in str(died)
    assert results == {what: f"did {what}" for what in ("a", "b", "exit once", "c")}
    with pytest.raises(LookupError, match="a missing model"):
        list(_each(pool, [("bug",)]))
    shown = _metrics("ray_aa_curate_results_total{", ("WorkerDiedError", "surveyed"), timeout_s=90)
    assert 'step="survey"' in shown


def _metrics(name: str, outcomes: tuple[str, ...], timeout_s: float) -> str:
    """What Prometheus would read of a metric of this node; Ray sends them every few seconds."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            lines = urllib.request.urlopen(url, timeout=10).read().decode().splitlines()
        except OSError:
            lines = []
        found = "\n".join(line for line in lines if line.startswith(name))
        if all(f'outcome="{outcome}"' in found for outcome in outcomes):
            return found
        assert time.monotonic() < deadline, f"not {outcomes} at {url} in {timeout_s} s: {found}"
        time.sleep(1)


@pytest.mark.slow
def test_a_worker_killed_for_its_memory_is_a_result_and_the_run_goes_through(
    local_ray: Callable[..., None], demo_recipe: Recipe, tmp_path: Path
) -> None:
    """Ray's OutOfMemoryError is not a RayActorError."""
    memory = psutil.virtual_memory()
    # What else starts meanwhile on the machine must not reach it.
    limit = (memory.total - memory.available + (4 << 30)) / memory.total
    if limit > 0.9:
        pytest.skip("skipped: less than 6 GB of memory are free")
    local_ray(
        num_cpus=1,
        _system_config={"memory_usage_threshold": limit, "memory_monitor_refresh_ms": 50},
    )
    pool = WorkerPool(demo_recipe, tmp_path, 1, _mortal())
    results = {t[0]: r for t, r in _each(pool, [("memory",), ("a",)])}
    assert results["a"] == "did a"
    assert isinstance(results["memory"], WorkerDiedError)
    assert "OutOfMemoryError" in str(results["memory"])


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run_with_their_own_error(
    local_ray: Callable[..., None],
    demo_recipe: Recipe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken:
        def __init__(self, recipe: object, folder: Path, device: object) -> None:
            with (folder / "starts").open("a") as file:
                file.write("x")
            import no_such_package  # noqa: F401

    local_ray(num_cpus=2)
    pool = WorkerPool(demo_recipe, tmp_path, 2, Broken)
    started = time.monotonic()
    with pytest.raises(WorkerStartError, match=r"No module named 'no_such_package'.* every node"):
        list(_each(pool, [("a",)]))
    assert time.monotonic() - started < 120
    assert (tmp_path / "starts").read_text() == "x" * 2 * START_ATTEMPTS
    assert "is given up after 3 failed starts" in capsys.readouterr().err


@pytest.mark.slow
def test_a_node_that_joins_during_a_run_is_used(
    demo_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "_LOOK_EVERY_S", 0.5)

    class Slow:
        def __init__(self, recipe: object, folder: Path, device: object) -> None: ...

        def survey(self, number: int) -> str:
            import time

            import ray

            time.sleep(0.5)
            return str(ray.get_runtime_context().get_node_id())

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        ray.init(cluster.address, log_to_driver=False)
        pool = WorkerPool(demo_recipe, tmp_path, None, Slow)
        nodes = []
        for _, node in _each(pool, [(number,) for number in range(60)]):
            nodes.append(node)
            if len(nodes) == 2:
                cluster.add_node(num_cpus=1)
            if len(set(nodes)) == 2:
                break
        assert len(set(nodes)) == 2, "the second node's CPU was never used"
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_ray_that_does_not_start_in_time_is_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []

    def init(address: str, **_: object) -> None:
        tried.append(address)
        raise RuntimeError("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(WorkerStartError, match=r"did not start here in 3 attempts .* too busy"):
        ray_executor._connect("local", 1)
    assert tried == ["local"] * 3
