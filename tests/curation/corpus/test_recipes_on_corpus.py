"""The accept decision on labelled real clips, by the script that makes the README's tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "../shared/corpus"
ASSETS = ROOT / "../shared/assets"


RECIPES = ("default", "yolox")
Decided = dict[str, tuple[subprocess.Popen[str], Path]]


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    """The script, started for all recipes at once: each keeps one core busy for minutes."""
    if not CORPUS.is_dir() or not ASSETS.is_dir():
        pytest.skip("skipped: no ../shared")
    folder = tmp_path_factory.mktemp("decided")
    started = {}
    for recipe in RECIPES:
        command = [
            *(sys.executable, "benchmarks/studies/confusion.py", str(CORPUS)),
            *("--recipe", f"curation/recipes/{recipe}.py", "--weights", str(ASSETS)),
            # All whose length and size allow a judgement are judged.
            *("--set", "too_short=1", "low_resolution=240"),
            *("--json", str(folder / f"{recipe}.json")),
        ]
        with (folder / f"{recipe}.txt").open("w") as printed:
            started[recipe] = subprocess.Popen(
                command, cwd=ROOT, text=True, stdout=printed, stderr=subprocess.STDOUT
            )
    yield {recipe: (process, folder) for recipe, process in started.items()}
    for process in started.values():
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize(
    ("recipe", "kept_out_at_least", "right_at_least"),
    [("default", 0.95, 0.9), ("yolox", 0.95, 0.9)],
)
def test_the_accept_decision_agrees_with_the_labels(
    decided: Decided,
    recipe: str,
    kept_out_at_least: float,
    right_at_least: float,
) -> None:
    process, folder = decided[recipe]
    failed = process.wait()
    print((folder / f"{recipe}.txt").read_text())
    assert not failed
    rows = json.loads((folder / f"{recipe}.json").read_text())["rows"]
    positive = {"fullbody-single", "upperbody", "head"}
    negatives = [row for row in rows if row["kind"] not in positive]
    judged = [row for row in rows if row["kind"] in positive and row["verdict"] != "form"]
    kept_out = [row for row in negatives if row["verdict"] != "accepted"]
    assert len(negatives) >= 11
    assert len(judged) >= 15
    assert len(kept_out) / len(negatives) >= kept_out_at_least
    assert sum(row["right_reason"] for row in kept_out) / len(negatives) >= right_at_least
    assert sum(row["verdict"] == "accepted" for row in judged) / len(judged) >= 0.9
