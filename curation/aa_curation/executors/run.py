"""Run a recipe over sources into a corpus: fetch, survey, curate, pack.

Surveys say which clips there are; once all are known, exact duplicates are rejected and the other
clips are curated. Where the steps run is the executor's matter: in this process (`Local`) or on a
Ray cluster (`Ray`), with the same bytes as the result. This process alone writes the ledger and the
shards, so that a run that is killed loses at most what was in flight.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

from aa_curation.check import Drop
from aa_curation.corpus.exact_duplicates import reject_duplicates
from aa_curation.corpus.fetch_sources import fetch_sources
from aa_curation.corpus.near_duplicates import separate
from aa_curation.corpus.pending import (
    NOT_LISTED,
    clips_to_curate,
    sources_to_survey,
    undecided_clips,
)
from aa_curation.corpus.purge import adopt_takedowns, purge, without_barred
from aa_curation.corpus.write_shards import CLIPS, FETCHED, pack
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.errors import SharedPathError, WorkerDiedError
from aa_curation.executors.local import Local
from aa_curation.ledger.ledger import Ledger, LedgerWriter
from aa_curation.ledger.records import Decision, PlannedClip, Survey, failed, rejected
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.survey import file_stamp
from aa_datasets.progress import progress

Step = Literal["survey", "curate"]
_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray in the environment of a submitted job


class Workers(Protocol):
    """Processes that run steps."""

    def each(
        self, step: Step, tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Call a method of `steps.worker.Worker` on each task; yield (task, result) as they finish.

        The result is a `WorkerDiedError` where the task killed its worker.
        """
        ...


class Executor(Protocol):
    """Where the steps of a run are executed."""

    def start(
        self, recipe: Recipe, clips_folder: Path, sources: Sequence[Source]
    ) -> AbstractContextManager[Workers]:
        """Start workers; the context ends them."""
        ...


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
        clips.mkdir(exist_ok=True)
        purge(ledger, clips, store)
        sources = without_barred(writer, sources)
        for leftover in clips.glob(".*.tmp"):
            leftover.unlink()
        if any(source.pose_path is None for source in sources):
            recipe.make_estimator()  # fails here, by name, and not in every worker
        if recipe.text is not None:
            recipe.text.make_detector()
        # The network is the limit here, not the CPU: threads of this process do it.
        sources = fetch_sources(writer, sources, fetch, store)
        surveys = sources_to_survey(ledger, sources)
        if surveys or clips_to_curate(ledger, sources):
            with (executor or Local()).start(recipe, clips, sources) as workers:
                found = workers.each("survey", [(source,) for source in surveys])
                for (source,), survey in _shown(found, "survey", "source", len(surveys)):
                    writer.add_survey(_survey_row(source, survey))
                purge(ledger, clips, store)  # a file taken down, fetched by another name
                for duplicate in reject_duplicates(ledger, sources):
                    writer.add_decision(duplicate)
                todo = clips_to_curate(ledger, sources)
                decided = workers.each("curate", todo)
                for (planned, _), decision in _shown(decided, "curate", "clip", len(todo)):
                    writer.add_decision(_clip_row(planned, decision))
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


def _shown(
    results: Iterator[tuple[tuple[Any, ...], Any]], desc: str, unit: str, total: int
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield from progress(results, desc=desc, unit=unit, total=total, disable=not total)


def _survey_row(source: Source, result: Survey | WorkerDiedError) -> Survey:
    if isinstance(result, Survey):
        return result
    row = failed(f"{source.source_id}-0000", source.source_id, "survey", result)
    return Survey(source.source_id, "", "", *file_stamp(source), (), (row,))


def _clip_row(planned: PlannedClip, result: Decision | WorkerDiedError) -> Decision:
    if isinstance(result, Decision):
        return result
    return failed(planned.clip_id, planned.source_id, "clip", result)
