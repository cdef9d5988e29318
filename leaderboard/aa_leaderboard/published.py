"""The published rows: every number is a string of published.csv, as its source prints it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, cast

from aa_leaderboard.row import Cell, Published, Row

VALUE_FIELDS = ("ssim", "psnr", "psnr_star", "lpips", "fvd", "fid_vid", "fid", "l1", "csim")


@dataclass(frozen=True, slots=True)
class PublishedProtocol:
    """What is known of a protocol that published rows name.

    A paper's protocol is a claim, so it never equals the hash of an `aa-eval` protocol.

    Attributes:
        protocol: its name in published.csv.
        group: the heading under which the page shows its table.
        recompute_with: the `aa-eval` protocol that scores as its script does, as far as is known;
            "" where there is none.
        about: what is scored, and how.
    """

    protocol: str
    group: str
    recompute_with: str
    about: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """One number that two sources print differently; `kind` says what went wrong on the way."""

    protocol: str
    method: str
    metric: str
    value: str
    source: str
    other_value: str
    other_source: str
    kind: str
    words: str


@cache
def published_protocols() -> dict[str, PublishedProtocol]:
    """Name -> protocol, in the order in which the page shows their tables."""
    found = (PublishedProtocol(**record) for record in _records("published_protocols.csv"))
    return {protocol.protocol: protocol for protocol in found}


def read_conflicts() -> tuple[Conflict, ...]:
    """Every number that is known to be printed differently by two sources."""
    return tuple(Conflict(**record) for record in _records("conflicts.csv"))


def read_published() -> tuple[Row, ...]:
    """Every published row, in the file's order."""
    return tuple(_row_of(record) for record in _records("published.csv"))


def package_text(name: str) -> str:
    """A text file of this package."""
    return (files("aa_leaderboard") / name).read_text(encoding="utf-8")


def _records(name: str) -> csv.DictReader[str]:
    return csv.DictReader(package_text(name).splitlines())


def _row_of(record: dict[str, str]) -> Row:
    kind = cast("Literal['overflow', 'true', 'unknown', '']", record["psnr_kind"])
    reading = cast("Literal['paper', 'secondary', 'issue']", record["reading"])
    # A number that was not read in its paper is shown, never ranked.
    ranked = reading == "paper"
    cells = {
        key: Cell(text, float(text), ranked=ranked)
        for key, text in _printed(record, kind).items()
        if text
    }
    origin = Published(
        paper=record["paper"],
        year=int(record["year"]),
        table=int(record["table"]) if record["table"] else None,
        psnr_kind=kind,
        reading=reading,
        source=record["source"],
        note=record["note"],
    )
    return Row(record["method"], record["benchmark"], record["protocol"], cells, origin)


def _printed(record: dict[str, str], kind: str) -> dict[str, str]:
    """Printed text by metric key: a PSNR goes to the column of its own arithmetic."""
    texts = {key: record[key] for key in VALUE_FIELDS if not key.startswith("psnr")}
    of_kind = {"overflow": "psnr_overflow", "true": "psnr", "unknown": "psnr_unknown"}
    if kind:
        texts[of_kind[kind]] = record["psnr"]
    if record["psnr_star"]:
        texts["psnr"] = record["psnr_star"]
    return texts
