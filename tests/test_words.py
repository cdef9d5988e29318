"""Docstrings, help and pages use plain words: none of those that earlier versions were full of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("datasets", "curation", "model", "eval", "leaderboard")
# What CONTRIBUTING asks for instead: again, next to, started, anyone, without a.
WORDS = ("anew", "beside", "begun", "whoever", "nobody",
         r"(?:is|are|was|were) no (?!longer\b|more\b)\w+", "goes on", "go on", "makes of",
         "comes? to")  # fmt: skip
FORBIDDEN = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
ALLOWED = ("is no password",)
FOLDERS = (*ROOMS, "benchmarks", "demo", "examples")


def _pages() -> list[Path]:
    rooms = [ROOT / room / "README.md" for room in ROOMS]
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("demo/*.md"), *rooms])


def _texts(source: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module (docstrings, help, errors) and every comment, with its line."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for number, line in enumerate(source.read_text().splitlines(), 1):
        if (hash_ := line.find("# ")) >= 0:
            yield number, line[hash_:]


def _found(line: int, text: str) -> list[str]:
    for phrase in ALLOWED:
        text = text.replace(phrase, "")
    return [f"{line}: {match}" for match in FORBIDDEN.findall(" ".join(text.split()))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_sources_use_plain_words(folder: str) -> None:
    found = {
        str(path.relative_to(ROOT)): words
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (words := [word for line, text in _texts(path) for word in _found(line, text)])
    }
    assert found == {}


def test_pages_use_plain_words() -> None:
    found = {
        str(path.relative_to(ROOT)): words
        for path in _pages()
        if (words := [w for n, line in enumerate(path.read_text().splitlines(), 1)
                      for w in _found(n, line)])
    }  # fmt: skip
    assert found == {}
