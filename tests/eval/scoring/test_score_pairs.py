"""Result on known answers, on what must be refused, and under changes that must not matter."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from aa_eval.errors import PairingError, VideoError
from aa_eval.protocol import Protocol, parse_protocol, read_protocol
from aa_eval.result import Result, read_result, write_result
from aa_eval.scoring.feature_windows import window_starts
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import make_pairs
from aa_eval.weights import weight_files as weights

SHARED = Path(__file__).parents[3] / "../shared/cases"


def write_frames(folder: Path, frames: np.ndarray, first: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start=first):
        Image.fromarray(frame).save(folder / f"{number:04}.png")


def random_frames(seed: int, count: int = 5, side: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """Three videos of 5, 6 and 7 frames: predictions are noisy references."""
    for index, video in enumerate("abc"):
        frames = random_frames(index, 5 + index)
        noisy = np.clip(frames.astype(int) + random_frames(index + 9, 5 + index) // 8, 0, 255)
        write_frames(tmp_path / "gt" / video, frames)
        write_frames(tmp_path / "gen" / video, noisy.astype(np.uint8))
    return tmp_path / "gen", tmp_path / "gt"


def pixel_protocol() -> Protocol:
    """aa-clean-v1's pixel metrics alone: no network to load."""
    text = """
name = "pixels"
version = "1"
description = ""
source = ""
score_reference_frame = true
aggregation = "frames"
identical_psnr_db = 100.0
size_mismatch_resize = "bilinear-uint8"
pck_alpha = 0.1
"""
    kinds = {"ssim": "ssim_grey_uniform7", "ssim_colour": "ssim_colour_gaussian", "psnr": "psnr",
             "psnr_overflow": "psnr_uint8_overflow", "l1": "l1_per_pixel_count"}  # fmt: skip
    for key, kind in kinds.items():
        text += f'[[metrics]]\nkey = "{key}"\nkind = "{kind}"\n'
    return parse_protocol(text, "pixels")


def score(gen: Path, gt: Path, protocol: Protocol | None = None, **options: object) -> Result:
    pairs, _ = make_pairs(find_videos(gen), find_videos(gt))
    return score_pairs(pairs, [protocol or pixel_protocol()], method="m", **options)[0]  # type: ignore[arg-type]  # options are evaluate's


def test_bdmm_s_l1_is_a_float32_mean_of_float32_frames(trees: tuple[Path, Path]) -> None:
    bdmm = read_protocol("ubc-bdmm")
    l1 = next(metric for metric in bdmm.metrics if metric.key == "l1")
    found = score(*trees, replace(bdmm, metrics=(l1,), video_features=None))
    of_frames = []
    for gen, gt in zip(*(sorted(tree.rglob("*.png")) for tree in trees), strict=True):
        a, b = (np.asarray(Image.open(file)).astype(np.float32) for file in (gen, gt))
        of_frames.append(np.abs(2 * (b / 255.0 - 0.5) - 2 * (a / 255.0 - 0.5)).mean())
    assert found.metrics["l1"].value == float(np.mean(of_frames))  # to the last bit


@pytest.mark.skipif(not SHARED.is_dir(), reason="skipped: no ../shared")
def test_discos_own_code_gives_these_on_photographs() -> None:
    expected = {
        "l1": 3.2810824147115153e-4,
        "ssim": 0.5481606520271596,
        "psnr": 16.113460497879057,
        "psnr_overflow": 29.503361303688667,
        "ssim_colour": 0.47312624392321206,
    }
    metrics = score(SHARED / "c01_natural/gen", SHARED / "c01_natural/gt").metrics
    for key, value in expected.items():
        assert metrics[key].value == pytest.approx(value, rel=1e-12)


