"""`aa-eval` as it is used: folders in, files and a table out; errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aa_eval.cli import main
from aa_eval.result import iter_results, read_result


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """gt, and two predictions of it: `good` has less noise than `bad` on each of 5 videos."""
    draw = np.random.default_rng(0)
    for video in range(5):
        frames = draw.integers(0, 256, (3, 40, 40, 3))
        noise = draw.normal(0, 1, frames.shape)
        for name, sigma in (("gt", 0), ("good", 4), ("bad", 16)):
            folder = tmp_path / name / f"video_{video}"
            folder.mkdir(parents=True)
            noisy = np.clip(frames + sigma * noise, 0, 255).astype(np.uint8)
            for number, frame in enumerate(noisy):
                Image.fromarray(frame).save(folder / f"{number}.png")
    return tmp_path


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_end_to_end_with_baselines_and_compare(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "bad"):
        words = [trees / name, "--references", trees / "gt", "--label", "demo"]
        words += ["--baselines", "white,previous-frame", "--out", trees / "out" / name]
        assert run(*words) == 0
    printed = capsys.readouterr().out
    heading = next(line for line in printed.splitlines() if "ssim" in line)
    assert heading.split()[:3] == ["ssim", "psnr", "psnr_overflow"]
    assert "unavailable: 0 windows" in printed
    good = read_result(trees / "out" / "good")
    assert (good.method, good.label, good.num_frames) == ("good", "demo", 15)
    found = {path.name: r for path, r in iter_results(trees / "out" / "good")}
    assert {n: r.label for n, r in found.items()} == {
        "good": "demo",
        "white": "baseline",
        "previous-frame": "baseline",
    }
    frames = pd.read_csv(trees / "out" / "good" / "per_frame.csv")
    assert len(frames) == 15
    assert frames["psnr"].mean() == pytest.approx(good.metrics["psnr"].value)
    videos = pd.read_csv(trees / "out" / "good" / "per_video.csv")
    assert videos["lpips_alex"].mean() == pytest.approx(good.metrics["lpips_alex"].value)

    assert run("compare", trees / "out" / "good", trees / "out" / "bad") == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("psnr "))
    _, a, b, difference, low, high, p_value, count = line.split()
    assert float(a) - float(b) == pytest.approx(float(difference), abs=1e-3)
    assert 0 < float(low) <= float(difference) <= float(high)
    assert float(p_value) == 2 / 2**5
    assert count == "5"


def test_several_protocols_and_a_benchmark_of_too_few_videos(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["tiktok-disco-2024", "aa-clean-v1"]
    assert run(trees / "good", "--references", trees / "gt", "--benchmark", "tiktok",
               "--baselines", "off", "--out", trees / "out", "--protocol", *names) == 0  # fmt: skip
    for name in names:
        result = read_result(trees / "out" / name)
        assert result.protocol == name
        assert result.overrides == ("benchmark tiktok: 5 of 10 test videos",)
    assert "5 of 10" in capsys.readouterr().err
    words = ["compare", *(trees / "out" / name for name in names)]
    assert run(*words) == 2
    assert "score both under one protocol" in capsys.readouterr().err


def test_keypoints_give_pck(trees: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = np.tile([[0.0, 0.0], [0.0, 30.0], [20.0, 0.0], [20.0, 30.0]], (3, 1, 1))
    for name in ("kp", "kp_gt"):
        (trees / name).mkdir()
        for video in range(5):
            points = reference.copy()
            if name == "kp":
                points[:, 0] += 25  # one of four joints is out of tolerance
            np.savez(trees / name / f"video_{video}.npz", keypoints_px=points,
                     scores=np.ones((3, 4)), size_hw=[40, 40])  # fmt: skip
    words = [trees / "good", "--references", trees / "gt", "--baselines", "off"]
    words += ["--keypoints", trees / "kp", "--reference-keypoints", trees / "kp_gt"]
    words += ["--out", trees / "out"]
    assert run(*words) == 0
    result = read_result(trees / "out")
    assert result.metrics["pck"].value == 0.75
    assert result.per_video["video_0"]["pck"] == 0.75
    (trees / "kp" / "video_3.npz").write_bytes(b"no npz")
    capsys.readouterr()
    assert run(*words) == 2
    assert "video_3.npz: not a keypoints file" in capsys.readouterr().err


def test_check_decodes_nothing_and_names_what_is_wrong(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", trees / "good", "--references", trees / "gt") == 0
    assert "5 pairs, 15 frames" in capsys.readouterr().out
    (trees / "good" / "video_2" / "2.png").unlink()
    assert run("check", trees / "good", "--references", trees / "gt") == 2
    assert "video_2" in capsys.readouterr().err
    words = ["check", trees / "good", "--references", trees / "gt", "--allow", "frame-count"]
    assert run(*words) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--references", "nowhere"], "no such folder"),
        (["nowhere"], "--references"),
        (["nowhere", "--references", "x", "--protocol", "tiktok"], "'tiktok' is unknown"),
        (["nowhere", "--references", "x", "--baselines", "black"], "'black' is unknown"),
        (["nowhere", "--references", "x", "--keypoints", "x"], "belong together"),
        (["nowhere", "--references", "x", "--frobnicate"], "--frobnicate"),
        (["protocols", "show"], "which one"),
        (["compare", "nowhere", "nowhere"], "no such file"),
    ],
)
def test_errors_are_one_line_and_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("aa-eval: error: ")
    assert error.count("\n") == 1
    assert message in error


def test_protocols_and_weights_tell_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("protocols") == 0
    assert capsys.readouterr().out.count("\n") == 4
    assert run("protocols", "show", "aa-clean-v1") == 0
    assert "lpips_alex" in capsys.readouterr().out
    run("weights")
    assert "i3d-k400" in capsys.readouterr().out


def test_result_json_is_plain_json(trees: Path) -> None:
    assert run(trees / "good", "--references", trees / "gt", "--out", trees / "out",
               "--baselines", "off") == 0  # fmt: skip
    row = json.loads((trees / "out" / "result.json").read_text())
    assert row["protocol"] == "aa-clean-v1"
    assert set(row["weights"]) == {"i3d-k400", "lpips-alex"}
