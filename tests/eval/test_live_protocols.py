"""Protocols of scripts that are in use, against what those scripts print on the same frames."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from aa_eval import Result, evaluate
from aa_eval.errors import EvalError, PairingError, VideoError
from aa_eval.protocol import Protocol, read_protocol
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos, named_after
from aa_eval.videos.pairing import make_pairs
from aa_eval.videos.reencode import X264RoundTrip
from aa_eval.videos.source import iter_frames, probe

CASES = Path(__file__).parents[2] / "../shared/cases"
needs_shared = pytest.mark.skipif(not CASES.is_dir(), reason="skipped: no ../shared")

# What the scripts print (../shared/cases/golden_2025); FVD by exact arithmetic on their features,
# which their own matrix roots miss by 1e-3.
GOLDEN = {
    ("tiktok-onetoall-2025", "c01_natural"): {
        "l1": 0.0003281082414711515,
        "ssim": 0.5481606520271596,
        "psnr": 16.113460497879057,
        "lpips": 0.4655318508545558,
        "fvd": 2762.1930300130034,
    },
    ("tiktok-onetoall-2025-lossless", "c01_natural"): {"fvd": 2676.651316969038},
    ("tiktok-onetoall-2025", "c02_identical"): {"l1": 0, "ssim": 1, "psnr": 100, "lpips": 0},
    ("tiktok-tcan-2024", "c01_natural"): {
        "l1": 0.00032810824147115153,
        "ssim": 0.5481606520271596,
        "psnr_overflow": 29.503361303688667,
        "lpips": 0.4655318508545558,
    },
    ("tiktok-tcan-2024", "c20_real6"): {
        "l1": 0.0001315477145706407,
        "ssim": 0.8301181691422537,
        "psnr_overflow": 31.412058682180454,
        "fvd": 376.2833492596228,
    },
    ("tiktok-onetoall-2025", "c20_real6"): {"fvd": 309.50552296112346},
    ("tiktok-onetoall-2025-lossless", "c20_real6"): {"fvd": 288.32838987281593},
    ("tiktok-humanvid-2024", "c20_real6"): {"ssim": 0.796181584811873, "psnr": 24.970173623826767},
}
TOLERANCES = {"l1": 1e-12, "ssim": 1e-12, "psnr": 1e-12, "psnr_overflow": 1e-12, "lpips": 2e-7}


def only(name: str, keys: set[str]) -> Protocol:
    protocol = read_protocol(name)
    metrics = tuple(metric for metric in protocol.metrics if metric.key in keys)
    features = protocol.video_features if "fvd" in keys else None
    return replace(protocol, metrics=metrics, video_features=features)


def score(protocol: Protocol, gen: Path, gt: Path) -> Result:
    pairs, _ = make_pairs(
        find_videos(gen), find_videos(gt), frozenset(), protocol.pairing, protocol.resizes
    )
    return score_pairs(pairs, [protocol], method="m")[0]


@needs_shared
@pytest.mark.weights
@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(
            *key, marks=pytest.mark.slow if key[1] == "c20_real6" and "fvd" in values else ()
        )
        for key, values in GOLDEN.items()
    ],
)
def test_numbers_are_the_scripts_own(name: str, case: str) -> None:
    expected = GOLDEN[name, case]
    found = score(only(name, set(expected)), CASES / case / "gen", CASES / case / "gt").metrics
    for key, value in expected.items():
        close = {"rel": 1e-6} if name == "tiktok-humanvid-2024" else {"rel": TOLERANCES.get(key)}
        if key == "fvd":
            close = {"rel": 2e-6}
        if value == 0:
            close = {"abs": 1e-12}
        assert found[key].value == pytest.approx(value, **close), key


@needs_shared
@pytest.mark.weights
@pytest.mark.slow
def test_humanvids_distance_over_prefixes(tmp_path: Path) -> None:
    for side in ("gen", "gt"):
        for video in ("00337", "00338"):
            shutil.copytree(CASES / "c20_real6" / side / video, tmp_path / side / video)
    result = score(only("tiktok-humanvid-2024", {"fvd"}), tmp_path / "gen", tmp_path / "gt")
    assert result.metrics["fvd"].value == pytest.approx(
        (186.1763262563067 + 348.7717252546584) / 2, rel=1e-5
    )
    assert result.metrics["fvd"].n == 30


@needs_shared
def test_humanvids_ssim_and_psnr_of_single_frames() -> None:
    protocol = replace(only("tiktok-humanvid-2024", {"ssim", "psnr"}), pairing="positions")
    case = CASES / "c01_natural"
    result = score(protocol, case / "gen", case / "gt")
    assert result.metrics["ssim"].value == pytest.approx(0.4885655492544174, rel=1e-7)
    assert result.metrics["psnr"].value == pytest.approx(16.113460779190063, rel=1e-6)
    assert result.per_frame["00337"]["ssim"][0] == pytest.approx(0.6391797661781311, rel=1e-7)


@needs_shared
def test_humanvid_resizes_the_truth_to_the_prediction() -> None:
    protocol = replace(only("tiktok-humanvid-2024", {"ssim", "psnr", "lpips"}), pairing="positions")
    case = CASES / "c06_res"
    found = score(protocol, case / "gen", case / "gt").metrics
    assert found["ssim"].value == pytest.approx(0.962786336739858, rel=1e-6)
    assert found["psnr"].value == pytest.approx(28.346848169962566, rel=1e-6)
    assert found["lpips"].value == pytest.approx(0.046225318064292274, rel=1e-5)


def noise(seed: int, count: int, side: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def write(folder: Path, frames: np.ndarray, first: int = 0) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, first):
        Image.fromarray(frame).save(folder / f"{number:04}.png")


# Recorded on 2026-11-30 by code that gave every number of GOLDEN: what holds the protocols where
# ../shared is not.
RECORDED: dict[str, dict[str, float]] = {
    "tiktok-onetoall-2025": {
        "l1": 0.009402791659037272,
        "ssim": 0.5698820502069055,
        "psnr": 14.566305527400514,
        "lpips": 0.20283783043918832,
    },
    "tiktok-tcan-2024": {"psnr_overflow": 27.9057042160715},
    "tiktok-humanvid-2024": {
        "ssim": 0.5592912559054777,
        "psnr": 14.566305527305907,
        "lpips": 0.20283783043918832,
    },
}


@pytest.mark.weights
@pytest.mark.parametrize("name", RECORDED)
def test_numbers_are_those_of_the_day_when_they_were_the_scripts_own(
    tmp_path: Path, name: str
) -> None:
    """Squares of 8 pixels, and the same ones shifted and noisy: whole numbers on any machine."""
    for video, seed in (("a", 1), ("b", 2)):
        squares = noise(seed, 4, 8).repeat(8, axis=1).repeat(8, axis=2)
        write(tmp_path / "gt" / video, squares)
        write(
            tmp_path / "gen" / video, np.roll(squares, 1, axis=2) // 2 + noise(9, 4, 64) // 8 + 40
        )
    protocol = replace(only(name, set(RECORDED[name])), pairing="positions")
    found = score(protocol, tmp_path / "gen", tmp_path / "gt").metrics
    for key, value in RECORDED[name].items():
        # LPIPS and HumanVid's torch code compute in float32.
        close = 1e-5 if key == "lpips" or "humanvid" in name else 1e-12
        assert found[key].value == pytest.approx(value, rel=close), key


def test_an_alias_is_the_protocol_itself() -> None:
    tcan, disco = read_protocol("tiktok-tcan-2024"), read_protocol("tiktok-disco-2023")
    assert tcan.hash == disco.hash
    assert tcan.name == disco.name
    assert "TCAN" in tcan.source


def test_positions_cut_to_the_shorter_and_sizes_are_fitted(tmp_path: Path) -> None:
    truth = noise(0, 7)
    write(tmp_path / "gt" / "000", truth, first=5)
    shown = np.stack([np.asarray(Image.fromarray(f).resize((48, 48))) for f in truth[:4]])
    write(tmp_path / "gen" / "000_ref_1.5", shown)
    (result,) = evaluate(
        tmp_path / "gen", tmp_path / "gt", protocols=("tiktok-onetoall-2025",), baselines="off",
        cache="off",
    )  # fmt: skip
    assert result.num_frames == 4
    assert result.overrides == ()
    assert result.trimmed == {"000": ((0, 4),)}
    back = [
        np.asarray(Image.fromarray(f).resize((24, 24), Image.Resampling.BICUBIC)) for f in shown
    ]
    error = np.abs(np.stack(back).astype(float) - truth[:4]).mean() / 24**2
    assert result.metrics["l1"].value == pytest.approx(error, rel=1e-12)
    write(tmp_path / "gen" / "000_ref_2.0", shown)
    with pytest.raises(VideoError, match="both named as predictions of '000'"):
        evaluate(tmp_path / "gen", tmp_path / "gt", protocols=("tiktok-onetoall-2025",))


def test_humanvid_takes_24_frames_by_its_stride(tmp_path: Path) -> None:
    for count, expected in ((100, range(0, 72, 3)), (73, range(0, 72, 3)), (30, range(24))):
        write(tmp_path / str(count) / "gt" / "a", np.zeros((count, 4, 4, 3), np.uint8), first=1)
        write(tmp_path / str(count) / "gen" / "output_a", np.zeros((24, 4, 4, 3), np.uint8))
        folders = (find_videos(tmp_path / str(count) / side) for side in ("gen", "gt"))
        gen, gt = folders
        gen = named_after(gen, gt, "output_{id}")
        (pair,), overrides = make_pairs(gen, gt, frozenset(), "humanvid-24")
        assert pair.frame_numbers == tuple(n + 1 for n in expected)
        assert pair.prediction is not None
        assert overrides == ()
    write(tmp_path / "48" / "gt" / "a", np.zeros((48, 4, 4, 3), np.uint8))
    with pytest.raises(PairingError, match="other frames for FVD"):
        make_pairs(None, find_videos(tmp_path / "48" / "gt"), frozenset(), "humanvid-24")


@pytest.mark.parametrize("count", [20, 26])
def test_humanvid_pairs_in_order_also_where_counts_differ(tmp_path: Path, count: int) -> None:
    write(tmp_path / "gt" / "a", np.zeros((100, 4, 4, 3), np.uint8))
    write(tmp_path / "gen" / "a", np.zeros((count, 4, 4, 3), np.uint8))
    gen, gt = find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt")
    with pytest.raises(PairingError, match=f"{count} predicted frames, 24 in the reference"):
        make_pairs(gen, gt, frozenset(), "humanvid-24")
    (pair,), overrides = make_pairs(gen, gt, frozenset({"frame-count"}), "humanvid-24")
    both = min(count, 24)
    assert pair.frame_numbers == tuple(range(0, 3 * both, 3))
    assert pair.prediction is not None
    assert pair.prediction.numbers == tuple(range(both))
    assert len(overrides) == 1


def test_below_24_frames_humanvid_has_no_image_metric(tmp_path: Path) -> None:
    write(tmp_path / "gt" / "a", noise(0, 9))
    write(tmp_path / "gen" / "a", noise(1, 9))
    found = score(only("tiktok-humanvid-2024", {"psnr"}), tmp_path / "gen", tmp_path / "gt")
    assert found.metrics["psnr"].value is None
    assert "'a': 9 frames: HumanVid's script stops below 24" in str(found.metrics["psnr"])
    both = only("tiktok-humanvid-2024", {"psnr", "fvd"})
    fvd = score(both, tmp_path / "gen", tmp_path / "gt").metrics["fvd"]
    assert fvd.unavailable == "no video has 10 frames"


def test_every_third_frame_of_a_video_file(tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    with av.open(str(tmp_path / "gt" / "a.mkv"), "w") as container:
        track = container.add_stream("ffv1", rate=25)
        track.width = track.height = 16
        track.pix_fmt = "bgr0"
        for number in range(80):
            picture = np.full((16, 16, 3), 3 * number, np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode())
    (pair,), _ = make_pairs(None, find_videos(tmp_path / "gt"), frozenset(), "humanvid-24")
    assert probe(pair.reference).num_frames == 24
    assert [f[0, 0, 0] for f in iter_frames(pair.reference)] == list(range(0, 216, 9))
    assert pair.kept == tuple(range(0, 72, 3))


def test_protocols_that_pair_otherwise_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path / "gt" / "a", noise(0, 2))
    write(tmp_path / "gen" / "a", noise(1, 2))
    both = ("tiktok-onetoall-2025", "tiktok-disco-2023")
    with pytest.raises(EvalError, match="they pair frames differently"):
        evaluate(tmp_path / "gen", tmp_path / "gt", protocols=both)


def test_an_infinite_mean_is_no_number(tmp_path: Path) -> None:
    write(tmp_path / "gt" / "a", noise(0, 24))
    same = replace(only("tiktok-humanvid-2024", {"psnr"}), video_features=None)
    found = score(same, tmp_path / "gt", tmp_path / "gt").metrics["psnr"]
    assert found.value is None
    assert "infinite: 24 frames of zero error" in (found.unavailable or "")


def test_the_round_trip_through_x264_keeps_frames_and_loses_detail() -> None:
    ramp = np.linspace(0, 255, 40 * 56 * 3).reshape(40, 56, 3).astype(np.uint8)
    trip = X264RoundTrip()
    for shift in range(5):
        trip.push(np.roll(ramp, shift, axis=1))
    back = list(trip.frames())
    assert [frame.shape for frame in back] == [(48, 64, 3)] * 5  # next multiples of 16
    middle = np.asarray(Image.fromarray(ramp).resize((64, 48), Image.Resampling.BICUBIC))
    assert 0 < np.abs(back[0].astype(int) - middle).mean() < 6
    assert list(X264RoundTrip().frames()) == []
