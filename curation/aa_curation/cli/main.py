"""aa-curate: from source lists to shards, and why each clip is in or out."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from aa_curation.cli.upkeep import add_commands
from aa_curation.corpus.pending import expected_to_survey
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.errors import CurationError, LedgerError
from aa_curation.ledger.ledger import LEDGER_NAME, Ledger, read_ledger, refuse_another_recipe
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.report.text import format_funnel, format_why
from aa_curation.sources.source_list import Source, read_sources
from aa_datasets.arguments import positive
from aa_datasets.errors import DatasetError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; an error that the user can mend is one line and exit code 2."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except (CurationError, DatasetError, OSError) as error:
        print(f"aa-curate: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("aa-curate: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aa-curate",
        description="Build a corpus of single-person clips with poses, and say why each clip is "
        "in or out.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="curate all sources; an interrupted run goes on")
    run.add_argument("--workers", type=positive, metavar="N", help="processes (default: every CPU)")
    run.add_argument(
        "--address", help="of a Ray cluster (default: RAY_ADDRESS if set, else Ray on this machine)"
    )
    run.add_argument(
        "--contact",
        metavar="EMAIL_OR_URL",
        help="how the owner of a site reaches you; stands in every request of a crawl",
    )
    run.add_argument(
        "--requests-per-s",
        type=_positive_number,
        default=1.0,
        metavar="R",
        help="of the crawl, to one host (default: 1)",
    )
    run.add_argument(
        "--takedowns",
        type=Path,
        action="append",
        default=[],
        metavar="CORPUS",
        help="another corpus: what was taken down there does not come in here",
    )
    run.add_argument(
        "--allow-loopback",
        action="store_true",
        help="crawl servers on this machine, too: for tests",
    )
    run.set_defaults(command=_run)
    plan = commands.add_parser(
        "plan",
        help="what a run would do, without doing it",
        description="What a run would do, without doing it. Without --sources, RECIPE is a list of "
        "sources, and the recipe is `default`.",
    )
    plan.set_defaults(command=_plan)
    for command in (run, plan):
        command.add_argument(
            "recipe",
            metavar="RECIPE",
            help="Python file that defines RECIPE, or the name of one of ours: default, demo, "
            "dwpose, whole_videos, yolox",
        )
        command.add_argument(
            "--sources",
            action="append",
            required=command is run,
            metavar="LIST_OR_DIR",
            help="csv, tsv, jsonl, parquet or txt, a folder with sources.csv, or a folder of "
            "videos; a path or an URL such as s3://...; may be given several times",
        )
        command.add_argument(
            "--licence",
            default="",
            metavar="WORDS",
            help="of the rows that state none; `unknown` takes them and records it",
        )
        command.add_argument(
            "--videos",
            type=Path,
            metavar="DIR",
            help="your copy of the videos that a TaiChi-HD list names (default: beside the list)",
        )
        command.add_argument(
            "--weights",
            type=Path,
            metavar="DIR",
            help="folder of the model files that the recipe takes by path (each is verified)",
        )

    status = commands.add_parser("status", help="the funnel: planned, accepted, rejected by reason")
    status.set_defaults(command=_status)
    report = commands.add_parser("report", help="the funnel, and every clip with its decision")
    report.add_argument(
        "--html", type=Path, metavar="FILE", help="write one page: funnel, pictures, histograms"
    )
    report.add_argument(
        "--sources",
        action="append",
        default=[],
        metavar="LIST_OR_DIR",
        help="lists of the run, so that the page can show rejected clips of local sources",
    )
    report.set_defaults(command=_report)
    why = commands.add_parser("why", help="why one clip (or all of a source) is in or out")
    why.add_argument("clip_id", metavar="CLIP_ID", help="a clip id or a source id")
    why.set_defaults(command=_why)
    weights = commands.add_parser(
        "weights", help="the models in installed packages, and whether their sha256 is right"
    )
    weights.set_defaults(command=_weights)
    add_commands(commands)
    for command in (run, plan, status, report, why):
        command.add_argument(
            "--out",
            type=Path,
            default=Path("corpus"),
            metavar="DIR",
            help="folder of the corpus (default: corpus)",
        )
    return parser


def _positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give a number above 0")
    return number


def _run(arguments: argparse.Namespace) -> int:
    recipe, sources = _inputs(arguments)
    # Ray takes a second to import; the other commands do not need it.
    from aa_curation.run.ray_executor import run

    ledger = run(
        recipe,
        sources,
        arguments.out,
        workers=arguments.workers,
        address=arguments.address,
        fetch=_policy(arguments),
        takedowns_of=arguments.takedowns,
    )
    print(format_funnel(ledger))
    print(f"shards: {arguments.out / 'shards'}")
    failed = sum(decision.status == "failed" for decision in ledger.decisions.values())
    if failed:
        print(
            f"{failed} clips failed, which is a bug or an outage: see `aa-curate why CLIP_ID "
            f"--out {arguments.out}`; the same command tries them again",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _policy(arguments: argparse.Namespace) -> FetchPolicy | None:
    if arguments.contact is None:
        return None
    return FetchPolicy(
        contact=arguments.contact,
        requests_per_s=arguments.requests_per_s,
        allow_loopback=arguments.allow_loopback,
    )


def _plan(arguments: argparse.Namespace) -> int:
    recipe, sources = _inputs(arguments)
    known: Ledger | None = None
    if (arguments.out / LEDGER_NAME).is_file():
        known = read_ledger(arguments.out)
        refuse_another_recipe(known.head, recipe.head, arguments.out, recipe.repr_sha256)
    form = recipe.canonical
    print(
        f"recipe {recipe.name} ({recipe.sha256[:12]}): clips of {recipe.min_s:g} to "
        f"{recipe.max_s:g} s, short side {form.short_side_px} px, at most {form.max_fps:g} fps"
    )
    rows = Counter(
        (s.split, "synthetic" if s.synthetic else "footage", s.licence or "NO LICENCE: rejected")
        for s in sources
    )
    for (split, kind, licence), count in sorted(rows.items()):
        print(f"{count:6d} sources  {split:8s} {kind:10s} {licence}")
    hosts = Counter(
        urlsplit(url).hostname for url in {s.url for s in sources if s.url and s.licence}
    )
    for host, count in sorted(hosts.items(), key=str):
        print(f"{count:6d} URLs to fetch from {host}")
    todo = sources if known is None else expected_to_survey(known, sources)
    print(f"{len(sources)} sources, {len(sources) - len(todo)} of them surveyed in {arguments.out}")
    if known is not None:
        print(f"{len(known.decisions)} of {len(known.planned_ids)} known clips are decided")
    return 0


def _inputs(arguments: argparse.Namespace) -> tuple[Recipe, list[Source]]:
    weights = arguments.weights.resolve() if arguments.weights else None
    name, places = arguments.recipe, arguments.sources
    if places is None:
        name, places = "default", [name]
    recipe = replace(load_recipe(Path(name)), weights=weights)
    return recipe, read_sources(places, licence=arguments.licence, videos=arguments.videos)


def _status(arguments: argparse.Namespace) -> int:
    print(format_funnel(read_ledger(arguments.out)))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    ledger = read_ledger(arguments.out)
    if arguments.html is not None:
        # The page's template engine is not needed by the other commands.
        from aa_curation.report.html_page import render_report

        listed = read_sources(arguments.sources, licence="unknown") if arguments.sources else []
        paths = {source.source_id: source.path for source in listed}
        arguments.html.write_text(render_report(ledger, arguments.out, paths), encoding="utf-8")
        print(f"wrote {arguments.html}")
        return 0
    print(format_funnel(ledger))
    print()
    for clip_id in sorted(ledger.decisions):
        print(format_why(ledger.decisions[clip_id], short=True))
    return 0


def _why(arguments: argparse.Namespace) -> int:
    ledger = read_ledger(arguments.out)
    wanted = arguments.clip_id
    found = [
        decision
        for clip_id, decision in sorted(ledger.decisions.items())
        if wanted in (clip_id, decision.source_id)
    ]
    if not found:
        raise LedgerError(
            f"no clip or source {wanted!r} is decided in {arguments.out}: "
            f"`aa-curate report --out {arguments.out}` lists them"
        )
    for decision in found:
        print(format_why(decision))
    return 0


def _weights(arguments: argparse.Namespace) -> int:
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
