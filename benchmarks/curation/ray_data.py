"""Ray Data as the engine of a run, next to the pool of `aa-curate run`: death, back-pressure.

    python benchmarks/curation/ray_data.py

Of 40 tasks one kills its worker each time: what is left of it. And how many rows of a quick step
wait for one that takes ten times as long. (`in_flight.py` has 6,400 tasks.)
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy

from aa_curation.executors.ray_executor import WorkerPool, _connect
from aa_curation.recipe import load_recipe

Row = dict[str, Any]


class Mortal:
    """A worker, for both."""

    def __init__(self, *_: object) -> None:
        pass

    def survey(self, number: int) -> int:
        if number == 7:
            os._exit(1)
        return number

    def __call__(self, row: Row) -> Row:
        return {"id": self.survey(row["id"])}


def rows(num: int) -> Any:
    return ray.data.from_items([{"id": n} for n in range(num)], override_num_blocks=num)


def main() -> None:
    _connect("local", 2)
    pool = WorkerPool(load_recipe("default"), Path(), 2, Mortal)
    found, tasks = Counter[str](), list(range(40))
    while tasks or pool.busy():
        while tasks and pool.room():
            pool.submit("survey", (tasks.pop(),))
        found.update(type(result).__name__ for _, _, result in pool.finished(10.0))
    print(f"pool: {dict(found)}", flush=True)
    for actor in pool._actors.values():
        ray.kill(actor)
    ray.data.DataContext.get_current().max_errored_blocks = -1
    two = ActorPoolStrategy(size=2)
    mapped = rows(40).map(Mortal, compute=two, max_restarts=2, max_task_retries=2)
    print(f"Ray Data: {sum(1 for _ in mapped.iter_rows())} of 40 rows", flush=True)
    folder = Path(tempfile.mkdtemp())

    def quick(row: Row) -> Row:
        time.sleep(0.02)
        (folder / str(row["id"])).touch()
        return row

    def slow(row: Row) -> Row:
        time.sleep(0.2)
        return row

    most = 0
    for done, _ in enumerate(rows(200).map(quick, num_cpus=0.5).map(slow).iter_rows(), 1):
        most = max(most, sum(1 for _ in folder.iterdir()) - done)
    print(f"Ray Data: up to {most} rows of the quick step wait for the slow one")
    ray.shutdown()


if __name__ == "__main__":
    main()
