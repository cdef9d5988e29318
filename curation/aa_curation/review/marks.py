"""The lists that a review writes into the corpus's folder, and that other commands read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aa_curation.errors import LedgerError
from aa_curation.ledger.redecide import parse_setting
from aa_datasets.atomic_file import replace_file

TAKEDOWN_LIST, BOUNDS_LIST = "takedown.txt", "redecide.txt"


@dataclass(frozen=True, slots=True)
class Marks:
    """What a person has marked.

    Attributes:
        takedown: ids of sources.
        bounds: by reason, in place of the recipe's.
    """

    takedown: list[str]
    bounds: dict[str, float]


def read_marks(folder: Path) -> Marks:
    """What was marked in a corpus; nothing where it has no list."""
    sources, bounds = (
        read_list(path) if path.is_file() else []
        for path in (folder / TAKEDOWN_LIST, folder / BOUNDS_LIST)
    )
    return Marks(sources, dict(map(parse_setting, bounds)))


def write_marks(marks: Marks, folder: Path) -> None:
    """Write both lists, one entry a line; an empty one is removed."""
    settings = [f"{name}={value!r}" for name, value in sorted(marks.bounds.items())]
    for name, lines in ((TAKEDOWN_LIST, sorted(set(marks.takedown))), (BOUNDS_LIST, settings)):
        if lines:
            replace_file(folder / name, "".join(f"{line}\n" for line in lines).encode())
        else:
            (folder / name).unlink(missing_ok=True)


def read_list(path: Path) -> list[str]:
    """The lines of a file that are not empty.

    Raises:
        LedgerError: it cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(
            f"{path} cannot be read ({error}): give a text, one entry a line"
        ) from None
    return [line.strip() for line in lines if line.strip()]
