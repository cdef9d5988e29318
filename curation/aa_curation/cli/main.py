"""aa-curate: from source lists to shards, and why each clip is in or out.

What a command needs is imported when it runs: `--help` and `status` load no model.
"""

from __future__ import annotations

from collections.abc import Sequence

from aa_curation.cli import change, look, run  # noqa: F401  # they register their commands
from aa_curation.cli.app import app
from aa_curation.errors import CurationError
from aa_datasets.command_line import run_app
from aa_datasets.errors import DatasetError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; an error that the user can mend is one line and exit code 2."""
    return run_app(
        app,
        argv,
        errors=(CurationError, DatasetError),
        when_stopped="the same command resumes from here",
    )
