"""What `from aa_model import ...` offers, and that it stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import aa_model
from aa_datasets.benchmarks.split import TEST_SPLITS
from aa_model.config import Benchmark, StageName
from aa_model.presets import PRESETS, PresetName
from aa_model.training.stages import STAGES

PUBLIC = {
    "AnimateAnyone", "AnimateOptions", "AnimatePipeline", "GenerateConfig", "ModelConfig",
    "ModelError", "PRESETS", "PrecomputeOptions", "TrainConfig", "TrainOptions", "animate_photo",
    "animate_shards", "export_moore", "import_animatediff", "import_moore",
    "import_stable_diffusion", "precompute", "read_checkpoint", "read_model", "train_stage",
    "write_checkpoint",
}  # fmt: skip


def test_the_public_names_are_these_and_each_is_documented() -> None:
    assert set(aa_model.__all__) == set(dir(aa_model)) == PUBLIC
    for name in PUBLIC - {"PRESETS"}:
        exported = getattr(aa_model, name)
        assert exported.__name__ == name
        assert exported.__doc__
        assert not exported.__doc__.startswith(f"{name}(")  # what a dataclass writes of itself


def test_type_checkers_see_the_same_names() -> None:
    source = Path(aa_model.__file__).read_text()
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {
        (f"{node.module}", alias.name, alias.asname)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {(f"aa_model.{aa_model._MODULE_OF[n]}", n, n) for n in PUBLIC}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train_stagge'"):
        aa_model.train_stagge  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import aa_model",
        "from aa_model import PRESETS, AnimateOptions, TrainConfig, TrainOptions",
        "from aa_model.cli import animate, model, train, ui",
    ],
)
def test_options_and_commands_are_imported_without_torch(code: str) -> None:
    heavy = {"torch", "diffusers", "transformers", "cv2", "av", "numpy"}
    script = f"import sys\n{code}\nsys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_animation_by_pose_files_is_imported_where_there_is_no_fcntl() -> None:
    """As on Windows."""
    script = "import sys; sys.modules['fcntl'] = None; import aa_model.inference.animate_photo"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_choices_on_the_command_line_are_what_there_is() -> None:
    assert set(get_args(PresetName)) == set(PRESETS)
    assert set(get_args(StageName)) == set(STAGES)
    assert set(get_args(Benchmark)) == set(TEST_SPLITS)
