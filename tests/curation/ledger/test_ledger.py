from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.check import at_least
from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import LEDGER_NAME, LedgerWriter, read_ledger
from aa_curation.ledger.records import CorpusHead, Decision, PlannedClip, Survey
from aa_curation.report.text import format_funnel

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
        assert f"{len(ledger.planned_ids):6d} planned" in format_funnel(ledger)


def test_a_missing_decision_is_told(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(_survey("s", 2, 1))
        with pytest.raises(LedgerError, match="3 clips planned, 1 decided"):
            writer.ledger.assert_complete()
        assert "2 not yet decided" in format_funnel(writer.ledger)


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
