"""The commands of aa-curate that change a corpus, or make something of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aa_curation.cli.app import Corpus, DryRun, app
from aa_curation.errors import CurationError


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
        sha256: Hash that the model file must have.
        weights: Folder of the model file.
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
