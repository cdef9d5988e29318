"""`kill -9` of a run in one process, again and again, and of one that lets a corpus grow."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.ledger.file import has_ledger, read_ledger
from aa_curation.ledger.records import Decision
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import read_sources

REPOSITORY = Path(__file__).parents[3]
RECIPE_FILE = f"""
import dataclasses
from pathlib import Path
from aa_curation.recipe import load_recipe
RECIPE = dataclasses.replace(
    load_recipe(Path({str(REPOSITORY / "curation/recipes/demo.py")!r})), clips_per_shard=2
)
"""


def _contents(folder: Path) -> dict[str, str]:
    files = [*folder.glob("shards/*"), folder / "clips.csv"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _killed(command: list[str], after_s: float) -> bool:
    """Run a command and kill it; whether it was still running."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for child in psutil.wait_procs(children, timeout=5)[1]:
            child.kill()
        return True
    return False


@pytest.mark.slow
def test_a_corpus_that_grows_is_the_same_however_often_it_is_killed(
    small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    seed = int(os.environ.get("AA_KILL_SEED", str(secrets.randbelow(1 << 32))))
    print(f"AA_KILL_SEED={seed}")
    draw, kills = random.Random(seed), int(os.environ.get("AA_KILLS", "4"))
    with (sources_folder / "sources.csv").open() as file:
        head, *rows = csv.reader(file)
    lists = []
    for name, some in (("few", rows[:3]), ("all", rows)):
        path = tmp_path / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(head)
            for row in some:
                given = dict(zip(head, row, strict=True))
                for column in ("location", "pose_file"):
                    if given[column]:
                        given[column] = str(sources_folder / given[column])
                writer.writerow(given.values())
        lists.append(path)
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "corpus"
    started = time.monotonic()
    for path in lists:
        run(small_shards, read_sources([path]), undisturbed, Local())
    whole_s = time.monotonic() - started
    recipe = tmp_path / "recipe.py"
    recipe.write_text(RECIPE_FILE)
    for path in lists:
        command = [sys.executable, "-m", "aa_curation", "run", str(recipe), "--local"]
        command += ["--sources", str(path), "--out", str(out)]
        before: dict[str, Decision] = {}
        for _ in range(kills):
            _killed(command, draw.uniform(0, 2 * whole_s))
            if has_ledger(out):
                before = {d.clip_id: d for d in read_ledger(out).decisions.values()}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        after = read_ledger(out).decisions
        if path == lists[0]:
            assert {name: after[name] for name in before} == before, "what was decided stays"
    assert _contents(out) == _contents(undisturbed)
    read_ledger(out).assert_complete()
    assert read_ledger(out).shard_of == read_ledger(undisturbed).shard_of
