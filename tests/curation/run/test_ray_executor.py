"""The Ray run against a plain loop over the same steps, and after kill -9 in mid-run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from aa_curation.corpus.exact_duplicates import reject_duplicates
from aa_curation.corpus.write_shards import pack
from aa_curation.ledger.ledger import LEDGER_NAME, LedgerWriter, read_ledger
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.run.ray_executor import run
from aa_curation.sources.source_list import read_sources
from aa_curation.steps.worker import Worker
from aa_datasets.shards import read_shards

DEMO = Path(__file__).parents[3] / "curation/recipes/demo.py"
RECIPE_FILE = f"""
import dataclasses
from pathlib import Path
from aa_curation.recipe import load_recipe
RECIPE = dataclasses.replace(load_recipe(Path({str(DEMO)!r})), clips_per_shard=2)
"""


def _contents(folder: Path) -> dict[str, str]:
    files = [*folder.glob("shards/*"), folder / "clips.csv"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def by_plain_loop(
    small_shards: Recipe, sources_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The corpus as a loop without Ray makes it, last source first."""
    folder = tmp_path_factory.mktemp("plain")
    sources = read_sources([sources_folder])
    (folder / "clips").mkdir()
    worker = Worker(small_shards, folder / "clips")
    with LedgerWriter(folder, small_shards.head) as writer:
        for source in reversed(sources):
            writer.add_survey(worker.survey(source))
        for duplicate in reject_duplicates(writer.ledger, sources):
            writer.add_decision(duplicate)
        for source in reversed(sources):
            for planned in writer.ledger.surveys[source.source_id].planned:
                if planned.clip_id not in writer.ledger.decisions:
                    writer.add_decision(worker.curate(planned, source))
        writer.ledger.assert_complete()
        pack(writer.ledger, folder, small_shards.clips_per_shard)
    return folder


def test_the_plain_loop_accepts_the_puppets_and_says_why_not_the_rest(by_plain_loop: Path) -> None:
    ledger = read_ledger(by_plain_loop)
    reasons = {d.source_id: d.reason for d in ledger.decisions.values() if d.status != "accepted"}
    assert reasons == {
        "bad_empty": "unreadable_video",
        "bad_html": "unreadable_video",
        "bad_missing": "unreadable_video",
        "bad_truncated": "unreadable_video",
        "no_licence": "no_licence",
        "short": "too_short",
        "zz_copy": "duplicate",
    }
    assert ledger.funnel()["accepted", ""] == 5
    shards = sorted(by_plain_loop.glob("shards/*.tar"))
    assert [shard.name for shard in shards] == [
        "test-000000.tar",
        "train-000000.tar",
        "train-000001.tar",
    ]
    samples = list(read_shards(shards))
    assert {s.clip.clip_id for s in samples} == {f"puppet_{seed}-0000" for seed in range(5)}
    assert {s.clip.split for s in samples if s.clip.source_id in {"puppet_0", "puppet_3"}} == {
        "test"
    }


def test_two_ray_workers_make_the_bytes_of_the_plain_loop(
    by_plain_loop: Path, small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    sources = read_sources([sources_folder])
    ledger = run(small_shards, sources, tmp_path, workers=2)
    assert ledger.funnel() == read_ledger(by_plain_loop).funnel()
    assert _contents(tmp_path) == _contents(by_plain_loop)
    # Ray's own processes are gone (the decoders' fork server stays with this process).
    left = psutil.Process().children(recursive=True)
    names = [p.name() for p in left if p.pid not in before]
    assert not [n for n in names if n in {"raylet", "gcs_server"} or n.startswith("ray::")], names

    # Run again: nothing to do, nothing done, and Ray is not even started.
    log = (tmp_path / LEDGER_NAME).read_bytes()
    stamps = {file: file.stat().st_mtime_ns for file in tmp_path.glob("shards/*")}
    run(small_shards, sources, tmp_path, workers=2)
    assert (tmp_path / LEDGER_NAME).read_bytes() == log
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("shards/*")} == stamps


def test_a_run_killed_in_the_middle_goes_on_to_the_same_bytes(
    by_plain_loop: Path, sources_folder: Path, tmp_path: Path
) -> None:
    recipe, out = tmp_path / "recipe.py", tmp_path / "corpus"
    recipe.write_text(RECIPE_FILE)
    command = [sys.executable, "-m", "aa_curation", "run", str(recipe)]
    command += ["--sources", str(sources_folder), "--out", str(out), "--workers", "1"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _wait_for(lambda: len(_decided(out)) >= 2, first)
        children = psutil.Process(first.pid).children(recursive=True)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    # Raylet and workers follow their driver at once, Ray's two agents only after minutes.
    _, agents = psutil.wait_procs(children, timeout=5)
    for agent in agents:
        agent.kill()
    before = _decided(out)
    assert 2 <= len(before) < 6, "the run was to be killed in the middle"

    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "5 accepted" in again.stdout
    after = _decided(out)
    assert after[: len(before)] == before, "what was decided stays"
    assert len(after) == len(set(after)) == 6, "no clip is made twice; one is found to be a copy"
    assert not list(out.glob("clips/zz_copy*"))
    assert _contents(out) == _contents(by_plain_loop)


def _decided(out: Path) -> list[str]:
    """Clip ids of the finished clip steps, in the order of the ledger: where puppets are surveyed
    they are made in the same decode."""
    try:
        lines = (out / LEDGER_NAME).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    rows = [json.loads(line) for line in lines]
    ahead = [row["clip_id"] for r in rows if "survey" in r for row in r["survey"]["ahead"]]
    decisions = [row["decision"] for row in rows if "decision" in row]
    made = [decision["clip_id"] for decision in decisions if decision["stage"] == "clip"]
    return ahead + [clip_id for clip_id in made if clip_id not in ahead]


def _wait_for(condition: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, "the run made no progress in two minutes"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_source_that_kills_its_workers_is_a_failed_row(
    sources_folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.py"
    deadly = "lambda video: os._exit(1) if video.num_frames_claimed == 9 else Resolution(1)(video)"
    imports = "import os\nfrom aa_curation.filters.resolution import Resolution"
    replaced = f"RECIPE = dataclasses.replace(RECIPE, video_filters=({deadly},))"
    recipe.write_text(f"{imports}\n{RECIPE_FILE}\n{replaced}\n")
    sources = [
        source
        for source in read_sources([sources_folder])
        if source.source_id in {"short", "puppet_0", "puppet_1"}
    ]
    ledger = run(load_recipe(recipe), sources, tmp_path / "corpus", workers=1)
    assert ledger.funnel() == {("accepted", ""): 2, ("failed", "WorkerDiedError"): 1}
