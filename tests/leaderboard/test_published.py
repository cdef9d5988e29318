"""published.csv: the paper's tables cell by cell, and every row of the facts it was made from."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from aa_leaderboard.paper_tables import paper_table
from aa_leaderboard.published import (
    PUBLISHED_PROTOCOLS,
    VALUE_FIELDS,
    published_csv_text,
    read_published,
)
from aa_leaderboard.row import Published

FACTS = Path(__file__).parents[2] / "../shared/facts/published_results.csv"

# "Animate Anyone" (Hu et al. 2023), as printed: SSIM, PSNR, LPIPS, FVD.
PRINTED = {
    1: """
        MRAA           | 0.749 | -     | 0.212 | 253.6
        TPSMM          | 0.746 | -     | 0.213 | 247.5
        BDMM           | 0.918 | 24.07 | 0.048 | 148.3
        DreamPose      | 0.885 | -     | 0.068 | 238.7
        DreamPose*     | 0.879 | 34.75 | 0.111 | 279.6
        Animate Anyone | 0.931 | 38.49 | 0.044 | 81.6
    """,
    2: """
        FOMM           | 0.648 | 29.01 | 0.335 | 405.2
        MRAA           | 0.672 | 29.39 | 0.296 | 284.8
        TPSMM          | 0.673 | 29.18 | 0.299 | 306.1
        DisCo          | 0.668 | 29.03 | 0.292 | 292.8
        Animate Anyone | 0.718 | 29.56 | 0.285 | 171.9
    """,
    3: """
        CLIP            | 0.897 | 36.09 | 0.089 | 208.5
        ControlNet      | 0.892 | 35.89 | 0.105 | 213.9
        CLIP+ControlNet | 0.898 | 36.03 | 0.086 | 205.4
        Animate Anyone  | 0.931 | 38.49 | 0.044 | 81.6
    """,
}
# Names that the facts spell out and the paper abbreviates.
RENAMED = {
    "DreamPose* (no sample finetune)": "DreamPose*",
    "AA ablation: CLIP": "CLIP",
    "AA ablation: ControlNet": "ControlNet",
    "AA ablation: CLIP+ControlNet": "CLIP+ControlNet",
    "AA ablation: Ours": "Animate Anyone",
    "BDMM ('DBMM')": "BDMM",
}


def printed(number: int) -> list[list[str]]:
    return [[c.strip() for c in line.split("|")] for line in PRINTED[number].strip().splitlines()]


def records() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(published_csv_text())))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_papers_table_is_exact_and_complete(number: int) -> None:
    lines = [
        [method, *(cell.text for cell in cells)] for method, cells in paper_table(number).lines
    ]
    assert lines == printed(number)


def test_table_1_marks_bdmm_alone_as_true_psnr_and_does_not_rank_it_with_overflow() -> None:
    cells = {method: cells[1] for method, cells in paper_table(1).lines}
    assert [method for method, cell in cells.items() if cell.true_psnr] == ["BDMM"]
    assert {method: cell.place for method, cell in cells.items() if cell.place} == {
        "Animate Anyone": 1,
        "DreamPose*": 2,
    }
    assert any("BDMM" in note for note in paper_table(1).notes)


def test_every_record_is_well_formed() -> None:
    for record in records():
        assert record["reading"] in {"paper", "secondary", "issue"}, record
        assert record["psnr_kind"] in ({"overflow", "true"} if record["psnr"] else {""}), record
        assert record["table"] in {"", "1", "2", "3"}
        assert record["benchmark"] in {"tiktok", "ubc", "champ-unseen-100"}
        assert record["protocol"] in PUBLISHED_PROTOCOLS
        assert record["method"]
        assert record["source"]
        assert (record["reading"] == "secondary") == ("secondary" in record["source"])
        assert 2015 < int(record["year"]) < 2030
        values = [float(record[field]) for field in VALUE_FIELDS if record[field]]
        assert values
        assert all(value >= 0 for value in values)


def test_what_is_called_overflow_psnr_is_above_the_overflow_floor() -> None:
    # Squares modulo 256 are at most 249: 10 log10(255^2 / 249) = 24.169 dB.
    for record in records():
        if record["psnr"]:
            possible = float(record["psnr"]) >= 24.169
            assert possible == (record["psnr_kind"] == "overflow"), record


def test_the_two_fvds_of_bdmm_are_both_told_as_a_conflict() -> None:
    bdmm = [record for record in records() if record["method"] == "BDMM"]
    assert {record["fvd"] for record in bdmm} == {"148.3", "168.3"}
    assert all("148.3" in r["note"] and "168.3" in r["note"] for r in bdmm)
    rows = [row for row in read_published() if row.method == "BDMM"]
    assert all(("caution", "sources conflict") in row.badges for row in rows)


def test_only_what_was_read_in_its_paper_is_ranked() -> None:
    for row in read_published():
        assert isinstance(row.origin, Published)
        assert row.badges[0] == ("published", "published")
        for cell in row.cells.values():
            assert cell.ranked == (row.origin.reading == "paper")


@pytest.mark.skipif(not FACTS.is_file(), reason="skipped: no ../shared")
def test_every_row_of_the_facts_is_there_as_printed_and_none_is_invented() -> None:
    with FACTS.open(encoding="utf-8", newline="") as file:
        facts = list(csv.DictReader(file))
    ours = records()
    assert len(facts) == len(ours) == 86
    for fact, record in zip(facts, ours, strict=True):
        assert record["protocol"] == fact["benchmark"]
        assert record["method"] == RENAMED.get(fact["method"], fact["method"])
        assert record["year"] == fact["year"]
        assert [record[f] for f in VALUE_FIELDS] == [fact[f] for f in VALUE_FIELDS]
        assert fact["protocol note"] in record["note"]
        if fact["source"].startswith("seed paper"):
            assert record["table"] == fact["source"][-1]
            assert record["paper"] == "Animate Anyone (Hu et al. 2023)"
        elif fact["source"] != "same":  # "same" stands below a DirectAnimator row
            assert record["source"] == fact["source"]
