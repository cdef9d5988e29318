"""The examples in docstrings of `aa_leaderboard`."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["", ".paper_tables", ".report.frame", ".report.quotes"])
def test_the_examples_in_docstrings_run(module: str) -> None:
    tried = doctest.testmod(import_module(f"aa_leaderboard{module}"))
    assert tried.attempted > 0
    assert tried.failed == 0
