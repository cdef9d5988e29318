"""`import aa_leaderboard`: what it exports, and that it stays light."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

import aa_leaderboard


def test_every_exported_name_is_there_and_no_other() -> None:
    for name in aa_leaderboard.__all__:
        assert getattr(aa_leaderboard, name).__name__ == name
    assert dir(aa_leaderboard) == aa_leaderboard.__all__ == sorted(aa_leaderboard.__all__)
    assert {"read_board", "rows_frame", "render", "Row"} <= set(aa_leaderboard.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        aa_leaderboard.nonsense  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("module", ["aa_leaderboard", "aa_leaderboard.cli", "aa_leaderboard.table"])
def test_importing_loads_neither_networks_nor_frames(module: str) -> None:
    heavy = "{'torch', 'pandas', 'matplotlib', 'av', 'PIL', 'jinja2'}"
    code = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["", ".paper_tables", ".report.frame", ".report.quotes"])
def test_the_examples_in_docstrings_run(module: str) -> None:
    tried = doctest.testmod(import_module(f"aa_leaderboard{module}"))
    assert tried.attempted > 0
    assert tried.failed == 0
