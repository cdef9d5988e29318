"""The layout holds: rooms are no packages, tests shadow no package, no module is a drawer."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("datasets", "curation", "model", "eval", "leaderboard")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_folder_with_one_typed_package(room: str) -> None:
    assert not (ROOT / room / "__init__.py").exists()
    assert (ROOT / room / f"aa_{room}" / "py.typed").is_file()
    assert (ROOT / room / "README.md").is_file()
    packages = [path.parent.name for path in (ROOT / room).glob("*/__init__.py")]
    assert packages == [f"aa_{room}"]


def test_no_package_below_tests() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_room_has_an_extra_and_every_command_a_main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(ROOMS) <= set(project["optional-dependencies"])
    for target in project["scripts"].values():
        module, function = target.split(":")
        room = module.split(".")[0].removeprefix("aa_")
        source = ROOT / room / Path(*module.split(".")).with_suffix(".py")
        tree = ast.parse(source.read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_eval_asks_for_none_of_the_heavy_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = " ".join(project["dependencies"] + project["optional-dependencies"]["eval"])
    for package in ("ray", "diffusers", "webdataset", "decord", "opencv"):
        assert package not in wanted


def test_there_is_one_opencv_the_one_that_needs_no_screen() -> None:
    """opencv-python would put its files over the headless ones, and they need libGL."""
    assert metadata.version("opencv-python-headless")
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("opencv-python")


def _modules() -> list[Path]:
    return [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]


def test_the_steps_of_curation_are_free_of_ray() -> None:
    modules = (ROOT / "curation/aa_curation").rglob("*.py")
    imports_ray = re.compile(r"^\s*(import|from) ray\b", re.MULTILINE)
    with_ray = {path.name for path in modules if imports_ray.search(path.read_text())}
    assert with_ray == {"ray_executor.py", "ray_fetchers.py", "shared_path.py"}


def test_there_is_no_drawer_for_everything() -> None:
    assert {p.stem for p in _modules()} & {"utils", "util", "helpers", "common", "misc"} == set()
