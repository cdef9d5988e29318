"""Drift over long videos: the slope of a line, and its interval over videos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aa_eval import drift, read_result
from aa_eval.cli.main import main
from aa_eval.errors import ResultError
from aa_eval.segments import drift_of_frames


def table(slopes: list[float], frames: int = 50, noise: float = 0.0) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame({
            "video": f"v{i}",
            "frame": np.arange(frames) + 7,
            "ssim": 0.9 + slope * np.arange(frames) + noise * draw.normal(size=frames),
        })
        for i, slope in enumerate(slopes)
    )  # fmt: skip


def test_a_line_has_its_own_slope_and_the_means_of_its_parts() -> None:
    (found,) = drift_of_frames(table([-0.001, -0.002, -0.003]), 5)
    assert found.slope == pytest.approx(-0.2)  # of 100 frames
    assert -0.301 < found.ci_low < -0.2 < found.ci_high < -0.099  # three videos: their own slopes
    assert found.is_clear
    expected = [0.9 - 0.002 * (4.5 + 10 * part) for part in range(5)]
    np.testing.assert_allclose(found.segments, expected)


def test_noise_alone_is_no_clear_drift_and_two_videos_have_no_interval() -> None:
    (found,) = drift_of_frames(table([0.0] * 10, noise=0.05), 4)
    assert not found.is_clear
    (two,) = drift_of_frames(table([-0.001, -0.001]), 4)
    assert (two.ci_low, two.ci_high, two.num_videos) == (None, None, 2)


def test_frames_that_were_not_scored_and_gaps_in_the_numbers_keep_their_place() -> None:
    frames = table([-0.001, -0.001, -0.001], frames=60)
    whole = drift_of_frames(frames, 3)[0]
    frames.loc[frames["frame"] % 4 == 0, "ssim"] = np.nan
    holes = drift_of_frames(frames[frames["frame"] % 7 != 1], 3)[0]
    assert holes.slope == pytest.approx(whole.slope)
    frames.loc[frames["frame"] < 7 + 20, "ssim"] = np.nan
    assert drift_of_frames(frames, 3)[0].segments[0] is None
    frames["ssim"] = np.nan
    assert drift_of_frames(frames, 3) == []


def test_the_command_shows_that_a_video_darkens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(0)
    for video in "abc":
        for name in ("references", "predictions"):
            (tmp_path / name / video).mkdir(parents=True)
        for t in range(12):
            frame = draw.integers(60, 200, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(frame).save(tmp_path / "references" / video / f"{t}.png")
            Image.fromarray(frame - np.uint8(2 * t)).save(
                tmp_path / "predictions" / video / f"{t}.png"
            )
    protocol = tmp_path / "level.toml"
    protocol.write_text(
        'name = "level"\nversion = "1"\ndescription = ""\nsource = ""\nsize_mismatch_resize = '
        '"bilinear-uint8"\nscore_reference_frame = true\naggregation = "videos"\npck_alpha = 0.1\n'
        'identical_psnr_db = 100.0\n[[metrics]]\nkey = "l1"\nkind = "l1"\n'
    )
    words = [str(tmp_path / "predictions"), "--references", str(tmp_path / "references")]
    words += ["--protocol", str(protocol), "--baselines", "off", "--cache", "off"]
    out = tmp_path / "out"
    assert main([*words, "--out", str(out), "--segments", "3"]) == 0
    printed = capsys.readouterr().out
    line = printed.splitlines()[-3]
    assert line.split()[:5] == ["L1", "↓", "3", "11", "19"]
    assert "+200" in line
    assert line.endswith("worse")
    (found,) = drift(read_result(out), 2)
    assert found.segments == pytest.approx((5, 17))
    with pytest.raises(ResultError, match="1 segments: expected 2 at least"):
        drift(read_result(out), 1)
    with pytest.raises(ResultError, match="no values per frame"):
        drift(replace(read_result(out), folder=None))
    assert main([*words, "--segments", "1"]) == 2
    assert "--segments 1: expected 2 at least" in capsys.readouterr().err
