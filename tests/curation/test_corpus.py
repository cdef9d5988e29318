"""The accept decision on labelled real clips, by the script that makes the README's table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "../shared/corpus"


@pytest.mark.slow
@pytest.mark.weights
def test_the_accept_decision_agrees_with_the_labels(tmp_path: Path) -> None:
    if not CORPUS.is_dir():
        pytest.skip("skipped: no ../shared")
    out = tmp_path / "rows.json"
    command = [sys.executable, "benchmarks/curation_confusion.py", str(CORPUS), "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    print(done.stdout)
    rows = json.loads(out.read_text())["rows"]
    positive = {"fullbody-single", "upperbody", "head"}
    negatives = [row for row in rows if row["kind"] not in positive]
    judged = [row for row in rows if row["kind"] in positive and row["verdict"] != "form"]
    kept_out = [row for row in negatives if row["verdict"] != "accepted"]
    assert len(kept_out) / len(negatives) >= 0.8
    assert sum(row["right_reason"] for row in kept_out) / len(negatives) >= 0.8
    assert sum(row["verdict"] == "accepted" for row in judged) / len(judged) >= 0.8
