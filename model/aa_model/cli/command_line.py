"""Run a command of this package: its errors, and a device that runs out of memory, in one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App

from aa_datasets.command_line import run_app
from aa_datasets.errors import DatasetError
from aa_model.errors import ModelError


def run_command(app: App, argv: Sequence[str] | None, *, when_stopped: str) -> int:
    """Run a command line and return its exit status; the user's errors are one line on stderr.

    Args:
        argv: the words after the command's name; None takes those of this process.
        when_stopped: what Ctrl-C leaves behind and how to resume.
    """
    try:
        return run_app(app, argv, errors=(ModelError, DatasetError), when_stopped=when_stopped)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's; torch is not imported for help
            raise
        print(f"{app.name[0]}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def say_loading(command: str) -> None:
    """Say what takes so long: on a cold disk the import of torch is half a minute."""
    if "torch" not in sys.modules:
        print(f"{command}: loading PyTorch", file=sys.stderr, flush=True)
