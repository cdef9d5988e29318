"""Pose of a long video: skeletons kept as what is drawn, features made once or by the window."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aa_model.config import GenerateConfig
from aa_model.errors import ModelError
from aa_model.inference.denoise import denoise, encode_conditions
from aa_model.inference.drawn_poses import PosePictures
from aa_model.inference.image_input import to_pixels
from aa_model.inference.pose_features import KEEP_BYTES, PoseFeatures
from aa_model.networks.animate_anyone import AnimateAnyone


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.lists(st.integers(0, 4), min_size=1))
def test_kept_pictures_are_the_pictures(seed: int, share: float, frames: list[int]) -> None:
    draw = np.random.default_rng(seed)
    pictures = draw.integers(0, 256, (5, 6, 9, 3), dtype=np.uint8)
    pictures[draw.random(pictures.shape[:3]) < share] = 0
    kept = PosePictures(pictures)
    assert len(kept) == 5
    assert torch.equal(kept.of(frames), to_pixels(pictures[frames]))


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(ModelError, match="no frames"):
        PosePictures([])


@pytest.mark.parametrize("merge", ["edge", "mean"])
@torch.no_grad()
def test_features_made_by_the_window_are_those_made_once(
    make_tiny: Callable[..., AnimateAnyone], merge: str
) -> None:
    model = make_tiny(temporal=True)
    generator = torch.Generator().manual_seed(0)
    pictures = 2 * torch.rand(37, 3, 32, 32, generator=generator) - 1
    once = encode_conditions(model, pictures[0], pictures)
    config = GenerateConfig(steps=2, merge=merge, overlap=4)
    expected = denoise(model, once, config)

    seen: list[int] = []

    def chosen(frames: Sequence[int]) -> Tensor:
        seen.append(len(frames))
        return pictures[list(frames)]

    anew = dataclasses.replace(once, pose=PoseFeatures(model, chosen, 37, keep_bytes=0))
    windows = [range(8), range(4, 12), [36, 0, 1, 2, 3, 4, 5, 6]]
    assert torch.allclose(anew.pose.of(windows), once.pose.of(windows), atol=1e-5)
    del seen[1:]
    assert torch.allclose(denoise(model, anew, config), expected, atol=1e-5)
    # What tells the size, and then a window of 8 at a time: 2 steps of 9 windows, 4 frames apart.
    assert seen == [16, *[8] * 18]


@pytest.mark.parametrize(("num_frames", "kept"), [(3, True), (16, True), (19, True), (19, False)])
@torch.no_grad()
def test_features_are_kept_where_they_take_no_more_than_they_may(
    make_tiny: Callable[..., AnimateAnyone], num_frames: int, kept: bool
) -> None:
    model = make_tiny()
    generator = torch.Generator().manual_seed(0)
    pictures = 2 * torch.rand(num_frames, 3, 32, 32, generator=generator) - 1
    expected = model.pose_features(pictures[None])[0]
    seen: list[list[int]] = []

    def chosen(frames: Sequence[int]) -> Tensor:
        seen.append(list(frames))
        return pictures[list(frames)]

    features = PoseFeatures(model, chosen, num_frames, expected.nbytes - (not kept))
    first = [list(range(num_frames))[:16]]
    assert seen == first + ([list(range(16, num_frames))] if kept and num_frames > 16 else [])
    assert features.latent_hw == tuple(expected.shape[-2:])
    seen.clear()
    found = features.of([[2, 0], [1, 1]])
    assert torch.allclose(found, expected[[2, 0, 1, 1]].unflatten(0, (2, 2)), atol=1e-5)
    assert seen == ([] if kept else [[2, 0], [1, 1]])


def test_half_a_gigabyte_of_features_is_kept() -> None:
    assert KEEP_BYTES == 2**29
