"""The script for a GPU, tried on the CPU at tiny sizes: every part, every row."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "model" / "gpu.py"


def run_script(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_every_part_prints_its_rows() -> None:
    said = run_script(
        "--preset", "tiny", "--sizes", "32", "--frames", "4", "--repeats", "1", "--train", "tiny"
    )
    for row in (
        "bfloat16, in turn with the plain way", "the plain way of peers, in turn",
        "bfloat16, --attention flash", "--attention efficient does not run on cpu",
        "20 guided steps, bfloat16, --deep-cache 3",
        "32: bfloat16, torch.compile", "32: the plain way, in turn with both",
        "tiny, stage 2: 32 px", "32: 4 frames, 20 guided steps", "32: 4 frames, 4 guided steps",
    ):  # fmt: skip
        assert row in said, row


def test_what_begins_too_late_is_left_out_and_said() -> None:
    said = run_script("--minutes", "0", "--parts", "training", "videos", "--sizes", "512")
    assert "videos 512: left out, 0 minutes are over" in said
    assert "training ('base-12gb', '2', 12): left out" in said
