"""Runs on real Ray clusters: a job over HTTP with token authentication, two nodes of which one
dies, and `kill -9` again and again. Minutes; each starts and ends its own Ray by process id."""

from __future__ import annotations

import hashlib
import os
import random
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

from aa_curation.errors import SharedPathError
from aa_curation.executors.ray_executor import Ray
from aa_curation.executors.run import refuse_relative_in_job, run
from aa_curation.ledger.file import has_ledger, read_ledger
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import read_sources

REPOSITORY = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
DEMO = REPOSITORY / "curation/recipes/demo.py"
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
def by_local_ray(
    small_shards: Recipe, sources_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("local") / "corpus"
    run(small_shards, read_sources([sources_folder]), folder, Ray(workers=4))
    return folder


def _free_ports(count: int) -> list[int]:
    """Outside of Ray's worker ports, 10002 to 19999."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()


class Cluster:
    """A head and more nodes, made by `ray start`; ended by process id, since `ray stop` would end
    every Ray of the machine."""

    def __init__(self) -> None:
        self.port, self.client_port, self.dashboard_port = _free_ports(3)
        # Short: a socket's path may have 107 characters.
        self.folder = tempfile.mkdtemp(prefix="aar", dir="/tmp")
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.nodes: list[list[psutil.Process]] = []

    def start_head(self, *, cpus: int, dashboard: bool) -> None:
        options = [f"--port={self.port}", f"--ray-client-server-port={self.client_port}"]
        options += [f"--include-dashboard={str(dashboard).lower()}", f"--temp-dir={self.folder}"]
        options += ["--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard_port}"]
        self._start(["--head", *options], cpus)

    def add_node(self, *, cpus: int, hidden: Path | None = None) -> None:
        """A node; `hidden` is a folder in whose place it sees an empty one, as another machine."""
        self._start([f"--address=127.0.0.1:{self.port}"], cpus, hidden)

    def _start(self, options: list[str], cpus: int, hidden: Path | None = None) -> None:
        mine = str(self.folder)
        before = {process.pid for process in _processes_of(mine)}
        command = [str(RAY), "start", *options, f"--num-cpus={cpus}", "--disable-usage-stats"]
        command += ["--object-store-memory=80000000"]
        if hidden is not None:
            script = f"mount -t tmpfs none {shlex.quote(str(hidden))} && exec {shlex.join(command)}"
            command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=180)
        self.nodes.append([p for p in _processes_of(mine) if p.pid not in before])

    def kill_node(self, number: int) -> None:
        for process in self.nodes[number]:
            for child in [*_children(process), process]:
                _kill(child)

    def stop(self) -> None:
        for number in range(len(self.nodes)):
            self.kill_node(number)
        for process in _processes_of(str(self.folder)):
            _kill(process)


def _processes_of(folder: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if any(folder in argument for argument in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        yield made
    finally:
        made.stop()


def test_a_relative_folder_inside_a_job_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_relative_in_job(Path("corpus"))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    refuse_relative_in_job(Path("/somewhere/corpus"))
    with pytest.raises(SharedPathError, match="relative inside a Ray job"):
        refuse_relative_in_job(Path("corpus"))


def test_the_upload_of_a_job_holds_every_module(tmp_path: Path) -> None:
    """Folders of a corpus are left out, and packages have folders of the same names."""
    excludes = yaml.safe_load((REPOSITORY / "curation/job.yaml").read_text())["excludes"]
    package = shutil.copytree(REPOSITORY / "curation/aa_curation", tmp_path / "aa_curation")
    for name in ("corpus/clips/a.mp4", "sources/ab/abcd", "corpus/shards/a.tar"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(b"big")
    create_package(
        str(package), tmp_path / "upload.zip", include_gitignore=False, include_parent_dir=True,
        excludes=excludes,
    )  # fmt: skip
    with zipfile.ZipFile(tmp_path / "upload.zip") as upload:
        names = {name for name in upload.namelist() if not name.endswith("/")}
    assert not [name for name in names if name.endswith((".mp4", ".tar", "abcd"))]
    modules = {str(path.relative_to(tmp_path)) for path in package.rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


@pytest.mark.slow
def test_a_job_over_http_makes_the_bytes_of_a_local_run(
    cluster: Cluster, by_local_ray: Path, sources_folder: Path, tmp_path: Path
) -> None:
    cluster.start_head(cpus=2, dashboard=True)
    recipe, out = tmp_path / "recipe.py", tmp_path / "corpus"
    recipe.write_text(RECIPE_FILE)
    address = f"http://127.0.0.1:{cluster.dashboard_port}"

    def submit(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = [
            str(RAY),
            "job",
            "submit",
            "--address",
            address,
            "--working-dir",
            "curation/recipes",
        ]
        command += ["--runtime-env", "curation/job.yaml", "--", sys.executable, "-m", "aa_curation"]
        command += ["run", str(recipe), "--sources", str(sources_folder), "--out", str(folder)]
        deadline = time.monotonic() + 120
        while True:
            done = subprocess.run(
                command,
                cwd=REPOSITORY,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=280,
            )
            # The dashboard answers before the agent that starts jobs is there.
            if "No available agent" not in done.stderr or time.monotonic() > deadline:
                return done
            time.sleep(2)

    relative = submit(Path("corpus"), cluster.environment)
    assert relative.returncode != 0
    assert "relative inside a Ray job" in relative.stdout
    done = submit(out, cluster.environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "5 accepted" in done.stdout
    assert _contents(out) == _contents(by_local_ray)
    stranger = {**cluster.environment, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    refused = submit(tmp_path / "other", stranger)
    assert refused.returncode != 0
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_node_that_dies_in_mid_run_loses_nothing(
    cluster: Cluster, by_local_ray: Path, sources_folder: Path, tmp_path: Path
) -> None:
    cluster.start_head(cpus=1, dashboard=False)
    cluster.add_node(cpus=1)
    recipe, out = tmp_path / "recipe.py", tmp_path / "corpus"
    recipe.write_text(RECIPE_FILE)
    command = [sys.executable, "-m", "aa_curation", "run", str(recipe), "--workers", "2"]
    command += ["--sources", str(sources_folder), "--out", str(out)]
    command += ["--address", f"127.0.0.1:{cluster.port}"]
    process = subprocess.Popen(
        command,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while _decided(out) < 3:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no progress in two minutes"
        time.sleep(0.05)
    cluster.kill_node(1)
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 0, text
    assert "5 accepted" in text
    assert "0 failed" in text
    assert _contents(out) == _contents(by_local_ray)


@pytest.mark.slow
def test_a_node_that_does_not_see_the_corpus_or_the_sources_is_named_before_anything_is_made(
    cluster: Cluster, sources_folder: Path, tmp_path: Path
) -> None:
    apart = ["unshare", "--map-root-user", "--mount", "true"]
    if not shutil.which("unshare") or subprocess.run(apart, check=False).returncode:
        pytest.skip("skipped: no user may make a mount namespace here")
    out = tmp_path / "corpus"
    out.mkdir()
    cluster.start_head(cpus=1, dashboard=False)
    cluster.add_node(cpus=1, hidden=out)
    cluster.add_node(cpus=1, hidden=sources_folder)
    command = [sys.executable, "-m", "aa_curation", "run", str(DEMO), "--sources",
               str(sources_folder), "--out", str(out)]  # fmt: skip
    command += ["--address", f"127.0.0.1:{cluster.port}"]
    done = subprocess.run(
        command, env=cluster.environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 2, done.stdout + done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("aa-curate: error:")]
    assert f"{out} is not shared by every node" in error
    assert error.count("cannot use it: ") == 1
    assert len(re.findall(rf"has no {sources_folder}/\S+, a source", error)) == 1
    assert not read_ledger(out).decisions
    assert not list(out.glob("shards/*"))
    assert not list(out.glob(".shared-*"))


@pytest.mark.slow
def test_kill_minus_nine_at_any_time_any_number_of_times(
    by_local_ray: Path, sources_folder: Path, tmp_path: Path
) -> None:
    seed = int(os.environ.get("AA_KILL_SEED", str(secrets.randbelow(1 << 32))))
    kills = int(os.environ.get("AA_KILLS", "6"))
    print(f"AA_KILL_SEED={seed} AA_KILLS={kills}")
    draw = random.Random(seed)
    recipe, out = tmp_path / "recipe.py", tmp_path / "corpus"
    recipe.write_text(RECIPE_FILE)
    command = [str(Path(sys.executable).with_name("aa-curate")), "run", str(recipe)]
    command += ["--sources", str(sources_folder), "--out", str(out), "--workers", "1"]
    started = time.monotonic()
    subprocess.run(
        [*command[:-3], str(tmp_path / "timed"), "--workers", "1"], check=True, capture_output=True
    )
    whole_s = time.monotonic() - started
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0, whole_s))
        if process.poll() is not None:  # it got through: the next kill is to meet work again
            assert process.returncode == 0
            assert _contents(out) == _contents(by_local_ray)
            shutil.rmtree(out)
            continue
        children = _children(psutil.Process(process.pid))
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, left = psutil.wait_procs(children, timeout=5)
        for child in left:
            _kill(child)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "5 accepted" in done.stdout
    assert _contents(out) == _contents(by_local_ray)
    read_ledger(out).assert_complete()
    again = list(read_ledger(out).sql("SELECT clip_id FROM replaced"))
    assert again == [], "what was recorded is never done again"


def _decided(out: Path) -> int:
    return len(read_ledger(out).decisions) if has_ledger(out) else 0
