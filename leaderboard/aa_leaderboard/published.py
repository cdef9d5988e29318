"""The published rows: every number is a string of published.csv, as its source prints it."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Literal, cast

from aa_leaderboard.row import Cell, Published, Row

VALUE_FIELDS = ("ssim", "psnr", "psnr_star", "lpips", "fvd", "fid_vid", "l1")

# What is known of the protocols that published rows name. A published protocol is a claim of
# a paper, so none of these equals the hash of an `aa-eval` protocol.
PUBLISHED_PROTOCOLS = {
    "tiktok-disco": "DisCo's script on its ten test videos at 256 x 256: grey SSIM, 8-bit overflow "
    "PSNR, LPIPS-vgg on [0, 1], FVD over stride-1 windows of 16 frames",
    "tiktok-disco-codeV1": "DisCo's first-release FVD path, over 16-frame GIFs decoded to 128 "
    "frames; replaced in October 2023",
    "tiktok-other": "DisCo's code on other videos or at another size",
    "tiktok-mimicmotion-protocol": "MimicMotion's own test protocol; PSNR is true PSNR",
    "tiktok-dispose-protocol": "DisPose's own protocol, with VBench",
    "tiktok-onetoall-protocol": "evaluated by the One-to-All authors; PSNR is true PSNR",
    "tiktok-mtvcraft-protocol": "MTVCraft's own protocol; PSNR is true PSNR",
    "ubc-fashion": "UBC fashion, 100 test videos; no paper published its script except BDMM "
    "(float PSNR, LPIPS-alex on [-1, 1])",
    "ubc-fashion-ablation": "the ablation of Animate Anyone (Table 3) on UBC fashion",
    "champ-unseen-100": "Champ's own 100 unseen videos",
}


def published_csv_text() -> str:
    """published.csv as it ships in this package."""
    return (files("aa_leaderboard") / "published.csv").read_text(encoding="utf-8")


def read_published() -> tuple[Row, ...]:
    """Every published row, in the file's order."""
    return tuple(_row_of(record) for record in csv.DictReader(published_csv_text().splitlines()))


def _row_of(record: dict[str, str]) -> Row:
    kind = cast("Literal['overflow', 'true', '']", record["psnr_kind"])
    reading = cast("Literal['paper', 'secondary', 'issue']", record["reading"])
    # A number that nobody here read in its paper is shown, never ranked.
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
    texts = {key: record[key] for key in ("ssim", "lpips", "fvd", "fid_vid", "l1")}
    texts["psnr_overflow"] = record["psnr"] if kind == "overflow" else ""
    texts["psnr"] = record["psnr_star"] or (record["psnr"] if kind == "true" else "")
    return texts
