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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from aa_curation.corpus.fetch_sources import fetch_sources
from aa_curation.corpus.near_duplicates import separate
from aa_curation.corpus.pending import clips_to_curate, settle_surveys, sources_to_survey
from aa_curation.corpus.purge import adopt_takedowns, purge, without_barred
from aa_curation.corpus.write_shards import CLIPS, FETCHED, pack
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.ledger.ledger import Ledger, LedgerWriter
from aa_curation.ledger.records import Decision, PlannedClip, Survey, failed
from aa_curation.recipe import Recipe
from aa_curation.run.ray_pool import ATTEMPTS, WorkerPool
from aa_curation.run.shared_path import check_shared, refuse_relative_in_job
from aa_curation.sources.source_list import Source
from aa_curation.steps.survey import file_stamp

_START_ATTEMPTS = 3
_OBJECT_STORE_BYTES = 100 << 20


def run(
    recipe: Recipe,
    sources: Sequence[Source],
    folder: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
    fetch: FetchPolicy | None = None,
    takedowns_of: Sequence[Path] = (),
) -> Ledger:
    """Curate all sources into `folder`; go on where an earlier run stopped.

    Args:
        recipe: what to do.
        sources: sorted by id.
        folder: of the corpus: ledger.jsonl, sources/ (what was fetched), clips/, shards/,
            clips.csv.
        workers: processes; None takes every CPU that Ray has.
        address: of a Ray cluster; None uses RAY_ADDRESS if set, else starts Ray here.
        fetch: manners of the crawl; None where no source is an URL.
        takedowns_of: other corpora; what was taken down there does not come in here.

    Raises:
        LedgerError: another run or another recipe holds the folder.
        SharedPathError: the folder is not one that all nodes share.
        SourceError: sources are URLs and `fetch` is None.
        WeightsError: the recipe's models are missing or altered.
    """
    refuse_relative_in_job(folder)
    folder = folder.resolve()
    with LedgerWriter(folder, recipe.head, older_sha256=recipe.repr_sha256) as writer:
        store = Store(folder / FETCHED)
        for other in takedowns_of:
            adopt_takedowns(writer, other)
        recipe = replace(recipe, thresholds=writer.ledger.thresholds)
        clips = folder / CLIPS
        clips.mkdir(exist_ok=True)
        purge(writer.ledger, clips, store)
        sources = without_barred(writer, sources)
        for leftover in clips.glob(".*.tmp"):
            leftover.unlink()
        if any(source.pose_path is None for source in sources):
            recipe.make_estimator()  # fails here, by name, and not in every worker
        if recipe.text is not None:
            recipe.text.make_detector()
        # The network is the limit here, not the CPU: threads of the driver do it.
        sources = fetch_sources(writer, sources, fetch, store)
        surveys = sources_to_survey(writer.ledger, sources)
        if surveys or clips_to_curate(writer.ledger, sources):
            with _ray_session(address, workers) as num_workers:
                check_shared(folder, sources)
                pool = WorkerPool(recipe, clips, num_workers)
                tasks = [(s, s.source_id not in writer.ledger.surveys) for s in surveys]
                for (source, _), survey in pool.each("survey", tasks):
                    writer.add_survey(survey or _died_surveying(source))
                purge(writer.ledger, clips, store)  # a file taken down, fetched by another name
                todo = settle_surveys(writer, sources, clips)
                for (planned, _), decision in pool.each("curate", todo):
                    writer.add_decision(decision or _died_curating(planned))
        for row in separate(writer.ledger, recipe.near_duplicates):
            writer.add_decision(row)
        writer.ledger.assert_complete()
        pack(writer.ledger, folder, recipe.clips_per_shard)
        return writer.ledger


@contextmanager
def _ray_session(address: str | None, workers: int | None) -> Iterator[int]:
    """Connect to Ray or start it here; gives the number of workers; ends what it started."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        _start_ray(
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


def _start_ray(**options: Any) -> None:
    """Start Ray here. It gives its own node 30 s, which a busy machine may not keep: try again."""
    for attempts_left in reversed(range(_START_ATTEMPTS)):
        try:
            ray.init("local", **options)
            return
        except Exception as error:  # Ray raises nothing more particular
            ray.shutdown()
            if "timed out during startup" not in str(error) or not attempts_left:
                raise


class WorkerDiedError(Exception):
    """A task killed its worker as often as it was tried."""


def _died_surveying(source: Source) -> Survey:
    row = _died(f"{source.source_id}-0000", source.source_id, "survey")
    return Survey(source.source_id, "", "", *file_stamp(source), (), (row,))


def _died_curating(planned: PlannedClip) -> Decision:
    return _died(planned.clip_id, planned.source_id, "clip")


def _died(clip_id: str, source_id: str, stage: str) -> Decision:
    error = WorkerDiedError(
        f"killed its worker {ATTEMPTS} times: out of memory, or a decoder's crash"
    )
    return failed(clip_id, source_id, stage, error, time.perf_counter())
