"""published.csv: the paper's tables cell by cell, and every row of the facts it was made from."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from aa_eval.protocol import list_protocols
from aa_leaderboard.errors import LeaderboardError
from aa_leaderboard.paper_tables import SCORED_AS, paper_table
from aa_leaderboard.published import (
    VALUE_FIELDS,
    package_text,
    published_protocols,
    read_conflicts,
    read_published,
)
from aa_leaderboard.row import Published

FACTS = Path(__file__).parents[2] / "../shared/facts/published_results.csv"
FACTS_2026 = FACTS.with_name("published_results_2026.csv")
RENAMED_PROTOCOLS = {
    "humandit-total (TikTok+talking+dancing)": "humandit-total",
    "svi-long-dance (TikTok probable)": "svi-long-dance",
}

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
    return list(csv.DictReader(io.StringIO(package_text("published.csv"))))


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


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_aa_eval_scored_as_a_table_was_has_the_tables_own_protocol(number: int) -> None:
    protocol, benchmark = SCORED_AS[number]
    rows = [
        r for r in read_published() if isinstance(r.origin, Published) and r.origin.table == number
    ]
    assert {row.benchmark for row in rows} == {benchmark}
    known = {published_protocols()[row.protocol].recompute_with for row in rows}
    assert known == {protocol}
    assert protocol in list_protocols()


@pytest.mark.parametrize("number", [0, 4])
def test_a_table_that_the_paper_does_not_have_is_refused(number: int) -> None:
    with pytest.raises(LeaderboardError, match=f"no table {number}: the paper's"):
        paper_table(number)


def test_every_record_is_well_formed() -> None:
    for record in records():
        assert record["reading"] in {"paper", "secondary", "issue"}, record
        kinds = {"overflow", "true", "unknown"} if record["psnr"] else {""}
        assert record["psnr_kind"] in kinds, record
        assert record["table"] in {"", "1", "2", "3"}
        if record["protocol"].startswith("tiktok"):
            assert record["benchmark"] == "tiktok"
        assert record["protocol"] in published_protocols()
        assert record["method"]
        assert record["source"]
        told = any(word in record["source"] for word in ("secondary", "transcription", "summary"))
        assert (record["reading"] == "secondary") == told, record
        assert 2015 < int(record["year"]) < 2030
        values = [float(record[field]) for field in VALUE_FIELDS if record[field]]
        assert values
        assert all(value >= 0 for value in values)


def test_what_is_called_overflow_psnr_is_above_the_overflow_floor() -> None:
    # Squares modulo 256 are at most 249: 10 log10(255^2 / 249) = 24.169 dB.
    for record in records():
        if record["psnr"] and record["psnr_kind"] != "unknown":
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


def test_a_psnr_of_unknown_kind_has_a_column_of_its_own_and_no_rank() -> None:
    rows = [row for row in read_published() if row.protocol == "stableanimator-unseen100"]
    assert {row.cells["psnr_unknown"].text for row in rows} >= {"22.94", "28.85"}
    assert not any(row.cells.keys() & {"psnr", "psnr_overflow"} for row in rows)


def test_every_protocol_is_used_and_every_aa_eval_protocol_that_is_named_is_a_name() -> None:
    assert {record["protocol"] for record in records()} == set(published_protocols())
    for known in published_protocols().values():
        assert known.group
        assert known.about


def test_the_nine_known_conflicts_are_told_and_their_values_stand_in_the_rows() -> None:
    conflicts = read_conflicts()
    assert len(conflicts) >= 9
    told = {(c.method.split(" (")[0], c.value, c.other_value) for c in conflicts}
    assert told >= {
        ("BDMM", "148.3", "168.3"),
        ("MimicMotion", "232.95", "326.57"),
        ("UniAnimate-DiT", "306.17", "358.42"),
        ("MRAA", "0.296", "0.672"),
        ("PoseAnything", "2.79E-05", "2.70E-04"),
        ("Wan-Animate", "187.61", "305.31"),
        ("UniAnimate", "0.811", "0.549"),
        ("TPSMM", "306.1", "306.17"),
        ("Champ", "160.82", "170.20"),
    }
    printed = {text for record in records() for field in VALUE_FIELDS if (text := record[field])}
    for conflict in conflicts:
        assert conflict.value != conflict.other_value
        assert conflict.value in printed
        assert conflict.other_value in printed


@pytest.mark.skipif(not FACTS.is_file(), reason="skipped: no ../shared")
def test_every_row_of_the_facts_is_there_as_printed_or_with_more_digits() -> None:
    facts = []
    for path in (FACTS, FACTS_2026):
        with path.open(encoding="utf-8", newline="") as file:
            facts += list(csv.DictReader(file))
    assert len(facts) == 86 + 134
    ours = records()
    assert len(ours) == 204
    used = set()
    for fact in facts:
        protocol = RENAMED_PROTOCOLS.get(fact["benchmark"], fact["benchmark"])
        method = RENAMED.get(fact["method"], fact["method"])
        values = [fact.get(field) or "" for field in VALUE_FIELDS[:-1]]
        # A known row that the newer facts only complete is a row that was met before.
        for number in sorted(range(204), key=lambda n: n in used):
            record = ours[number]
            same = (record["protocol"], record["method"]) == (protocol, method)
            if same and all(
                is_printed(v, record[f]) for v, f in zip(values, VALUE_FIELDS, strict=False)
            ):
                used.add(number)
                break
        else:
            raise AssertionError(f"no row is {fact}")
    assert used == set(range(204)), "no row is invented"


def is_printed(fact: str, ours: str) -> bool:
    """Whether a value of the facts stands in a row, with as many digits or more."""
    return not fact or (bool(ours) and ours.startswith(fact))


def test_the_notes_of_the_papers_tables_say_which_psnr_stands_in_them() -> None:
    for number, has_true in ((1, True), (2, False), (3, False)):
        table = paper_table(number)
        true = [method for method, cells in table.lines if any(c.true_psnr for c in cells)]
        assert bool(true) == has_true
        assert table.notes[0].startswith(
            f"Source: Animate Anyone (Hu et al. 2023), Table {number}."
        )
        if has_true:
            assert table.notes[1].startswith(f"The PSNR of {' and '.join(true)} is true PSNR")
        else:
            assert table.notes[1].startswith("PSNR is DisCo's 8-bit overflow value")
        assert len(table.notes) == 2
    for number in (0, 4):
        with pytest.raises(LeaderboardError, match=f"no table {number}: the paper's result tables"):
            paper_table(number)
