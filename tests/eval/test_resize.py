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
    "name", [n for n in sorted(RESIZES) if "crop" not in n]
)  # the croppers change nothing either, but by another path
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


def test_tf1_bilinear_takes_every_second_pixel_at_half_size(frames: np.ndarray) -> None:
    # From the corner: target pixel i lies on source pixel 2 i, so nothing is mixed.
    assert np.array_equal(resize(frames, "tf1-bilinear", (20, 30)), frames[:, ::2, ::2])


def test_an_unknown_name_lists_the_known_ones(frames: np.ndarray) -> None:
    with pytest.raises(ProtocolError, match="pil-bicubic-float"):
        resize(frames, "lanczos", (8, 8))
