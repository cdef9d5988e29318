"""The app whose commands are in the other modules of this folder, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aa_datasets.command_line import make_app

app = make_app(
    "aa-curate",
    "Build a corpus of single-person clips with poses, and say why each clip is in or out.",
    example="aa-curate run default --sources videos --licence unknown --out corpus",
)

Corpus = Annotated[Path, Parameter(name="--out", help="Folder of the corpus.")]
DryRun = Annotated[bool, Parameter(help="Say what would change, and change nothing.", negative=())]
