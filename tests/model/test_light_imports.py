"""What commands take without loading torch, and where animation can be imported."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

from aa_datasets.benchmarks.split import TEST_SPLITS
from aa_model.config import Benchmark, StageName
from aa_model.presets import PRESETS, PresetName
from aa_model.training.stages import STAGES


def test_animation_by_pose_files_is_imported_where_there_is_no_fcntl() -> None:
    """As on Windows."""
    script = "import sys; sys.modules['fcntl'] = None; import aa_model.inference.animate_photo"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_choices_on_the_command_line_are_what_there_is() -> None:
    assert set(get_args(PresetName)) == set(PRESETS)
    assert set(get_args(StageName)) == set(STAGES)
    assert set(get_args(Benchmark)) == set(TEST_SPLITS)
