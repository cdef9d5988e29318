"""Weights that the user puts into a folder, for metrics whose network no package index carries."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from aa_eval.errors import WeightsUnavailable


@dataclass(frozen=True, slots=True)
class OwnWeight:
    """One file to fetch by hand.

    Attributes:
        name: key in results.
        file: its name in `weights_folder()`.
        origin: where it is to be had, and what it is.
    """

    name: str
    file: str
    origin: str


def weights_folder() -> Path:
    """$XDG_DATA_HOME/aa-eval/weights, or ~/.local/share/aa-eval/weights."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "aa-eval" / "weights"


def verify_own_weight(weight: OwnWeight) -> tuple[Path, str]:
    """The file, and the sha256 of its content: that of `<file>.sha256` beside it.

    The user states the hash (in sha256sum's form), since none is published with the file: a file
    that is altered later is refused, and results of two different files are never compared.

    Raises:
        WeightsUnavailable: the file or its hash is missing, or they do not fit each other.
    """
    path = weights_folder() / weight.file
    stated_at = path.with_name(path.name + ".sha256")
    state = f"sha256sum {weight.file} > {stated_at.name}"
    if not path.is_file():
        raise WeightsUnavailable(
            f"weight {weight.name}: {path} is not there: fetch {weight.file} ({weight.origin}), "
            f"and state its hash beside it: {state}"
        )
    if not stated_at.is_file():
        raise WeightsUnavailable(
            f"weight {weight.name}: {stated_at} is not there: state the file's hash: {state}"
        )
    stated = stated_at.read_text(encoding="utf-8", errors="replace").split()[:1]
    if not stated or not re.fullmatch(r"[0-9a-f]{64}", stated[0]):
        raise WeightsUnavailable(
            f"weight {weight.name}: {stated_at} holds no sha256 of 64 hex digits: {state}"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != stated[0]:
        raise WeightsUnavailable(
            f"weight {weight.name}: {path} has sha256 {found}, {stated_at.name} says {stated[0]}: "
            "fetch it again"
        )
    return path, found
