"""Run a recipe over sources into a corpus: fetch, survey, curate, pack.

Where the steps run is the executor's matter: in this process (`Local`) or on a Ray cluster (`Ray`),
with the same bytes as the result. This process alone writes the ledger, so that a run that is
killed loses at most what was in flight. How the steps overlap: see `stream`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aa_curation.check import Drop
from aa_curation.corpus.near_duplicates import separate
from aa_curation.corpus.pending import (
    NOT_LISTED,
    undecided_clips,
)
from aa_curation.corpus.purge import adopt_takedowns, purge, without_barred
from aa_curation.corpus.write_shards import FETCHED, pack
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.errors import SharedPathError
from aa_curation.executors.local import Local
from aa_curation.executors.stream import Executor, Stream
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.lines import SHARDS
from aa_curation.ledger.records import rejected
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.pack_shard import CLIPS

_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray in the environment of a submitted job


def run(
    recipe: Recipe | Path | str,
    sources: Sequence[Source | Path | str],
    out: Path | str,
    executor: Executor | None = None,
    *,
    licence: str = "",
    fetch: FetchPolicy | None = None,
    takedowns_of: Sequence[Path | str] = (),
    drop_missing: bool = False,
) -> Ledger:
    """Curate all sources into the corpus `out`; resume where an earlier run stopped.

        from aa_curation import Ray, run

        ledger = run("default", ["videos"], "corpus", Ray(workers=8), licence="my own")
        print(ledger)  # the funnel
        print(ledger.to_frame()[["clip_id", "status", "reason"]])

    Args:
        recipe: the steps and their thresholds: a `Recipe`, a Python file that defines one, or the
            name of one of ours, such as "default".
        sources: as `read_sources` gives them; or lists and folders for it to read.
        out: folder of the corpus: ledger.sqlite, sources/ (what was fetched), clips/, shards/,
            clips.csv.
        executor: `Local()`, which is the default, or `Ray(...)`.
        licence: of the rows of lists that state none.
        fetch: limits of the crawl; None where no source is a web address.
        takedowns_of: other corpora; what was taken down there does not come in here.
        drop_missing: reject the undecided clips of sources that are gone from `sources`, as
            `not_listed`, so that the corpus is packed without them; a later run that lists a source
            again curates it.

    Returns:
        The ledger: every decision with its measurements.

    Raises:
        LedgerError: another run writes to the folder, or it is of another recipe.
        SharedPathError: the folder is not one that all nodes share.
        SourceError: sources are web addresses and `fetch` is None.
        WeightsError: the recipe's models are missing or altered.
        WorkerStartError: no worker could be started.
    """
    folder = Path(out)
    refuse_relative_in_job(folder)
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    listed = [source for source in sources if isinstance(source, Source)]
    places = [place for place in sources if not isinstance(place, Source)]
    sources = listed + (read_sources(places, licence=licence) if places else [])
    folder = folder.resolve()
    with LedgerWriter(folder, recipe.head) as writer:
        ledger = writer.ledger
        store, clips = Store(folder / FETCHED), folder / CLIPS
        for other in map(Path, takedowns_of):
            adopt_takedowns(writer, other)
        recipe = replace(recipe, thresholds=ledger.thresholds)
        for made in (clips, folder / SHARDS):
            made.mkdir(exist_ok=True)
        purge(ledger, clips, store)
        sources = without_barred(writer, sources)
        for leftover in clips.glob(".*.tmp"):
            leftover.unlink()
        if any(source.pose_path is None for source in sources):
            recipe.make_estimator()  # fails here, by name, and not in every worker
        if recipe.text is not None:
            recipe.text.make_detector()
        Stream(writer, recipe, sources, folder, store, fetch).run(executor or Local())
        if drop_missing:
            for planned in undecided_clips(ledger):
                drop = Drop(NOT_LISTED, detail="its source is gone from the lists of sources")
                row = rejected(planned.clip_id, planned.source_id, "plan", drop, planned.checks)
                writer.add_decision(row)
        for row in separate(ledger, recipe.near_duplicates):
            writer.add_decision(row)
        ledger.assert_complete()
        pack(writer, folder)
        return ledger


def refuse_relative_in_job(folder: Path) -> None:
    """A Ray job runs in a folder that Ray unpacks and deletes: a relative path is lost with it.

    Raises:
        SharedPathError: this is a job, and the path is relative.
    """
    if _JOB_VARIABLE in os.environ and not folder.is_absolute():
        raise SharedPathError(
            f"--out {folder} is relative inside a Ray job: it would land in {Path.cwd()}, which "
            "Ray deletes. Give an absolute path that every node shares"
        )
