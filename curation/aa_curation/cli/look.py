"""The commands of aa-curate that read a corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from aa_curation.cli.app import Corpus, app
from aa_datasets.command_line import NonNegativeInt


def _listed_paths(places: Sequence[str]) -> dict[str, Path]:
    """Where the sources of these lists lie, by source id."""
    from aa_curation.sources.source_list import read_sources

    if not places:
        return {}
    # The run has said what it left out.
    listed = read_sources(places, licence="unknown", tell=lambda note: None)
    return {source.source_id: source.path for source in listed}


@app.command(help_epilogue="Example: `aa-curate status --out corpus`")
def status(out: Corpus = Path("corpus")) -> None:
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
    out: Corpus = Path("corpus"),
    *,
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
    out: Corpus = Path("corpus"),
    *,
    sources: tuple[str, ...] = (),
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8650,
) -> None:
    """Play the clips with their skeletons in a browser; mark takedowns and try other bounds.

    The page is served to this machine alone. What is marked is written into the corpus's folder, as
    lists for `aa-curate takedown --list` and `aa-curate redecide --list`, and changes nothing else.

    Args:
        sources: Lists of the run, so that rejected clips whose sources have moved since are shown.
        port: port on 127.0.0.1; 0 takes a free one.
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
    from aa_curation.errors import WeightsError
    from aa_curation.models.tflite_file import MODELS, read_model
    from aa_curation.text.detector import DETECTOR

    files: dict[str, tuple[str, Callable[[], bytes]]] = {
        name: (sha256, partial(read_model, name)) for name, (_, sha256) in MODELS.items()
    }
    files["text_detector"] = (DETECTOR.sha256, DETECTOR.read)
    available = True
    for name, (sha256, read) in files.items():
        try:
            read()
            print(f"ok           {name}  sha256 {sha256}")
        except WeightsError as error:
            available = False
            print(f"unavailable  {name}  {error}")
    return 0 if available else 1


@app.command(help_epilogue="Example: `aa-curate verify --out corpus`")
def verify(
    out: Corpus = Path("corpus"),
    *,
    decode: Annotated[bool, Parameter(negative=())] = False,
    mend: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Check that the corpus is what its ledger says.

    Args:
        decode: Also decode the last frame of every clip.
        mend: Write damaged shards again, from the files in clips/.
    """
    from aa_curation.cli import upkeep

    return upkeep.verify(out, decode=decode, mend_first=mend)
