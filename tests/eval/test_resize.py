from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop
from torchvision.transforms.functional import resize as tv_resize

from aa_eval.errors import ProtocolError
from aa_eval.resize import RESIZES, resize


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", sorted(RESIZES))
@pytest.mark.parametrize("size_hw", [(20, 20), (80, 64), (40, 60)])
def test_a_flat_picture_stays_flat(name: str, size_hw: tuple[int, int]) -> None:
    flat = np.full((1, 40, 60, 3), 77, np.uint8)
    found = resize(flat, name, size_hw)
    assert found.shape == (1, *size_hw, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 77, atol=1e-4)


@pytest.mark.parametrize(
    "name", [n for n in sorted(RESIZES) if "crop" not in n and "768" not in n]
)  # the croppers change nothing either, but by another path; by way of 768 px is not its own size
def test_its_own_size_changes_nothing(name: str, frames: np.ndarray) -> None:
    np.testing.assert_allclose(resize(frames, name, (40, 60)), frames, atol=1e-4)


def test_bicubic_squash_is_torch_s_antialiased_one(frames: np.ndarray) -> None:
    # Pillow takes a = -0.5, as torch does when it antialiases.
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    wanted = torch.nn.functional.interpolate(tensor, (24, 24), mode="bicubic", antialias=True)
    found = resize(frames, "pil-bicubic-float", (24, 24))
    np.testing.assert_allclose(found, wanted.permute(0, 2, 3, 1), atol=2e-3)


def test_uint8_bilinear_is_pillow_s(frames: np.ndarray) -> None:
    wanted = np.asarray(Image.fromarray(frames[0]).resize((30, 20), Image.Resampling.BILINEAR))
    assert np.array_equal(resize(frames, "pil-bilinear-uint8", (20, 30))[0], wanted)


SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


@given(SIZES, SIZES | st.none(), st.integers(0, 99))
@settings(max_examples=100)
def test_bilinear_uint8_is_cv2_s_to_the_last_level(
    size_hw: tuple[int, int], target_hw: tuple[int, int] | None, seed: int
) -> None:
    cv2 = pytest.importorskip("cv2")
    target_hw = target_hw or size_hw  # half of the size has an arithmetic of its own
    if seed % 2:
        size_hw = (2 * target_hw[0], 2 * target_hw[1])
    frame = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    found = resize(frame[None], "bilinear-uint8", target_hw)[0]
    np.testing.assert_array_equal(found, cv2.resize(frame, (target_hw[1], target_hw[0])))


def test_short_side_then_crop_is_torchvision_s(frames: np.ndarray) -> None:
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    wanted = center_crop(
        tv_resize(tensor, [20, 30], InterpolationMode.BILINEAR, antialias=False), [20, 20]
    )
    found = resize(frames, "short-side-bilinear-centre-crop", (20, 20))
    np.testing.assert_allclose(found, wanted.permute(0, 2, 3, 1), atol=1e-3)


def test_of_an_odd_margin_the_crop_leaves_more_at_the_end() -> None:
    """VideoGPT, data.py: `h_start = (h - resolution) // 2`."""
    columns = np.broadcast_to(np.arange(7, dtype=np.uint8)[:, None], (1, 4, 7, 3))
    for frames, axis in ((columns, 2), (columns.swapaxes(1, 2), 1)):
        kept = resize(np.ascontiguousarray(frames), "short-side-bilinear-centre-crop", (4, 4))
        assert kept[0, :, :, 0].mean(axis=2 - axis).tolist() == [1, 2, 3, 4]


def test_tf1_bilinear_takes_every_second_pixel_at_half_size(frames: np.ndarray) -> None:
    # From the corner: target pixel i lies on source pixel 2 i, so nothing is mixed.
    assert np.array_equal(resize(frames, "tf1-bilinear", (20, 30)), frames[:, ::2, ::2])


def pillow(frame: np.ndarray, size_hw: tuple[int, int], kind: str, mode: str) -> np.ndarray:
    """The frame resized by Pillow itself: 8-bit RGB at once, or channel by channel in float."""
    filter_ = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[kind]
    if mode == "uint8":
        return np.asarray(Image.fromarray(frame).resize(size_hw[::-1], filter_), dtype=float)
    planes = [Image.fromarray(frame[..., c].astype(np.float32)) for c in range(3)]
    return np.stack([np.asarray(plane.resize(size_hw[::-1], filter_)) for plane in planes], -1)


@pytest.fixture
def edges() -> np.ndarray:
    """Stripes and a hard edge: what tells the filters apart."""
    picture = np.zeros((1, 48, 36, 3), np.uint8)
    picture[:, 7:, :20] = 255
    picture[:, ::3, 5:, 1] = 200
    return picture


@pytest.mark.parametrize("size_hw", [(17, 23), (90, 61)])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mode", ["uint8", "float"])
def test_every_pil_name_is_that_filter_of_pillow(
    edges: np.ndarray, size_hw: tuple[int, int], kind: str, mode: str
) -> None:
    found = resize(edges, f"pil-{kind}-{mode}", size_hw)[0]
    np.testing.assert_allclose(found, pillow(edges[0], size_hw, kind, mode), atol=1e-4)
    other = {"bilinear": "bicubic", "bicubic": "bilinear"}[kind]
    assert np.abs(found - pillow(edges[0], size_hw, other, mode)).max() > 5


def test_the_crop_is_in_the_centre_and_the_filter_is_bicubic(edges: np.ndarray) -> None:
    found = resize(edges, "centre-crop-pil-bicubic-float", (20, 20))[0]
    centre = np.ascontiguousarray(edges[0, 6:42])  # 36 of 48 rows
    np.testing.assert_allclose(found, pillow(centre, (20, 20), "bicubic", "float"), atol=1e-4)


def test_bilinear_is_opencv_s_on_floats(edges: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    for size_hw in ((17, 23), (90, 61)):
        wanted = cv2.resize(edges[0].astype(np.float32), size_hw[::-1])
        found = resize(edges, "bilinear", size_hw)[0]
        np.testing.assert_allclose(found, wanted, atol=2e-2)
        antialiased = pillow(edges[0], size_hw, "bilinear", "float")
        if size_hw[0] < 48:
            assert np.abs(found - antialiased).max() > 20


@pytest.mark.parametrize("name", sorted(RESIZES))
def test_only_bicubic_floats_leave_the_range(edges: np.ndarray, name: str) -> None:
    found = resize(edges, name, (90, 90))
    overshoots = bool(found.max() > 255.5 or found.min() < -0.5)
    assert overshoots == ("bicubic-float" in name)
    assert np.array_equal(found, np.rint(found)) or not name.endswith("uint8")


def test_an_unknown_name_lists_the_known_ones(frames: np.ndarray) -> None:
    with pytest.raises(ProtocolError, match="pil-bicubic-float"):
        resize(frames, "lanczos", (8, 8))
