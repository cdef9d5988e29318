"""Metrics within regions: the plain one for a whole mask, a crop's for a box, parts that add up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import structural_similarity

from aa_eval.cli.main import main
from aa_eval.errors import PairingError
from aa_eval.metrics.l1 import l1, l1_unit_range_float32
from aa_eval.metrics.lpips import lpips_distance, lpips_features, make_lpips
from aa_eval.metrics.psnr import psnr, psnr_float32, psnr_uint8_overflow
from aa_eval.metrics.ssim import ssim_colour_gaussian, ssim_grey_uniform7
from aa_eval.protocol import KINDS, REGION_KINDS, read_protocol
from aa_eval.result import Result, read_result
from aa_eval.scoring.metric_runner import _PIXEL_METRICS
from aa_eval.videos.regions import Boxes, boxes_of_joints, iter_masks

OF_PIXELS = [l1, psnr, psnr_uint8_overflow, psnr_float32, l1_unit_range_float32]


def two_videos(
    seed: int, count: int = 2, size: tuple[int, int] = (23, 30)
) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    reference = draw.integers(0, 256, (count, *size, 3), dtype=np.uint8)
    noise = draw.normal(0, 20, reference.shape)
    return np.clip(reference + noise, 0, 255).astype(np.uint8), reference


def some_mask(seed: int, count: int = 2, size: tuple[int, int] = (23, 30)) -> np.ndarray:
    """Any pixels, but at least one in the middle and one not."""
    mask = np.random.default_rng(seed + 1).random((count, *size)) < 0.4
    mask[:, 11, 14], mask[:, 11, 15] = True, False
    return mask


def test_every_image_metric_of_a_protocol_can_be_had_within_a_region() -> None:
    assert set(_PIXEL_METRICS) | {"lpips"} == REGION_KINDS < KINDS.keys()


@given(st.integers(0, 999), st.integers(1, 3), st.integers(11, 40), st.integers(11, 40))
@settings(max_examples=25)
def test_a_mask_of_the_whole_picture_is_the_plain_metric_to_the_last_bit(
    seed: int, count: int, height: int, width: int
) -> None:
    frames = two_videos(seed, count, (height, width))
    whole = np.ones((count, height, width), dtype=np.bool_)
    for name, metric in _PIXEL_METRICS.items():
        plain, masked = metric(*frames, None), metric(*frames, whole)
        np.testing.assert_array_equal(plain, masked, err_msg=name)
        np.testing.assert_array_equal(metric(*frames, ~whole), np.full(count, np.nan), err_msg=name)


@given(st.integers(0, 999), st.integers(0, 20), st.integers(0, 20), st.integers(1, 9))
@settings(max_examples=25)
def test_a_box_is_the_crop(seed: int, top: int, left: int, side: int) -> None:
    prediction, reference = two_videos(seed)
    mask = np.zeros(prediction.shape[:3], dtype=np.bool_)
    mask[:, top : top + side, left : left + side] = True
    crop = np.s_[:, top : top + side, left : left + side]
    for metric in OF_PIXELS:
        inside = metric(prediction, reference, mask)
        np.testing.assert_allclose(inside, metric(prediction[crop], reference[crop]), rtol=1e-6)


@given(st.integers(0, 999))
@settings(max_examples=25)
def test_region_and_rest_make_up_the_whole_and_the_rest_of_the_picture_does_not_matter(
    seed: int,
) -> None:
    prediction, reference = two_videos(seed)
    mask = some_mask(seed)
    sums: list[tuple[Callable[..., np.ndarray], np.ndarray, np.ndarray]] = [
        (metric, mask[:, border:-border, border:-border], ~mask[:, border:-border, border:-border])
        for metric, border in ((ssim_grey_uniform7, 3), (ssim_colour_gaussian, 5))
    ]
    for metric, inside, outside in [(l1, mask, ~mask), *sums]:
        a, b = (part.sum(axis=(1, 2)) for part in (inside, outside))
        parts = a * metric(prediction, reference, mask) + b * metric(prediction, reference, ~mask)
        np.testing.assert_allclose(parts / (a + b), metric(prediction, reference), rtol=1e-12)
    elsewhere = np.where(mask[..., None], prediction, 255 - prediction)
    for metric in OF_PIXELS:
        np.testing.assert_array_equal(
            metric(elsewhere, reference, mask), metric(prediction, reference, mask)
        )


def test_ssim_is_the_mean_of_scikit_images_map_within_the_mask() -> None:
    prediction, reference = two_videos(5)
    mask = some_mask(5)
    _, full = structural_similarity(
        prediction[0], reference[0], gaussian_weights=True, sigma=1.5, data_range=255,
        use_sample_covariance=False, channel_axis=-1, full=True,
    )  # fmt: skip
    expected = full[5:-5, 5:-5][mask[0, 5:-5, 5:-5]].mean()
    found = ssim_colour_gaussian(prediction, reference, mask)
    assert found[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.weights
def test_lpips_within_a_mask_is_the_mean_over_its_part_of_every_layer() -> None:
    model = make_lpips("vgg")
    prediction, reference = two_videos(2, 1, (32, 32))
    ours, theirs = (lpips_features(model, x, "-1..1")[0] for x in (prediction, reference))
    whole = np.ones((32, 32), dtype=np.bool_)
    assert lpips_distance(ours, theirs, whole) == lpips_distance(ours, theirs)
    left = whole.copy()
    left[:, 16:] = False  # halves every layer: 32, 16, 8, 4 and 2 places wide
    halves = [(a - b).square()[:, :, : a.shape[2] // 2] for a, b in zip(ours, theirs, strict=True)]
    expected = sum(float(half.double().sum(dim=0).mean()) for half in halves)
    assert lpips_distance(ours, theirs, left) == pytest.approx(expected, rel=1e-6)
    parts = [lpips_distance(ours, theirs, mask) for mask in (left, ~left)]
    assert np.mean(parts) == pytest.approx(lpips_distance(ours, theirs), rel=1e-6)
    assert np.isnan(lpips_distance(ours, theirs, ~whole))


def test_boxes_hold_the_visible_joints_and_their_margin() -> None:
    points = np.full((3, 128, 2), np.nan)
    points[0, 60:128] = [50, 40]
    points[0, 60], points[0, 127] = [40, 30], [60, 42]  # 20 px wide: a margin of 3
    points[0, 18], points[0, 19] = [2, 2], [2, 12]  # the left hand, at the picture's edge
    points[1, 60] = [5, 5]  # one joint is no box
    scores = np.isfinite(points).all(axis=-1).astype(float)
    face = boxes_of_joints(points, scores, "face", (64, 80))
    np.testing.assert_array_equal(face.boxes_px[:, 0], [[37, 27, 64, 46], [0] * 4, [0] * 4])
    masks = list(iter_masks(face, (64, 80)))
    assert [mask.sum() for mask in masks] == [27 * 19, 0, 0]
    hands = boxes_of_joints(points, scores, "hands", (64, 80))
    np.testing.assert_array_equal(hands.boxes_px[0], [[0, 0, 5, 15], [0, 0, 0, 0]])
    person = boxes_of_joints(points, scores, "person", (64, 80)).boxes_px[0, 0]
    assert list(person) == [0, 0, 70, 52]
    with pytest.raises(PairingError, match="which of 17 joints are 'hands' is not known"):
        boxes_of_joints(points[:, :17], scores[:, :17], "hands", (64, 80))


@given(st.integers(0, 999), st.sampled_from([17, 18, 128, 133]))
@settings(max_examples=30)
def test_the_persons_box_holds_every_other(seed: int, joints: int) -> None:
    draw = np.random.default_rng(seed)
    points = draw.uniform(-5, 70, (4, joints, 2))
    scores = (draw.random((4, joints)) < 0.5).astype(float)

    def masks(name: str) -> np.ndarray:
        boxes: Boxes = boxes_of_joints(points, scores, name, (50, 60))
        return np.stack(list(iter_masks(boxes, (50, 60))))

    assert not (masks("face") & ~masks("person")).any()
    visible = np.clip(np.rint(points), 0, [59, 49]).astype(int)
    for t in range(4):
        seen = visible[t][
            (scores[t] > 0) & (points[t] > 0).all(-1) & (points[t] < [59, 49]).all(-1)
        ]
        assert masks("person")[t][seen[:, 1], seen[:, 0]].all() or (scores[t] > 0).sum() < 2


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """gen and gt of two videos of 3 frames; regions `face` (none in a's last frame) and `whole`."""
    for index, video in enumerate("ab"):
        prediction, reference = two_videos(index, 3)
        mask = some_mask(index, 3)
        mask[2] &= video != "a"
        parts = {"gen": prediction, "gt": reference, "regions/face": 255 * mask.astype(np.uint8),
                 "regions/whole": np.full_like(mask, 255, dtype=np.uint8)}  # fmt: skip
        for name, frames in parts.items():
            folder = tmp_path / name / video
            folder.mkdir(parents=True)
            for number, frame in enumerate(frames, start=7):
                Image.fromarray(frame).save(folder / f"{number}.png")
    return tmp_path


def score(trees: Path, out: str, *more: object) -> Result | None:
    words = [trees / "gen", "--references", trees / "gt", "--out", trees / out, *more]
    words += ["--protocol", "tiktok-disco-2023", "--baselines", "off"]
    if main([str(word) for word in words]):
        return None
    return read_result(trees / out)


@pytest.mark.weights
def test_regions_from_masks_have_keys_of_their_own_and_change_no_protocol(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = score(trees, "plain")
    result = score(trees, "out", "--regions", trees / "regions")
    assert plain is not None
    assert result is not None
    assert result.protocol_hash == plain.protocol_hash == read_protocol("tiktok-disco-2023").hash
    own = {key for key in result.metrics if "@" not in key}
    assert own == plain.metrics.keys()
    for key in ("ssim", "l1", "psnr_overflow", "psnr", "lpips"):
        values = result.metrics
        assert values[key].value == plain.metrics[key].value == values[f"{key}@whole"].value
        assert values[f"{key}@face"].value != values[key].value
        assert values[f"{key}@face"].n == 5
        assert values[f"{key}@face"].note == "frames without face: 1"
    assert "fvd@face" not in result.metrics
    assert result.per_video["a"]["psnr@whole"] == plain.per_video["a"]["psnr"]
    assert "PSNR*@face" in capsys.readouterr().out
    # what is in the cache is of these masks: one pixel more, and the value is another
    path = trees / "regions" / "face" / "b" / "8.png"
    mask = np.asarray(Image.open(path)).copy()
    mask[11, 15] = 255
    Image.fromarray(mask).save(path)
    other = score(trees, "other", "--regions", trees / "regions")
    assert other is not None
    assert other.regions["whole"] == result.regions["whole"]
    assert other.regions["face"] != result.regions["face"]
    assert other.metrics["psnr@face"].value != result.metrics["psnr@face"].value
    assert main(["compare", str(trees / "out"), str(trees / "other")]) == 2
    assert "other masks of region 'face'" in capsys.readouterr().err
    assert main(["compare", str(trees / "out"), str(trees / "plain")]) == 0


def test_regions_from_joints_are_scaled_to_the_references_size(trees: Path) -> None:
    (trees / "kp").mkdir()
    corners = np.array([[3, 2], [13, 2], [3, 9], [13, 9]] * 5)[:17]  # in pixels of the frames
    words = ["--region-boxes", "person", "--reference-keypoints", trees / "kp"]
    for video in "ab":
        np.savez(trees / "kp" / f"{video}.npz", keypoints_px=np.tile(2 * corners, (3, 1, 1)),
                 scores=np.ones((3, 17)), size_hw=[46, 60])  # fmt: skip
    result = score(trees, "out", *words)
    assert result is not None
    # pixel centres at whole numbers: joints from 2.75 to 12.75 and 1.75 to 8.75, 15 % of 10 px
    # about them
    box = np.s_[:, 0:12, 1:16]
    values = []
    for video in "ab":
        sides = [
            np.stack([np.asarray(Image.open(p)) for p in sorted((trees / s / video).iterdir(),
                      key=lambda p: int(p.stem))])
            for s in ("gen", "gt")
        ]  # fmt: skip
        values.append(psnr(sides[0][box], sides[1][box]))
    assert result.metrics["psnr@person"].value == pytest.approx(np.mean(values), rel=1e-12)


def test_masks_that_do_not_fit_are_refused_by_name(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(words: str, *more: object) -> None:
        assert score(trees, "out", *(more or ("--regions", trees / "regions"))) is None
        assert words in capsys.readouterr().err

    refused("--region-boxes needs --reference-keypoints", "--region-boxes", "face")
    refused("'mouth': unknown", "--region-boxes", "mouth", "--reference-keypoints", trees / "kp")
    path = trees / "regions" / "face" / "b" / "8.png"
    ones = np.asarray(Image.open(path)) // 255
    Image.fromarray(ones).save(path)
    refused("the largest level of mask 1 is 1: expected 0 outside and 255 inside")
    path.unlink()
    refused("no mask for frame 8 of the reference")
    Image.fromarray(np.zeros((23, 31), np.uint8)).save(path)
    refused("one video has one size")
    (trees / "regions" / "Face (left)").mkdir()
    refused("not a region's name")
    assert not list((trees / "out").iterdir())