def test_discos_own_code_gives_these_where_uint8_wraps(tmp_path: Path) -> None:
    """A ramp, and the same ramp lighter by so many levels in each frame: case c04."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None], (64, 64, 3))
    lighter = np.array([1, 15, 16, 17, 32, 64, 128, 191], np.uint8)
    write_frames(tmp_path / "gt" / "a", np.stack([ramp] * 8))
    write_frames(tmp_path / "gen" / "a", ramp + lighter[:, None, None, None])
    expected = {
        "l1": 0.01416015625,
        "ssim": 0.6806209549917811,
        "psnr": 19.855219977955933,
        "psnr_overflow": 66.58879409397892,
    }
    metrics = score(tmp_path / "gen", tmp_path / "gt").metrics
    for key, value in expected.items():
        assert metrics[key].value == pytest.approx(value, rel=1e-12)


def test_discos_windows_of_24_and_of_20_frames_are_9_and_5(tmp_path: Path) -> None:
    spec = read_protocol("tiktok-disco-2023").video_features
    assert spec is not None
    for video, count in (("a", 24), ("b", 20)):
        write_frames(tmp_path / "gt" / video, np.zeros((count, 8, 8, 3), np.uint8))
    pairs, _ = make_pairs(None, find_videos(tmp_path / "gt"))
    starts = [window_starts(p.frame_numbers, spec.window_frames, spec.window_stride) for p in pairs]
    assert [list(found) for found in starts] == [list(range(9)), list(range(5))]


def test_the_reference_frame_is_not_scored_where_the_protocol_says_so(
    trees: tuple[Path, Path],
) -> None:
    gen, gt = trees
    protocol = pixel_protocol()
    for video in "abc":  # a method that returns the frame it was given
        shutil.copy(gt / video / "0001.png", gen / video / "0001.png")
    counted = score(gen, gt, protocol).metrics["psnr"]
    skipped = score(gen, gt, replace(protocol, score_reference_frame=False))
    metric = skipped.metrics["psnr"]
    assert (counted.n, metric.n) == (18, 15)
    assert "zero error (in its arithmetic), counted as 100 dB: 3" in (counted.note or "")
    assert metric.note is None
    every = np.concatenate([v["psnr"][1:] for v in skipped.per_frame.values()])
    assert metric.value == pytest.approx(every.mean(), rel=1e-12)
    assert counted.value == pytest.approx((every.sum() + 300) / 18, rel=1e-12)
    assert all(np.isnan(v["psnr"][0]) for v in skipped.per_frame.values())
    assert not read_protocol("aa-clean-v1").score_reference_frame


def test_a_metric_without_value_for_a_baseline_keeps_its_value_for_the_method(
    trees: tuple[Path, Path],
) -> None:
    protocol = replace(read_protocol("ubc-bdmm"), metrics=read_protocol("ubc-bdmm").metrics[:3])
    pairs, _ = make_pairs(*(find_videos(tree) for tree in trees))
    method, grey = score_pairs(pairs, [protocol], method="m", baselines=["mid-grey"])
    assert 0 < (method.metrics["ssim"].value or 0) < 1
    assert "'a': a predicted frame is constant" in (grey.metrics["ssim"].unavailable or "")
    assert grey.metrics["psnr"].value is not None


def test_identical_frames_get_the_protocols_value(trees: tuple[Path, Path]) -> None:
    metrics = score(trees[1], trees[1]).metrics
    assert metrics["psnr"].value == metrics["psnr_overflow"].value == 100.0
    assert metrics["ssim"].value == pytest.approx(1, abs=1e-12)
    assert metrics["ssim_colour"].value == pytest.approx(1, abs=1e-12)
    assert metrics["l1"].value == 0
    assert "zero error (in its arithmetic), counted as 100 dB: 18" in (metrics["psnr"].note or "")


def test_names_and_order_of_videos_do_not_matter(trees: tuple[Path, Path], tmp_path: Path) -> None:
    before = score(*trees)
    for tree in trees:
        for old, new in (("a", "z"), ("b", "a"), ("c", "b")):
            (tree / old).rename(tree / new)
    after = score(*trees)
    for key, metric in before.metrics.items():
        assert after.metrics[key].value == pytest.approx(metric.value, rel=1e-14)
    assert after.per_video["z"] == before.per_video["a"]


def test_aggregation_over_frames_is_the_mean_of_all_frames(trees: tuple[Path, Path]) -> None:
    evaluation = score(*trees)
    every = np.concatenate([values["psnr"] for values in evaluation.per_frame.values()])
    metric = evaluation.metrics["psnr"]
    assert metric.n == len(every) == 18
    assert metric.value == pytest.approx(every.mean(), rel=1e-14)
    assert metric.ci_low is not None
    assert metric.ci_high is not None
    assert metric.ci_low < every.mean() < metric.ci_high


def test_fvd_of_real_i3d_and_its_reasons(tmp_path: Path) -> None:
    for video in "ab":
        write_frames(tmp_path / "gt" / video, random_frames(ord(video), 16))
    write_frames(tmp_path / "one" / "a", random_frames(1, 16))
    clean = read_protocol("aa-clean-v1")
    cheap = ("psnr", "lpips_alex", "fvd", "kvd")  # VGG takes seconds for each frame
    clean = replace(clean, metrics=tuple(m for m in clean.metrics if m.key in cheap))
    newer = read_protocol("aa-clean-v2")
    newer = replace(newer, metrics=tuple(m for m in newer.metrics if m.key == "kvd"))
    pairs, _ = make_pairs(find_videos(tmp_path / "gt"), find_videos(tmp_path / "gt"))
    same, white = score_pairs(pairs, [clean], method="same", baselines=["white"])
    fvd = same.metrics["fvd"]
    assert fvd.value == pytest.approx(0, abs=1e-6)
    assert fvd.n == 2
    assert fvd.note == "rank-deficient: N = 2 <= d = 400"
    assert same.metrics["kvd"].note == "noisy: N = 2 < 50 windows"
    (again,) = score_pairs(pairs, [newer], method="same")
    assert again.metrics["kvd"].value == 0.0
    assert again.metrics["kvd"].note == "not ranked: 2 videos < 10"
    assert (white.metrics["fvd"].value or 0) > 1
    assert white.label == "baseline"
    assert same.metrics["lpips_alex"].value == 0
    one = score(tmp_path / "one", tmp_path / "one", clean).metrics
    assert one["fvd"].value is None
    assert "1 window of 16" in (one["fvd"].unavailable or "")
    assert one["psnr"].value == 100


def test_altered_weight_makes_its_metrics_unavailable_and_no_other(
    trees: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrupt = tmp_path / "corrupt.ckpt"
    corrupt.write_bytes(b"not what was trained")
    monkeypatch.setattr(weights, "find_weight", lambda name, path=None: corrupt)
    result = score(*trees, read_protocol("aa-clean-v1"))
    for key in ("lpips_alex", "lpips_vgg", "fvd", "kvd"):
        assert result.metrics[key].value is None
        assert "has sha256" in (result.metrics[key].unavailable or "")
    assert result.metrics["psnr"].value is not None
    assert result.weights == {}
    assert result.per_video["a"]["lpips_alex"] is None


def test_too_small_frames_make_a_metric_unavailable(tmp_path: Path) -> None:
    write_frames(tmp_path / "gt" / "a", random_frames(0, 2, side=8))
    metrics = score(tmp_path / "gt", tmp_path / "gt").metrics
    assert "'a': frames of 8x8" in (metrics["ssim_colour"].unavailable or "")
    assert metrics["ssim"].value == pytest.approx(1)


@pytest.mark.parametrize(
    ("gone", "named"),
    [((1, 2, 3), r"missing: 1, 2, 3\)"), ((1, 2, 3, 4), r"missing: 1, 2, 3, \.\.\.")],
)
def test_the_first_three_missing_frames_are_named(
    tmp_path: Path, gone: tuple[int, ...], named: str
) -> None:
    for side in ("gen", "gt"):
        write_frames(tmp_path / side / "a", random_frames(0, 6))
    for number in gone:
        (tmp_path / "gen" / "a" / f"{number:04d}.png").unlink()
    with pytest.raises(PairingError, match=named):
        score(tmp_path / "gen", tmp_path / "gt")


def test_missing_video_gap_and_size_are_refused_by_name(trees: tuple[Path, Path]) -> None:
    gen, gt = trees
    (gen / "b" / "0003.png").unlink()
    with pytest.raises(PairingError, match=r"'b'.*missing: 3.*--allow"):
        score(gen, gt)
    (gt / "b" / "0003.png").unlink()
    with pytest.raises(PairingError, match="'b' has frames 2 and 4 but none between"):
        score(gen, gt)
    shutil.rmtree(gen / "b")
    with pytest.raises(PairingError, match="no prediction for 'b'"):
        score(gen, gt)
    shutil.rmtree(gt / "b")
    write_frames(gen / "c", random_frames(0, 7, side=44))
    with pytest.raises(PairingError, match="'c' is 44x44, its reference 40x40"):
        score(gen, gt)
    pairs, overrides = make_pairs(find_videos(gen), find_videos(gt), frozenset({"size"}))
    (evaluation,) = score_pairs(pairs, [pixel_protocol()], method="m", overrides=overrides)
    assert "allow size" in evaluation.overrides[0]
    assert evaluation.num_frames == 12


def test_truncated_mp4_is_refused_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole" / "a.mp4"
    whole.parent.mkdir()
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for frame in random_frames(0, 20, side=64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert score(whole.parent, whole.parent).num_frames == 20
    cut = tmp_path / "cut" / "a.mp4"
    cut.parent.mkdir()
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"cut/a\.mp4.*(truncated|cut off|corrupt)"):
        score(cut.parent, whole.parent)


def test_result_comes_back_as_written(trees: tuple[Path, Path], tmp_path: Path) -> None:
    result = score(*trees, label="demo")
    write_result(tmp_path / "out", result)
    assert read_result(tmp_path / "out") == result


@pytest.mark.gpu
def test_a_gpu_gives_the_cpu_s_numbers(tmp_path: Path) -> None:
    for video in "ab":
        write_frames(tmp_path / "gt" / video, random_frames(ord(video), 16, side=64))
        write_frames(tmp_path / "gen" / video, random_frames(ord(video) + 9, 16, side=64))
    pairs, _ = make_pairs(find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt"))
    clean = [read_protocol("aa-clean-v2")]
    (cpu,), (gpu,) = (score_pairs(pairs, clean, method="m", device=d) for d in ("cpu", "cuda"))
    for key, metric in cpu.metrics.items():
        assert gpu.metrics[key].value == pytest.approx(metric.value, rel=1e-5)
    assert gpu.machine.endswith("TF32 off")
