"""Every example runs without arguments in an empty folder, is short, and prints something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parents[1].glob("examples/*.py"))
EXPECTED = {"evaluate_in_python", "load_shards", "animate_in_python", "train_in_python",
            "curate_without_ray", "add_a_metric", "add_a_filter"}  # fmt: skip


def test_there_is_an_example_for_each_room() -> None:
    assert {path.stem for path in EXAMPLES} >= EXPECTED


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_in_an_empty_folder(example: Path, tmp_path: Path) -> None:
    assert len(example.read_text().splitlines()) < 40
    done = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr
