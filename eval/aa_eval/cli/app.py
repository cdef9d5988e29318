"""What `aa-eval` and `aa-leaderboard` share: an app with help and version, errors in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from io import TextIOWrapper
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from cyclopts.validators import Number

_ERRNO = re.compile(r"\[Errno \d+\] ")  # of a system error within another's message
PositiveInt = Annotated[int, Parameter(validator=Number(gte=1))]
NonNegativeInt = Annotated[int, Parameter(validator=Number(gte=0))]
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]


def make_app(name: str, help: str, *, example: str) -> App:  # noqa: A002 - cyclopts' own word
    """Make a command with `--help` and `--version`; its options are fields of dataclasses.

    Args:
        name: as it is typed, such as "aa-eval".
        help: one or two sentences on what the command does.
        example: a whole command line that works.
    """
    return App(
        name=name,
        help=help,
        help_epilogue=f"Example: `{example}`",
        help_format="markdown",
        version=partial(metadata.version, "animate-anyone-toolkit"),
        default_parameter=Parameter(
            negative_iterable=(), negative_none=(), show_default=_default_in_help
        ),
        suppress_keyboard_interrupt=False,  # run_app says what Ctrl-C leaves
    )


def _default_in_help(value: Any) -> str | None:
    """As it would be typed; None, which shows nothing, for flags and for options left out."""
    if value is None or value is False or value in ((), [], ""):
        return None
    if isinstance(value, tuple | list):
        return " ".join(filter(None, map(_default_in_help, value)))
    return f"{value:g}" if isinstance(value, float) else str(value)


def run_app(
    app: App,
    argv: Sequence[str] | None,
    *,
    errors: tuple[type[Exception], ...],
    when_stopped: str,
) -> int:
    """Run a command line and return its exit status; the user's errors are one line on stderr.

    Args:
        argv: the words after the command's name; None takes those of this process.
        errors: what the user can mend; OSError is among them without being named.
        when_stopped: what Ctrl-C leaves behind and how to resume.
    """
    name = app.name[0]
    mendable: tuple[type[Exception], ...] = (*errors, OSError)
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal may lack letters that a name has
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = app(argv, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        command = " ".join((name, *(error.command_chain or ())))
        print(f"{name}: error: {_one_line(error)} See `{command} --help`.", file=sys.stderr)
        return 2
    except mendable as error:
        print(f"{name}: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped: {when_stopped}", file=sys.stderr)
        return 130
    return status or 0


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"  # without "[Errno 2]"
    if isinstance(error, UnusedCliTokensError):
        return f"Not understood: {' '.join(error.unused_tokens or ())}."  # not a Python list
    return _ERRNO.sub("", " ".join(str(error).split()))
