"""Progress in a log: whole lines, the first and the last state, nothing twice."""

from __future__ import annotations

import pytest

from aa_datasets import progress as module
from aa_datasets.progress import progress


def test_a_log_gets_whole_lines_and_the_last_state(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_INTERVAL_S", 1e-9)
    assert list(progress(range(3), desc="survey", unit="clip")) == [0, 1, 2]
    err = capfd.readouterr().err
    assert "\r" not in err
    counts = [line.split(" clips,")[0] for line in err.splitlines()]
    assert counts == [f"survey: {n}/3" for n in range(4)]


def test_between_two_lines_of_a_log_lie_30_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(desc="score", unit="frame", total=1000) as bar:
        for _ in range(1000):
            bar.update()
    assert len(capfd.readouterr().err.splitlines()) == 2  # the first state and the last


def test_one_clip_is_no_plural(capfd: pytest.CaptureFixture[str]) -> None:
    list(progress(range(1), desc="pack", unit="shard"))
    assert capfd.readouterr().err.splitlines()[-1].startswith("pack: 1/1 shard, ")
