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

FIRST = {
    "aa_eval": ["evaluate", "Result", "compare", "read_result", "read_protocol", "list_protocols",
                "read_benchmark"],
    "aa_model": ["AnimatePipeline", "AnimateAnyone", "PRESETS", "train_stage", "TrainOptions",
                 "precompute", "animate_shards"],
    "aa_curation": ["run", "Recipe", "read_sources", "read_ledger", "Local", "Ray"],
    "aa_datasets": ["make_loader", "LoaderConfig", "read_shards", "write_shard", "Clip", "Pose",
                    "draw_pose", "render_puppets"],
    "aa_leaderboard": ["read_board", "rows_frame", "render", "Row"],
}  # fmt: skip
HEAVY = {
    "torch", "diffusers", "transformers", "ray", "pandas", "numpy", "scipy", "cv2", "av", "decord",
    "webdataset", "onnxruntime", "ai_edge_litert", "matplotlib", "PIL", "jinja2",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Which heavy packages a new process has loaded after `code`."""
    script = f"import sys\n{code}\nprint(*{HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("package", FIRST)
def test_the_first_names_of_a_package_are_imported_by_one_line(package: str) -> None:
    loaded_by(f"from {package} import {', '.join(FIRST[package])}")


@pytest.mark.parametrize(
    ("code", "needed"),
    [(f"import {package}", set()) for package in FIRST]
    + [
        (
            "from aa_eval import evaluate, compare, read_result, ssim, fvd",
            {"numpy", "scipy", "av", "PIL", "cv2"},
        ),
        ("from aa_model import PRESETS, AnimateOptions, TrainConfig, TrainOptions", set()),
        ("from aa_model.cli import animate, model, train, ui", set()),
        ("import aa_leaderboard.cli", {"numpy"}),
        ("import aa_leaderboard.table", {"numpy"}),
    ],
)
def test_importing_loads_nothing_heavy_but_what_is_needed(code: str, needed: set[str]) -> None:
    assert loaded_by(code) <= needed


@pytest.mark.parametrize("package", FIRST)
def test_every_exported_name_exists_and_is_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert set(FIRST[package]) <= set(module.__all__)
    assert dir(module) == module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, type | FunctionType):
            assert value.__doc__, f"{package}.{name}"
            assert not value.__doc__.startswith(f"{name}(")  # what a dataclass writes of itself
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("package", FIRST)
def test_the_page_of_a_package_lists_exactly_its_names(package: str) -> None:
    page = Path(__file__).parents[1] / "docs" / "api" / f"{package}.md"
    listed = re.findall(rf"^::: {package}\.(\w+)$", page.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", FIRST)
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
