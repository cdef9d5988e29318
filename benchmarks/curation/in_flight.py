"""What a result costs the driver while 64 and 6,400 tasks are in flight, on Ray's own processes.

    python benchmarks/curation/in_flight.py [--results 5000]

The tasks sleep in one asyncio actor, so that a machine of two cores has as many in flight as a
cluster of 6,400 workers. Compared are the pool of `aa-curate run`, which futures report to, and
`ray.wait` over all that runs. CPU milliseconds of the driver's process, Ray's threads included.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import ray

from aa_curation.executors.ray_executor import WorkerPool, _connect
from aa_curation.models.onnx_file import Device
from aa_curation.recipe import load_recipe


class Sleeper:
    """A worker that waits instead of decoding."""

    def __init__(self, recipe: object, folder: object, device: object) -> None:
        pass

    async def survey(self, number: int) -> int:
        import asyncio

        await asyncio.sleep(10 + number % 100 / 10)
        return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=int, default=5000)
    args = parser.parse_args()
    _connect("local", 2)
    print("| in flight | by the pool, ms a result | by ray.wait |\n|---|---|---|")
    for in_flight in (64, 6400):
        pool = by_pool(in_flight, args.results if in_flight > 64 else 500)
        print(f"| {in_flight} | {pool:.2f} | {by_wait(in_flight, 100):.2f} |", flush=True)
    ray.shutdown()


def by_pool(in_flight: int, results: int) -> float:
    pool = WorkerPool(load_recipe("default"), Path(), 1, Sleeper, device=Device(batch=in_flight))
    while not pool._free:
        pool.finished(1.0)
    given = done = 0
    most, cpu = 0, time.process_time()
    while done < in_flight + results:
        while given < in_flight + results and pool.room():
            pool.submit("survey", (given,))
            given += 1
        most = max(most, len(pool._running))
        done += len(pool.finished(1.0))
    cpu = time.process_time() - cpu
    assert most == in_flight, most
    ray.kill(pool._actors[0])
    return 1e3 * cpu / done


def by_wait(in_flight: int, results: int) -> float:
    actor: Any = ray.remote(Sleeper).options(max_concurrency=in_flight).remote(None, None, None)
    running = {actor.survey.remote(number) for number in range(in_flight)}
    ray.wait(list(running), num_returns=1)
    cpu = time.process_time()
    for number in range(results):
        (done,), _ = ray.wait(list(running), num_returns=1)
        ray.get(done)
        running.remove(done)
        running.add(actor.survey.remote(number))
    cpu = time.process_time() - cpu
    ray.kill(actor)
    return 1e3 * cpu / results


if __name__ == "__main__":
    main()
