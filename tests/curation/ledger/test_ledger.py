from __future__ import annotations

import json
import math
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.check import Check, at_least, at_most, first_drop
from aa_curation.errors import LedgerError
from aa_curation.ledger.file import LEDGER_NAME, LedgerWriter, read_ledger
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.lines import LINES_NAME
from aa_curation.ledger.records import CorpusHead, Decision, Fetch, PlannedClip, Survey
from aa_curation.ledger.redecide import redecided
from aa_curation.ledger.takedown import Takedown
from aa_datasets.clip import Clip

STATUS = st.sampled_from(["accepted", "rejected", "failed"])


def _survey(source_id: str, planned: int, rejected: int) -> Survey:
    ids = [f"{source_id}-{i:04d}" for i in range(planned + rejected)]
    return Survey(
        source_id,
        "f" * 64,
        "e" * 64,
        1,
        2,
        tuple(
            PlannedClip(i, source_id, 0.0, 2.0, 24.0, (256, 256), (at_least("blurred", 99.5, 1),))
            for i in ids[:planned]
        ),
        tuple(
            Decision(i, source_id, "rejected", "survey", "too_short", 0.5, 1.0)
            for i in ids[planned:]
        ),
    )


@given(
    sources=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=6),
    statuses=st.lists(STATUS, min_size=18, max_size=18),
    repeats=st.booleans(),
)
def test_every_planned_clip_has_one_decision_and_the_funnel_adds_up(
    sources: list[tuple[int, int]], statuses: list[str], repeats: bool
) -> None:
    """accepted + rejected + failed = planned, whatever was surveyed, redone or read again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with LedgerWriter(folder, CorpusHead("demo", "abc")) as writer:
            for number, (planned, rejected) in enumerate(sources):
                writer.add_survey(_survey(f"s{number}", planned, rejected))
            waiting = iter(statuses)
            for survey in list(writer.ledger.surveys.values()):
                if repeats:  # the source has changed: what was decided before no longer counts
                    writer.add_survey(survey)
                for clip in survey.planned:
                    writer.add_decision(
                        Decision(clip.clip_id, clip.source_id, next(waiting), "clip", "r")
                    )
            writer.ledger.assert_complete()
        ledger = read_ledger(folder)
        assert ledger == writer.ledger
        ledger.assert_complete()
        assert sum(ledger.funnel().values()) == sum(p + r for p, r in sources)
        assert ledger.num_planned == sum(p + r for p, r in sources)
        assert f"{ledger.num_planned:6d} planned" in str(ledger)


def test_a_missing_decision_is_told(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 2, 1))
        with pytest.raises(
            LedgerError,
            match=r"2 of 3 planned clips are not decided yet \(s-0000, s-0001\).* --drop-missing",
        ):
            writer.ledger.assert_complete()
        assert "2 not yet decided" in str(writer.ledger)


def test_a_decision_on_what_was_never_planned_is_told(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 0, 1))
        writer.add_decision(Decision("x-0000", "x", "rejected", "clip", "static"))
        with pytest.raises(LedgerError, match=r"decided, but never planned: \['x-0000'\]: report"):
            writer.ledger.assert_complete()


@pytest.mark.parametrize(("missing", "told"), [(3, "s-0002):"), (4, "s-0002, ...):")])
def test_of_many_missing_decisions_three_are_named(tmp_path: Path, missing: int, told: str) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", missing, 0))
        with pytest.raises(LedgerError) as caught:
            writer.ledger.assert_complete()
        assert f"{missing} of {missing} planned clips are not decided yet" in str(caught.value)
        assert told in str(caught.value)


def test_two_runs_cannot_write_one_ledger_and_a_recipe_stays(tmp_path: Path) -> None:
    with (
        LedgerWriter(tmp_path, CorpusHead("demo", "abc")),
        pytest.raises(LedgerError, match="another aa-curate run"),
    ):
        LedgerWriter(tmp_path, CorpusHead("demo", "abc"))
    with pytest.raises(LedgerError, match="made with recipe 'demo'"):
        LedgerWriter(tmp_path, CorpusHead("paper", "def"))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 0, 1))
    writer.ledger.close()
    path = tmp_path / LEDGER_NAME
    content = path.read_bytes()
    for harmed in (b"", b"not a database" * 100, content[:100]):
        path.write_bytes(harmed)
        with pytest.raises(LedgerError, match="damaged"):
            read_ledger(tmp_path)
    path.write_bytes(content)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="newer version"):
        read_ledger(tmp_path)
    with pytest.raises(LedgerError, match="no ledger in"):
        read_ledger(tmp_path / "elsewhere")


def _lines(*rows: object) -> str:
    return "".join(json.dumps(msgspec.to_builtins(row)) + "\n" for row in rows)


HEAD = {"run": CorpusHead("demo", "abc")}


@given(lost=st.integers(1, 60))
def test_lines_of_an_earlier_version_are_read_and_their_last_may_be_cut_short(lost: int) -> None:
    row = Decision("s-0000", "s", "rejected", "clip", "static", 1.0, float("inf"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = _lines(HEAD, {"survey": _survey("s", 1, 0)}) + json.dumps(
            {"decision": msgspec.to_builtins(row)}
        )
        (folder / LINES_NAME).write_text(f"{whole}\n"[:-lost])
        read = read_ledger(folder)
        assert read.decisions == {}
        assert read.copied() == read, "as `redecide --dry-run` works on"
        with LedgerWriter(folder, CorpusHead("demo", "abc")) as writer:
            writer.add_decision(row)
        assert read_ledger(folder).decisions == {"s-0000": row}
        (folder / LINES_NAME).write_text(f"{whole}\n")
        assert read_ledger(folder) == writer.ledger, "the new file counts"
        (folder / LEDGER_NAME).unlink()
        assert read_ledger(folder) == writer.ledger


def test_damaged_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / LINES_NAME
    content = _lines(HEAD, {"survey": _survey("s", 0, 1)})
    path.write_text(content.replace('"status"', '"stat', 1))
    with pytest.raises(LedgerError, match="damaged"):
        read_ledger(tmp_path)
    with pytest.raises(LedgerError, match="damaged"):
        LedgerWriter(tmp_path, CorpusHead("demo", "abc"))
    assert path.is_file()
    path.write_text(content)
    LedgerWriter(tmp_path, CorpusHead("demo", "abc"))  # nothing of the refused attempt is left
    (tmp_path / LEDGER_NAME).unlink()
    for harmed in (content + _lines({"vote": 1}), content.replace('"near_duplicates"', '"near"', 1),
                   content.replace('"recipe_name"', '"recipe_nme"', 1)):  # fmt: skip
        path.write_text(harmed)
        with pytest.raises(LedgerError, match=r"ledger\.jsonl is damaged .*: move the folder away"):
            LedgerWriter(tmp_path, CorpusHead("demo", "abc"))
        assert not (tmp_path / LEDGER_NAME).exists()
    path.write_text("")
    with pytest.raises(LedgerError, match="is empty"):
        read_ledger(tmp_path)


def test_every_kind_of_line_comes_into_the_new_ledger(tmp_path: Path) -> None:
    fetch = Fetch("s", "http://a/s.mp4", None)
    takedown = Takedown("gone", "http://a/gone.mp4")
    rows = [HEAD, {"fetch": fetch}, {"survey": _survey("s", 1, 0)}, {"takedown": takedown},
            {"decision": Decision("s-0000", "s", "rejected", "clip", "blurred", 3.0, 20.0)},
            {"thresholds": {"blurred": 30.0}}]  # fmt: skip
    (tmp_path / LINES_NAME).write_text(_lines(*rows))
    ledger = read_ledger(tmp_path)
    assert ledger.fetches == {"s": fetch}
    assert ledger.takedowns == {"gone": takedown}
    assert ledger.thresholds == {"blurred": 30.0}
    assert list(ledger.surveys) == ["s"]
    assert list(ledger.decisions) == ["s-0000"]


@pytest.mark.parametrize("end", ["count", "decision", "thresholds", "survey"])
def test_what_version_0_1_made_in_a_survey_counts_as_it_did(tmp_path: Path, end: str) -> None:
    made = Decision("s-0000", "s", "accepted", "clip", checks=(at_least("blurred", 99.5, 1),))
    other = Decision("s-0000", "s", "rejected", "survey", "duplicate")
    survey = msgspec.to_builtins(_survey("s", 1, 0))
    rows = [HEAD, {"survey": {**survey, "ahead": [msgspec.to_builtins(made)]}}]
    (tmp_path / LINES_NAME).write_text(_lines(*rows))
    assert read_ledger(tmp_path).decisions == {}
    rows += {
        "count": [],
        "decision": [{"decision": other}],
        "thresholds": [{"thresholds": {"blurred": 1e9}}],
        "survey": [{"survey": survey}],
    }[end]
    (tmp_path / LINES_NAME).write_text(_lines(*rows, {"ahead": "s"}))
    counted = {"count": [made], "decision": [other], "thresholds": [], "survey": []}[end]
    assert list(read_ledger(tmp_path).decisions.values()) == counted


def test_the_frame_has_a_row_per_clip_and_a_column_per_measurement(tmp_path: Path) -> None:
    clip = Clip("s-0000", "s", "s.mp4", "MIT", 0.5, 2.5, 24.0, (256, 320), 48, False, "x", "train")
    checks = (at_least("blurred", 99.5, 1), at_most("static", float("inf"), float("inf")))
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 1, 1))
        writer.add_decision(Decision("s-0000", "s", "accepted", "clip", checks=checks, clip=clip))
    ledger = read_ledger(tmp_path)
    assert ledger == writer.ledger  # an infinite bound is read as it was written
    frame = ledger.to_frame().set_index("clip_id")
    assert list(frame.index) == ["s-0000", "s-0001"]
    assert frame.loc["s-0000", "check.blurred"] == 99.5
    assert frame.loc["s-0000", "duration_s"] == 2.0
    assert (frame.loc["s-0000", "height"], frame.loc["s-0000", "licence"]) == (256, "MIT")
    assert frame.loc["s-0001", "reason"] == "too_short"
    assert frame["check.blurred"].isna().tolist() == [False, True]
    assert list(ledger.to_frame(["reason", "clip_id"]).columns) == ["reason", "clip_id"]
    empty = Ledger(CorpusHead("demo", "abc")).to_frame()
    assert len(empty) == 0
    assert {"clip_id", "licence", "duration_s"} <= set(empty.columns)


numbers = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, float("inf")])


@given(
    measured=numbers | st.none(),
    checks=st.lists(st.tuples(st.sampled_from("abc"), numbers, numbers, st.booleans()), max_size=4),
    detail=st.text(max_size=20),
    signature=st.sampled_from(["", "00ff", "of another version"]),
)
def test_a_decision_is_read_as_it_was_written(
    measured: float | None,
    checks: list[tuple[str, float, float, bool]],
    detail: str,
    signature: str,
) -> None:
    row = Decision(
        "s-0000", "s", "rejected", "clip", "r", measured, measured, detail,
        tuple(Check(*check) for check in checks), signature=signature,
    )  # fmt: skip
    ledger = Ledger(CorpusHead("demo", "abc"))
    ledger.add_decision(row)
    assert ledger.decisions["s-0000"] == row
    assert list(ledger.decisions.items()) == [("s-0000", row)]
    ledger.add_decision(replace(row, measured=float("nan")))
    (nan,) = (ledger.decisions["s-0000"].measured,)
    assert nan is not None
    assert math.isnan(nan)


reasons = st.sampled_from(["a", "b", "c"])
outcomes = st.sampled_from(["checks", "damaged", "failed", "dedup"])


@given(
    clips=st.lists(
        st.tuples(
            outcomes,
            st.lists(
                st.tuples(reasons, st.integers(0, 3), st.booleans()),
                max_size=3, unique_by=lambda check: check[0],
            ),
            st.booleans(),
        ),
        max_size=8,
    ),
    changes=st.lists(st.dictionaries(reasons, st.integers(0, 3), min_size=1), max_size=3),
)  # fmt: skip
def test_thresholds_by_column_decide_as_they_do_row_by_row(
    clips: list[tuple[str, list[tuple[str, int, bool]], bool]], changes: list[dict[str, int]]
) -> None:
    """`redecided` on every row is the rule; the ledger looks at a column first."""
    ledger = Ledger(CorpusHead("demo", "abc"))
    expected: dict[str, Decision] = {}
    made = Clip("x", "s", "s.mp4", "MIT", 0.0, 2.0, 24.0, (256, 320), 48, False, "x", "train")
    for number, (outcome, measured, encoded) in enumerate(clips):
        name = f"s{number}-0000"
        checks = tuple(Check(reason, float(m), 1.0, low) for reason, m, low in measured)
        row = Decision(name, f"s{number}", "accepted", "clip", checks=checks)
        drop = first_drop(checks)
        if outcome == "checks" and drop is not None:
            row = replace(row, status="rejected", reason=drop.reason, measured=drop.measured,
                          threshold=drop.threshold)  # fmt: skip
        elif outcome != "checks":
            status = "failed" if outcome == "failed" else "rejected"
            row = replace(row, status=status, reason=outcome, stage=outcome)  # type: ignore[arg-type]
        if encoded or row.status == "accepted":
            row = replace(row, clip=made)
        ledger.add_survey(_survey(f"s{number}", 1, 0))
        ledger.add_decision(row)
        expected[name] = row
    for thresholds in changes:
        bounds = {reason: float(bound) for reason, bound in thresholds.items()}
        ledger.add_thresholds(bounds)
        again = {name: redecided(row, bounds) for name, row in expected.items()}
        expected = {name: row for name, row in again.items() if row is not None}

    def verdicts(rows: Mapping[str, Decision]) -> dict[str, object]:
        return {n: (d.status, d.stage, d.reason, d.measured, d.threshold) for n, d in rows.items()}

    assert verdicts(ledger.decisions) == verdicts(expected)
    for name, row in expected.items():
        if row.status == "accepted" or row.stage == "dedup":
            assert ledger.decisions[name].checks == row.checks


KILLED = """
import os, signal, sys
from pathlib import Path
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import CorpusHead, Decision
with LedgerWriter(Path(sys.argv[1]), CorpusHead("demo", "abc")) as writer:
    for number in range(int(sys.argv[2])):
        writer.add_decision(Decision(f"s-{number:04d}", "s", "rejected", "clip", "static"))
        if number == 99:
            writer.commit()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("added", [100, 1500])
