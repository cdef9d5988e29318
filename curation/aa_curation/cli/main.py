"""aa-curate: from source lists to shards, and why each clip is in or out.

What a command needs is imported when it runs: `--help` and `status` load no model.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from aa_curation.errors import CurationError
from aa_datasets.command_line import NonNegativeInt, PositiveInt, make_app, run_app
from aa_datasets.errors import DatasetError

if TYPE_CHECKING:
    from aa_curation.recipe import Recipe
    from aa_curation.sources.source_list import Source

app = make_app(
    "aa-curate",
    "Build a corpus of single-person clips with poses, and say why each clip is in or out.",
    example="aa-curate run default --sources videos --licence unknown --out corpus",
)

_WHERE = Group("Where the steps run", sort_key=2)
_CRAWL = Group("Fetching", sort_key=3)
Recipe_ = Annotated[str, Parameter(name="RECIPE")]
Corpus = Annotated[Path, Parameter(name="--out", help="Folder of the corpus.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What is curated."""

    sources: Annotated[tuple[str, ...], Parameter(name="--sources")] = ()
    """A list (csv, tsv, jsonl, parquet, txt), a folder with sources.csv, or a folder of videos; a
    path or an URL such as s3://...; may be given several times."""
    licence: str = ""
    """Of the rows that state none; `unknown` takes them and records it."""
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
    """Of a Ray cluster; without it RAY_ADDRESS if that is set, else Ray is started here."""
    gpus: Annotated[float, Parameter(group=_WHERE, validator=Number(gte=0, lt=math.inf))] = 0.0
    """Of each worker, for the recipe's ONNX models (onnxruntime-gpu is yours to install); 0.5 lets
    two workers share one."""
    clips_at_once: Annotated[PositiveInt, Parameter(group=_WHERE)] = 1
    """That a worker curates, so that its models take frames of several clips in one batch: 8, say,
    on a GPU."""
    drop_missing: Annotated[bool, Parameter(negative=())] = False
    """Reject the undecided clips of sources that are gone from the lists, instead of stopping."""
    decode_s_per_s: Annotated[
        float | None, Parameter(group=_WHERE, validator=Number(gt=0, lt=math.inf))
    ] = None
    """Seconds that decoding may take for each second of a video, and ten minutes in any case; a
    decoder that takes longer is killed, and the source fails. Without this option the recipe's
    bound, which is 10 in ours."""
    decode_processes: Annotated[PositiveInt | None, Parameter(group=_WHERE)] = None
    """Of one video: those of several minutes are surveyed in so many segments at a time, with the
    same result. For fewer long videos than CPUs; without this option the recipe's, 1 in ours."""
    local: Annotated[bool, Parameter(group=_WHERE, negative=())] = False
    """Run all steps in this process, without Ray."""
    contact: Annotated[str | None, Parameter(group=_CRAWL)] = None
    """E-mail or URL at which the owner of a site reaches you; part of every request of a crawl."""
    requests_per_s: Annotated[
        float, Parameter(group=_CRAWL, validator=Number(gt=0, lt=math.inf))
    ] = 1.0
    """Of the crawl, to one host."""
    hosts_at_once: Annotated[PositiveInt, Parameter(group=_CRAWL)] = 16
    """Asked in parallel, one connection each."""
    takedowns: Annotated[tuple[Path, ...], Parameter(group=_CRAWL)] = ()
    """Another corpus: what was taken down there does not come in here."""
    allow_loopback: Annotated[bool, Parameter(group=_CRAWL, negative=())] = False
    """Crawl servers on this machine, too: for tests."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; an error that the user can mend is one line and exit code 2."""
    return run_app(
        app,
        argv,
        errors=(CurationError, DatasetError),
        when_stopped="the same command resumes from here",
    )


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
    from aa_datasets.command_line import counted

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
    from aa_datasets.command_line import counted

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


def _listed_paths(places: Sequence[str]) -> dict[str, Path]:
    """Where the sources of these lists lie, by source id."""
    from aa_curation.sources.source_list import read_sources

    if not places:
        return {}
    # The run has said what it left out.
    listed = read_sources(places, licence="unknown", tell=lambda note: None)
    return {source.source_id: source.path for source in listed}


