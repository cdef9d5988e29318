from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.check import at_least, at_most
from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import LEDGER_NAME, Ledger, LedgerWriter, read_ledger
from aa_curation.ledger.records import CorpusHead, Decision, PlannedClip, Survey
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
        assert len(ledger.planned_ids) == sum(p + r for p, r in sources)
        assert f"{len(ledger.planned_ids):6d} planned" in str(ledger)


def test_a_missing_decision_is_told(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 2, 1))
        with pytest.raises(
            LedgerError,
            match=r"2 of 3 planned clips are not decided yet \(s-0000, s-0001\).* --drop-missing",
        ):
            writer.ledger.assert_complete()
        assert "2 not yet decided" in str(writer.ledger)


@given(lost=st.integers(1, 60))
def test_a_line_cut_short_by_a_kill_is_dropped_and_written_again(lost: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with LedgerWriter(folder, CorpusHead("demo", "abc")) as writer:
            writer.add_survey(_survey("s", 1, 0))
            writer.add_decision(Decision("s-0000", "s", "rejected", "clip", "static", 1.0, 0.5))
        content = (folder / LEDGER_NAME).read_bytes()
        (folder / LEDGER_NAME).write_bytes(content[:-lost])
        assert read_ledger(folder).decisions == {}
        with LedgerWriter(folder, CorpusHead("demo", "abc")) as writer:
            writer.add_decision(Decision("s-0000", "s", "rejected", "clip", "static", 1.0, 0.5))
        assert (folder / LEDGER_NAME).read_bytes() == content


def test_two_runs_cannot_write_one_ledger_and_a_recipe_stays(tmp_path: Path) -> None:
    with (
        LedgerWriter(tmp_path, CorpusHead("demo", "abc")),
        pytest.raises(LedgerError, match="another aa-curate run"),
    ):
        LedgerWriter(tmp_path, CorpusHead("demo", "abc"))
    with pytest.raises(LedgerError, match="made with recipe 'demo'"):
        LedgerWriter(tmp_path, CorpusHead("paper", "def"))


def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 0, 1))
    path = tmp_path / LEDGER_NAME
    path.write_bytes(path.read_bytes().replace(b'"status"', b'"stat', 1))
    with pytest.raises(LedgerError, match="damaged"):
        read_ledger(tmp_path)
    with pytest.raises(LedgerError, match="no ledger in"):
        read_ledger(tmp_path / "elsewhere")


@pytest.mark.parametrize("end", ["count", "decision", "thresholds", "survey"])
def test_what_version_0_1_made_in_a_survey_counts_as_it_did(tmp_path: Path, end: str) -> None:
    made = Decision("s-0000", "s", "accepted", "clip", checks=(at_least("blurred", 99.5, 1),))
    other = Decision("s-0000", "s", "rejected", "survey", "duplicate")
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 1, 0))
    path = tmp_path / LEDGER_NAME
    head, line = path.read_text().splitlines()
    row = json.loads(line)
    row["survey"]["ahead"] = [msgspec.to_builtins(made)]
    path.write_text(f"{head}\n{json.dumps(row)}\n")
    assert read_ledger(tmp_path).decisions == {}
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        if end == "decision":
            writer.add_decision(other)
        if end == "thresholds":
            writer.add_thresholds({"blurred": 1e9})
        if end == "survey":
            writer.add_survey(_survey("s", 1, 0))
    with path.open("a") as file:
        file.write('{"ahead": "s"}\n')
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
    empty = Ledger(CorpusHead("demo", "abc")).to_frame()
    assert len(empty) == 0
    assert {"clip_id", "licence", "duration_s"} <= set(empty.columns)


def test_a_row_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls in order: the line, its sync; only then the ledger in memory knows."""
    path, events = tmp_path / "corpus" / LEDGER_NAME, list[str]()
    sync, add = os.fsync, Ledger.add_decision

    def synced(descriptor: int) -> None:
        sync(descriptor)
        target = Path(f"/proc/self/fd/{descriptor}").resolve()
        if target == path:
            events.append(f"sync of {len(path.read_text().splitlines())} lines")
        elif target == path.parent:
            events.append("sync of the folder")

    def known(ledger: Ledger, decision: Decision) -> None:
        events.append("known")
        add(ledger, decision)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Ledger, "add_decision", known)
    with LedgerWriter(path.parent, CorpusHead("demo", "abc")) as writer:
        for number in range(2):
            name = f"s-{number:04d}"
            writer.add_decision(Decision(name, "s", "rejected", "clip", "static", 1.0, 0.5))
    assert [event for event in events if event != "sync of the folder"] == [
        "sync of 1 lines", "sync of 2 lines", "known", "sync of 3 lines", "known"
    ]  # fmt: skip
    assert "sync of the folder" in events[: events.index("known")]
