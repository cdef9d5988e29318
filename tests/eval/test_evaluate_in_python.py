"""What `evaluate` returns in Python, takes and refuses."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import aa_eval
from aa_eval import EvalError, EvaluateOptions, evaluate, read_result, write_result


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """predictions and references of two videos, 3 frames of 32 px each."""
    draw = np.random.default_rng(0)
    for video in ("a", "b"):
        frames = draw.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        for name, change in (("predictions", 4), ("references", 0)):
            (tmp_path / name / video).mkdir(parents=True)
            for number, frame in enumerate(frames, 1):
                image = Image.fromarray(np.maximum(frame, change))
                image.save(tmp_path / name / video / f"{number}.png")
    return tmp_path / "predictions", tmp_path / "references"


def test_evaluate_returns_results_whose_frames_agree_with_each_other(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = evaluate(*folders, protocols=("tiktok-disco-2023",), baselines="white", out=out)
    assert [(r.method, r.label) for r in found] == [
        ("predictions", "measured"),
        ("white", "baseline"),
    ]
    result = found[0]
    table = result.to_frame().set_index("metric")
    assert list(table.index) == list(result.metrics)
    assert table.loc["psnr", "value"] == result.metrics["psnr"].value
    assert "0 windows" in table.loc["fvd", "unavailable"]
    frames, videos = result.per_frame_frame(), result.per_video_frame()
    assert list(frames.columns[:2]) == ["video", "frame"]
    assert list(frames["frame"]) == [1, 2, 3] * 2
    of_videos = frames.groupby("video")["psnr"].mean()
    assert list(of_videos) == pytest.approx(list(videos["psnr"]), rel=1e-12)
    assert frames["psnr"].mean() == pytest.approx(result.metrics["psnr"].value, rel=1e-12)
    again = read_result(out)
    assert again == result
    pd.testing.assert_frame_equal(again.per_frame_frame(), frames)
    (out / "per_frame.csv").unlink()
    with pytest.raises(EvalError, match=r"per_frame\.csv is missing"):
        again.per_frame_frame()
    before = (out / "result.json").read_bytes()
    write_result(out, again)  # to the byte
    assert (out / "result.json").read_bytes() == before


def test_evaluate_takes_strings_and_refuses_before_the_work(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    predictions, references = map(str, folders)
    with pytest.raises(EvalError, match="--method white: the name of a trivial baseline"):
        evaluate(predictions, references, method="white")
    with pytest.raises(EvalError, match="PREDICTIONS is missing"):
        evaluate(None)
    with pytest.raises(EvalError, match="references' own files"):
        evaluate(references, references)
    with pytest.raises(TypeError, match="frobnicate"):
        evaluate(predictions, frobnicate=1)  # type: ignore[call-arg]


def test_every_option_has_a_meaning() -> None:
    source = Path(aa_eval.__file__).with_name("options.py").read_text()
    for option in fields(EvaluateOptions):
        after = source.split(f"    {option.name}: ")[1].split('\n    """')
        assert len(after) > 1, option.name
