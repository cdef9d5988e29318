"""The release build: wheel and sdist with their data, installed and run without the checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("datasets", "curation", "model", "eval", "leaderboard")
DATA = {".toml", ".csv", ".txt", ".json", ".j2", ".css", ".js", ".html", ".typed", ".py", ".pyi"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built from the tracked files."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def _tracked_files_of_packages() -> set[str]:
    files = {
        str(path.relative_to(ROOT / room))
        for room in ROOMS
        for path in (ROOT / room / f"aa_{room}").rglob("*")
        if path.is_file() and path.suffix in DATA and "__pycache__" not in path.parts
    }
    recipes = (ROOT / "curation" / "recipes").iterdir()
    return files | {f"aa_curation/recipes/{path.name}" for path in recipes if path.is_file()}


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_data_file(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == _tracked_files_of_packages()
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"} <= names
    assert not any(name.startswith((".venv", "demo-out", "site/")) for name in names)


@pytest.mark.slow
def test_the_installed_wheel_runs_without_the_checkout(dist: Path, tmp_path: Path) -> None:
    """In an environment of its own, which sees the dependencies of this one but not its code."""
    (wheel,) = dist.glob("*.whl")
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    bin_ = home / "bin"
    _run(tmp_path, bin_ / "python", "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    (site,) = (home / "lib").glob("python*/site-packages")
    own = Path(str(metadata.distribution("numpy").locate_file("")))
    # Behind its own packages, and without following .pth files: an editable install stays unseen.
    (site / "dependencies.pth").write_text(f"{own}\n")
    version = metadata.version("animate-anyone-toolkit")
    assert version in _run(tmp_path, bin_ / "aa-eval", "--version")
    assert "aa-clean-v1" in _run(tmp_path, bin_ / "aa-eval", "protocols")
    assert "--sources" in _run(tmp_path, bin_ / "aa-curate", "run", "default", "--help")
    assert "Animate Anyone" in _run(tmp_path, bin_ / "aa-leaderboard", "table", 2)
    _run(tmp_path, bin_ / "aa-leaderboard", "render", "--out", "page")
    assert (tmp_path / "page" / "index.html").stat().st_size > 10_000
    _run(tmp_path, bin_ / "aa-datasets", "puppets", "--out", "puppets", "--count", 1, "--frames", 8)
    assert (tmp_path / "puppets" / "sources.csv").is_file()
    where = "import aa_eval, pathlib; print(pathlib.Path(aa_eval.__file__).is_relative_to('env'))"
    code = where.replace("'env'", repr(str(home)))
    assert _run(tmp_path, bin_ / "python", "-c", code).strip() == "True"


def _run(folder: Path, *words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    return done.stdout
