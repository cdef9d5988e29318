"""The cache keeps what fits, to the byte, and gives what the autoencoder gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.training.latent_cache import LatentCache


@pytest.mark.parametrize(("room", "asked"), [(2, 3), (1.99, 4), (1, 4), (0, 6), (3, 3)])
def test_pictures_are_kept_while_there_is_room_for_them(
    make_tiny: Callable[..., AnimateAnyone], room: float, asked: int
) -> None:
    """Pictures a, b, a, c, b, a: what is not kept is encoded each time that it comes."""
    model = make_tiny()
    pictures = 2 * torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 1
    h, w = model.config.latent_hw
    one = 4 * 2 * model.config.vae.latent_channels * h * w  # means and deviations in float32
    cache = LatentCache(model, int(room * one))
    encoded: list[int] = []
    model.vae.encoder.register_forward_pre_hook(lambda _, given: encoded.append(len(given[0])))
    order = [0, 1, 0, 2, 1, 0]
    found = cache.encode(pictures[order])
    assert sum(encoded) == asked
    assert cache.num_bytes == int(room) * one
    assert torch.equal(found[0], found[2])
    with torch.no_grad():
        assert torch.allclose(found, model.encode(pictures)[order], atol=1e-5)


def test_two_gigabytes_are_kept_unless_told(make_tiny: Callable[..., AnimateAnyone]) -> None:
    assert LatentCache(make_tiny()).max_bytes == 2**31