@app.command(help_epilogue="Example: `aa-curate status --out corpus`")
def status(*, out: Corpus = Path("corpus")) -> None:
    """Print the funnel: planned, accepted, rejected by reason."""
    from aa_curation.ledger.file import read_ledger

    print(read_ledger(out))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is reported, and how."""

    html: Path | None = None
    """Write one page instead: funnel, histograms with bounds, pictures, licences."""
    csv: Path | None = None
    """Write a table instead: one row per clip, one column per measurement."""
    clips: Annotated[bool, Parameter(negative=())] = False
    """Print every clip with its decision, too, one line each."""
    sources: tuple[str, ...] = ()
    """Lists of the run, so that the page can show rejected clips whose sources have moved since."""
    pictures: NonNegativeInt = 6
    """On the page, at most so many for each reason."""


@app.command(help_epilogue="Example: `aa-curate report --out corpus --html report.html`")
def report(
    *,
    out: Corpus = Path("corpus"),
    options: ReportOptions = ReportOptions(),
) -> None:
    """Print the funnel and what may be used; or write a page or a table."""
    from aa_curation.ledger.file import read_ledger
    from aa_curation.report.text import format_licences, format_why, write_csv

    ledger = read_ledger(out)
    if options.csv is not None:
        write_csv(ledger, options.csv)
        print(f"wrote {options.csv}")
    if options.html is not None:
        from aa_curation.report.html_page import render_report

        paths = _listed_paths(options.sources)
        page = render_report(ledger, out, paths, pictures=options.pictures)
        options.html.write_text(page, encoding="utf-8")
        print(f"wrote {options.html}")
        if any(not s.path and s.source_id not in paths for s in ledger.surveys.values()):
            print(
                "the ledger does not tell where some sources lie, whose rejected clips have no "
                "picture: name their lists with --sources"
            )
    if options.csv is None and options.html is None:
        print(ledger)
        print(format_licences(ledger))
        if options.clips:
            print()
            for decision in ledger.decisions.values():
                print(format_why(decision, short=True))


@app.command(help_epilogue="Example: `aa-curate review --out corpus`")
def review(
    *,
    out: Corpus = Path("corpus"),
    sources: tuple[str, ...] = (),
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8650,
) -> None:
    """Play the clips with their skeletons in a browser; mark takedowns and try other bounds.

    The page is served to this machine alone. What is marked is written into the corpus's folder, as
    lists for `aa-curate takedown --list` and `aa-curate redecide --list`, and changes nothing else.

    Args:
        sources: Lists of the run, so that rejected clips whose sources have moved since are shown.
        port: Of 127.0.0.1; 0 takes a free one.
    """
    from aa_curation.cli import upkeep

    upkeep.review(out, _listed_paths(sources), port)


@app.command(help_epilogue="Example: `aa-curate why clip_033 --out corpus`")
def why(
    clip_id: Annotated[str, Parameter(name="CLIP_ID")], /, *, out: Corpus = Path("corpus")
) -> None:
    """Say why a clip is in or out, with everything that was measured.

    Args:
        clip_id: Id of a clip or a source, or how it begins.
    """
    from aa_curation.ledger.file import read_ledger
    from aa_curation.report.text import find_decisions, format_why

    for decision in find_decisions(read_ledger(out), clip_id, out):
        print(format_why(decision))


@app.command(help_epilogue="Example: `aa-curate weights`")
def weights() -> int:
    """List the models in installed packages, and whether their sha256 is right."""
    # onnxruntime is not needed by the other commands.
    from aa_curation.cli.list_models import iter_models

    available = True
    for name, sha256, trouble in iter_models():
        available = available and not trouble
        if trouble:
            print(f"unavailable  {name}  {trouble}")
        else:
            print(f"ok           {name}  sha256 {sha256}")
    return 0 if available else 1


DryRun = Annotated[bool, Parameter(help="Say what would change, and change nothing.", negative=())]


@app.command(help_epilogue="Example: `aa-curate redecide --set small_person=0.05 --out corpus`")
def redecide(
    *,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    listed: Annotated[Path | None, Parameter(name="--list")] = None,
    dry_run: DryRun = False,
    out: Corpus = Path("corpus"),
) -> None:
    """Change thresholds, from what was measured, without decoding.

    Args:
        settings: NAME=VALUE: the threshold of a check by its reason, as `aa-curate why` shows it.
        listed: A file of such settings, one a line, as `aa-curate review` writes it.
    """
    from aa_curation.cli import upkeep
    from aa_curation.ledger.redecide import parse_setting

    thresholds = dict(map(parse_setting, _with_list(settings, listed, "--set NAME=VALUE")))
    upkeep.redecide(out, thresholds, dry_run=dry_run)


@app.command(help_epilogue="Example: `aa-curate takedown --source dance_017 --out corpus`")
def takedown(
    *,
    source: tuple[str, ...] = (),
    listed: Annotated[Path | None, Parameter(name="--list")] = None,
    dry_run: DryRun = False,
    out: Corpus = Path("corpus"),
) -> None:
    """Remove a source from every shard; it cannot come back.

    Args:
        source: Id of the source; may be given several times.
        listed: A file of such ids, one a line, as `aa-curate review` writes it.
    """
    from aa_curation.cli import upkeep

    upkeep.takedown(out, _with_list(source, listed, "--source ID"), dry_run=dry_run)


def _with_list(given: Sequence[str], listed: Path | None, option: str) -> list[str]:
    from aa_curation.review.marks import read_list

    found = [*given, *(read_list(listed) if listed else ())]
    if not found:
        raise CurationError(f"nothing to do: give {option}, or --list FILE with a line in it")
    return list(dict.fromkeys(found))


@app.command(help_epilogue="Example: `aa-curate repack --out corpus`")
def repack(*, dry_run: DryRun = False, out: Corpus = Path("corpus")) -> None:
    """Pack all clips into full shards, and of each recording the best copy.

    A corpus that grows by little runs has shards that are not full, and keeps the copy that was
    packed first. This rewrites most shards, so that their latents are gone, and training runs over
    the old ones begin a new epoch.
    """
    from aa_curation.cli import upkeep

    upkeep.repack(out, dry_run=dry_run)


@app.command(
    help_epilogue="Example: `aa-curate identities people.csv --model w600k_r50.onnx --sha256 HASH "
    "--weights models --out corpus`"
)
def identities(
    csv: Path,
    /,
    *,
    model: str,
    sha256: str,
    weights: Path,
    similarity: float = 0.5,
    out: Corpus = Path("corpus"),
) -> None:
    """Find who is the same person in several sources, by their faces.

    Writes source_id and person, a column that splits do not cross: put it into your lists, and run
    again.

    Args:
        csv: Where the table goes.
        model: A face recogniser's ONNX file, of ArcFace's form, in the folder of --weights.
        sha256: Of the file.
        weights: Folder of the file.
        similarity: Cosine of two faces from which on they are one person's.
    """
    import pandas

    from aa_curation.corpus.identities import FaceRecogniser, find_identities
    from aa_curation.ledger.file import read_ledger
    from aa_curation.models.onnx_file import OnnxFile

    recogniser = FaceRecogniser(OnnxFile(model, sha256), similarity)
    found = find_identities(read_ledger(out), out, recogniser, weights)
    table = pandas.DataFrame(sorted(found.items()), columns=["source_id", "person"])
    table.to_csv(csv, index=False)
    people = table["person"].nunique()
    print(f"wrote {csv}: {len(table)} sources with a face, {people} people")


@app.command(help_epilogue="Example: `aa-curate captions texts --command 'python caption.py {}'`")
def captions(
    folder: Path, /, *, command: str, timeout_s: float = 600.0, out: Corpus = Path("corpus")
) -> int:
    """Caption accepted clips by a command of your choice, for `aa-datasets export --captions`.

    Args:
        folder: Where the texts go, CLIP_ID.txt each; those that are there stay.
        command: A program that prints a caption; {} stands for the clip's mp4.
        timeout_s: Of one clip.
    """
    from aa_curation.corpus.captions import write_captions
    from aa_curation.ledger.file import read_ledger

    troubles = write_captions(read_ledger(out), out, folder, command, timeout_s=timeout_s)
    for clip_id, trouble in troubles.items():
        print(f"{clip_id}: {trouble}", file=sys.stderr)
    return 1 if troubles else 0


@app.command(help_epilogue="Example: `aa-curate verify --out corpus`")
def verify(
    *,
    decode: Annotated[bool, Parameter(negative=())] = False,
    mend: Annotated[bool, Parameter(negative=())] = False,
    out: Corpus = Path("corpus"),
) -> int:
    """Check that the corpus is what its ledger says.

    Args:
        decode: Also decode the last frame of every clip.
        mend: Write damaged shards again, from the files in clips/.
    """
    from aa_curation.cli import upkeep

    return upkeep.verify(out, decode=decode, mend_first=mend)
