"""What each package exports: the lines a user types first, and that they cost little."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

NAMES = {
    "aa_eval": ["evaluate", "Result", "compare", "read_result", "read_protocol", "list_protocols",
                "read_benchmark"],
    "aa_model": ["AnimatePipeline", "AnimateAnyone", "PRESETS", "train_stage", "TrainOptions",
                 "precompute", "animate_shards"],
    "aa_curation": ["run", "Recipe", "read_sources", "read_ledger", "Local", "Ray"],
    "aa_datasets": ["make_loader", "LoaderConfig", "read_shards", "write_shard", "Clip", "Pose",
                    "draw_pose", "render_puppets"],
    "aa_leaderboard": ["read_board", "rows_frame", "render"],
}  # fmt: skip
HEAVY = ("torch", "pandas", "ray", "diffusers", "cv2")


@pytest.mark.parametrize("package", NAMES)
def test_the_names_of_a_package_are_imported_by_one_line(package: str) -> None:
    line = f"from {package} import {', '.join(NAMES[package])}"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", NAMES)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    code = f"import sys, {package}; print(*set({HEAVY!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", NAMES)
def test_every_exported_name_exists_and_is_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert set(NAMES[package]) <= set(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type | FunctionType):
            assert value.__doc__, f"{package}.{name}"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("package", NAMES)
def test_the_page_of_a_package_lists_exactly_its_names(package: str) -> None:
    page = Path(__file__).parents[1] / "docs" / "api" / f"{package}.md"
    listed = re.findall(rf"^::: {package}\.(\w+)$", page.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", NAMES)
def test_where_a_path_is_taken_a_string_is_too(package: str) -> None:
    module = importlib.import_module(package)
    functions = [f for name in module.__all__ if inspect.isfunction(f := getattr(module, name))]
    only_paths = [
        f"{function.__name__}({parameter.name}: {parameter.annotation})"
        for function in functions
        for parameter in inspect.signature(function).parameters.values()
        if re.search(r"\bPath\b", annotation := str(parameter.annotation))
        and not re.search(r"\bPath \| str\b|\bstr \| Path\b", annotation)
    ]
    assert only_paths == []
