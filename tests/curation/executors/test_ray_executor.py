"""Two executors of one run, Ray and this process, make the same bytes, also after kill -9."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from aa_curation.executors.local import Local
from aa_curation.executors.ray_executor import Ray
from aa_curation.executors.run import run
from aa_curation.ledger.file import LEDGER_NAME, has_ledger, read_ledger
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources.source_list import read_sources
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
def by_local(
    small_shards: Recipe, sources_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The corpus as one process without Ray makes it, last source first."""
    folder = tmp_path_factory.mktemp("local") / "corpus"
    run(small_shards, read_sources([sources_folder])[::-1], folder, Local())
    return folder


def test_a_local_run_accepts_the_puppets_and_says_why_not_the_rest(by_local: Path) -> None:
    ledger = read_ledger(by_local)
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
    shards = sorted(by_local.glob("shards/*.tar"))
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


def test_two_ray_workers_make_the_bytes_of_a_local_run(
    by_local: Path, small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    sources = read_sources([sources_folder])
    ledger = run(small_shards, sources, tmp_path, Ray(workers=2))
    assert ledger.funnel() == read_ledger(by_local).funnel()
    assert _contents(tmp_path) == _contents(by_local)
    # Ray's own processes are gone (the decoders' fork server stays with this process).
    left = psutil.Process().children(recursive=True)
    names = [p.name() for p in left if p.pid not in before]
    assert not [n for n in names if n in {"raylet", "gcs_server"} or n.startswith("ray::")], names

    # Run again: nothing to do, nothing done, and Ray is not even started.
    log = (tmp_path / LEDGER_NAME).read_bytes()
    stamps = {file: file.stat().st_mtime_ns for file in tmp_path.glob("shards/*")}
    run(small_shards, sources, tmp_path, Ray(workers=2))
    assert (tmp_path / LEDGER_NAME).read_bytes() == log
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("shards/*")} == stamps


@pytest.mark.parametrize(
    "where",
    [["--local"], pytest.param(["--workers", "1"], marks=pytest.mark.slow)],
    ids=["local", "ray"],
)
def test_a_run_killed_in_the_middle_resumes_to_the_same_bytes(
    by_local: Path, sources_folder: Path, tmp_path: Path, where: list[str]
) -> None:
    recipe, out = tmp_path / "recipe.py", tmp_path / "corpus"
    recipe.write_text(RECIPE_FILE)
    command = [sys.executable, "-m", "aa_curation", "run", str(recipe)]
    command += ["--sources", str(sources_folder), "--out", str(out), *where]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        # By files: the ledger commits several clips at once.
        _wait_for(lambda: len({file.stem for file in out.glob("clips/*")}) >= 2, first)
        children = psutil.Process(first.pid).children(recursive=True)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    # Raylet and workers follow their driver at once, Ray's two agents only after minutes.
    _, agents = psutil.wait_procs(children, timeout=5)
    for agent in agents:
        agent.kill()
    before = _decided(out)
    assert len(before) < 5, "the run was to be killed in the middle"

    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "5 accepted" in again.stdout
    after = _decided(out)
    assert after[: len(before)] == before, "what was decided stays"
    assert len(after) == len(set(after)) == 5, "no clip is made twice, a copy not once"
    assert not list(out.glob("clips/zz_copy*"))
    assert _contents(out) == _contents(by_local)


@pytest.mark.slow
def test_a_worker_that_curates_several_clips_at_once_makes_the_same_bytes(
    by_local: Path, small_shards: Recipe, sources_folder: Path, tmp_path: Path
) -> None:
    run(small_shards, read_sources([sources_folder]), tmp_path, Ray(workers=1, clips_at_once=3))
    assert _contents(tmp_path) == _contents(by_local)


def _decided(out: Path) -> list[str]:
    """Clip ids of the finished clip steps, in the order of the ledger."""
    if not has_ledger(out):
        return []
    query = "SELECT clip_id FROM clips WHERE stage = 'clip' ORDER BY rowid"
    return [clip_id for (clip_id,) in read_ledger(out).sql(query)]


def _wait_for(condition: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, "the run made no progress in five minutes"
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
    ledger = run(load_recipe(recipe), sources, tmp_path / "corpus", Ray(workers=1))
    assert ledger.funnel() == {("accepted", ""): 2, ("failed", "WorkerDiedError"): 1}
