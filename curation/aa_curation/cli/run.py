"""aa-curate run and plan: what is curated, where, and how."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from aa_curation.cli.app import Corpus, app
from aa_curation.errors import CurationError
from aa_datasets.command_line import PositiveInt, counted

if TYPE_CHECKING:
    from aa_curation.recipe import Recipe
    from aa_curation.sources.source_list import Source

_WHERE = Group("Where the steps run", sort_key=2)
_CRAWL = Group("Fetching", sort_key=3)
Recipe_ = Annotated[str, Parameter(name="RECIPE")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What is curated."""

    sources: Annotated[tuple[str, ...], Parameter(name="--sources")] = ()
    """A list (csv, tsv, jsonl, parquet, txt), a folder with sources.csv, or a folder of videos; a
    path or an URL such as s3://...; may be given several times."""
    licence: str = ""
    """Licence of the rows that state none; `unknown` takes them and records it."""
    videos: Path | None = None
    """Your copy of the videos that a TaiChi-HD list names; by default they lie next to the list."""
    weights: Path | None = None
    """Folder of the model files that the recipe takes by path; each is verified by its sha256."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how a run works."""

    workers: Annotated[PositiveInt | None, Parameter(group=_WHERE)] = None
    """Processes; without this option one for every CPU that this process may use, or that the
    cluster has."""
    address: Annotated[str | None, Parameter(group=_WHERE)] = None
    """Address of a Ray cluster; by default RAY_ADDRESS if that is set, else Ray is started here."""
    gpus: Annotated[float, Parameter(group=_WHERE, validator=Number(gte=0, lt=math.inf))] = 0.0
    """GPUs of each worker, for the recipe's ONNX models (install onnxruntime-gpu yourself); 0.5
    lets two workers share one."""
    clips_at_once: Annotated[PositiveInt, Parameter(group=_WHERE)] = 1
    """Clips that a worker curates together, so that its models take frames of several in one batch:
    8, say, on a GPU."""
    drop_missing: Annotated[bool, Parameter(negative=())] = False
    """Reject the undecided clips of sources that are gone from the lists, instead of stopping."""
    decode_s_per_s: Annotated[
        float | None, Parameter(group=_WHERE, validator=Number(gt=0, lt=math.inf))
    ] = None
    """Seconds that decoding may take for each second of a video, and ten minutes in any case; a
    decoder that takes longer is killed, and the source fails. Without this option the recipe's
    bound, which is 10 in ours."""
    decode_processes: Annotated[PositiveInt | None, Parameter(group=_WHERE)] = None
    """Segments of one long video that are surveyed at a time, with the same result: for fewer long
    videos than CPUs. Without this option the recipe's, 1 in ours."""
    local: Annotated[bool, Parameter(group=_WHERE, negative=())] = False
    """Run all steps in this process, without Ray."""
    contact: Annotated[str | None, Parameter(group=_CRAWL)] = None
    """E-mail or URL at which the owner of a site reaches you; part of every request of a crawl."""
    requests_per_s: Annotated[
        float, Parameter(group=_CRAWL, validator=Number(gt=0, lt=math.inf))
    ] = 1.0
    """Requests of the crawl to one host."""
    hosts_at_once: Annotated[PositiveInt, Parameter(group=_CRAWL)] = 16
    """Hosts that are asked in parallel, over one connection each."""
    takedowns: Annotated[tuple[Path, ...], Parameter(group=_CRAWL)] = ()
    """Another corpus: what was taken down there does not come in here either."""
    allow_loopback: Annotated[bool, Parameter(group=_CRAWL, negative=())] = False
    """Crawl servers on this machine, too: for tests."""