def test_what_was_committed_survives_a_kill(tmp_path: Path, added: int) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(added)], check=False)
    assert done.returncode == -signal.SIGKILL
    found = list(read_ledger(tmp_path).decisions)
    assert 100 <= len(found) <= added
    assert found == [f"s-{number:04d}" for number in range(len(found))], "the first ones, no gap"
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_decision(Decision("t-0000", "t", "rejected", "clip", "static"))
    assert list(read_ledger(tmp_path).decisions) == [*found, "t-0000"]


def test_the_ledger_is_read_while_it_is_written(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 1, 1))
        writer.commit()
        reader = read_ledger(tmp_path)
        writer.ledger.add_decision(Decision("s-0000", "s", "accepted", "clip"))
        assert set(reader.decisions) == {"s-0001"}
        writer.commit()
        assert set(reader.decisions) == {"s-0000", "s-0001"}
        assert reader.num_of("accepted") == 1


def test_nothing_that_was_decided_is_lost(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 0, 1))
        writer.add_decision(Decision("s-0000", "s", "accepted", "clip"))
    kept = list(read_ledger(tmp_path).sql("SELECT clip_id, status, reason, measured FROM replaced"))
    assert kept == [("s-0000", "rejected", "too_short", 0.5)]


@pytest.mark.parametrize(("row_s", "every"), [(0.01, 200), (3.0, 1)])
def test_commits_take_a_twentieth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_s: float, every: int
) -> None:
    """By a clock of our own: a commit of 0.1 s is followed by 2 s of rows."""
    now_s, committed_s, rows_at_commit = 0.0, 0.0, list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        commit = writer.ledger.commit

        def slow_commit() -> None:
            nonlocal now_s, committed_s
            commit()
            now_s += 0.1
            committed_s += 0.1
            rows_at_commit.append(row)

        monkeypatch.setattr(writer.ledger, "commit", slow_commit)
        for row in range(1000):
            now_s += row_s
            writer.add_survey(_survey(f"s{row}", 1, 0))
        assert np.diff(rows_at_commit[1:]).tolist() == pytest.approx(
            [every] * (len(rows_at_commit) - 2), abs=1
        )
        assert len(rows_at_commit) == pytest.approx(1000 / every, abs=1)
        assert committed_s / now_s <= 0.05 + 0.1 / now_s