@app.command(
    help_epilogue="Example: `aa-curate run default --sources videos --licence unknown --out corpus`"
)
def run(
    recipe: Recipe_,
    /,
    *,
    out: Corpus = Path("corpus"),
    sources: SourceOptions = SourceOptions(),
    options: RunOptions = RunOptions(),
) -> int:
    """Curate all sources; an interrupted run is resumed.

    Args:
        recipe: Python file that defines RECIPE, or the name of one of ours: default, demo, dwpose,
            humanvid, openhumanvid, whole_videos, wyd, yolox.
    """
    from aa_curation.crawl.policy import FetchPolicy
    from aa_curation.executors.local import Local
    from aa_curation.executors.run import run as run_recipe
    from aa_curation.executors.stream import Executor

    if not sources.sources:
        raise CurationError("nothing to curate: give --sources LIST_OR_FOLDER")
    of_ray = (options.workers, options.address, options.gpus, options.clips_at_once > 1)
    if options.local and any(of_ray):
        raise CurationError(
            "--local runs without Ray: leave out --workers, --address, --gpus and --clips-at-once"
        )
    chosen, rows = _inputs(recipe, sources.sources, sources)
    if options.decode_s_per_s is not None:
        decode = replace(chosen.decode, s_per_video_s=options.decode_s_per_s)
        chosen = replace(chosen, decode=decode)
    if options.decode_processes is not None:
        chosen = replace(chosen, decode_processes=options.decode_processes)
    policy = None
    if options.contact is not None:
        policy = FetchPolicy(
            contact=options.contact,
            requests_per_s=options.requests_per_s,
            hosts_at_once=options.hosts_at_once,
            allow_loopback=options.allow_loopback,
        )
    if options.local:
        executor: Executor = Local()
    else:
        # Ray takes a second to import; the other commands do not need it.
        from aa_curation.executors.ray_executor import Ray

        executor = Ray(options.workers, options.address, options.gpus, options.clips_at_once)
    ledger = run_recipe(
        chosen,
        rows,
        out,
        executor,
        fetch=policy,
        takedowns_of=options.takedowns,
        drop_missing=options.drop_missing,
    )
    print(ledger)
    print(f"shards: {out / 'shards'}")
    failed = ledger.num_of("failed")
    if failed:
        print(
            f"{counted(failed, 'clip')} failed, which is a bug or an outage: see `aa-curate why "
            f"CLIP_ID --out {out}`; the same command tries them again",
            file=sys.stderr,
        )
    return 1 if failed else 0


@app.command(help_epilogue="Example: `aa-curate plan default --sources videos --licence unknown`")
def plan(
    recipe: Recipe_,
    /,
    *,
    out: Corpus = Path("corpus"),
    sources: SourceOptions = SourceOptions(),
) -> None:
    """Say what a run would do, without doing it.

    Args:
        recipe: As of `run`. Without --sources it is a list of sources, and the recipe is `default`.
    """
    from aa_curation.corpus.pending import expected_to_survey
    from aa_curation.ledger.file import has_ledger, read_ledger, refuse_another_recipe
    from aa_curation.report.text import format_plan

    name, places = (recipe, sources.sources) if sources.sources else ("default", (recipe,))
    chosen, rows = _inputs(name, places, sources)
    known = read_ledger(out) if has_ledger(out) else None
    if known is not None:
        refuse_another_recipe(known.head, chosen.head, out)
    form = chosen.canonical
    print(
        f"recipe {chosen.name} ({chosen.sha256[:12]}): clips of {chosen.min_s:g} to "
        f"{chosen.max_s:g} s, short side {form.short_side_px} px, at most {form.max_fps:g} fps"
    )
    print(format_plan(rows))
    todo = rows if known is None else expected_to_survey(known, rows)
    print(f"{counted(len(rows), 'source')}, {len(rows) - len(todo)} of them surveyed in {out}")
    if known is not None:
        print(f"{len(known.decisions)} of {known.num_planned} known clips are decided")


def _inputs(
    recipe: str, places: Sequence[str], options: SourceOptions
) -> tuple[Recipe, list[Source]]:
    from aa_curation.recipe import load_recipe
    from aa_curation.sources.source_list import read_sources

    weights = options.weights.resolve() if options.weights else None
    chosen = replace(load_recipe(Path(recipe)), weights=weights)
    found = read_sources(places, licence=options.licence, videos=options.videos, tell=print)
    return chosen, found
