"""LatentCache: the frozen VAE sees each training picture once."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.precision import as_stored
from aa_model.networks.vae import encode_moments


class LatentCache:
    """Moments of pictures by the hash of their pixels, kept in memory.

    Worth it where pictures come back, as when a small corpus is read many times without random
    crops. Pictures are encoded one by one and in float32: the result does not depend on what else
    is in the batch, so a resumed run, whose cache is empty, gets the same numbers. A VAE
    that is kept in bfloat16 (`frozen_bfloat16`) encodes under autocast, as without the cache.

    Args:
        model: its VAE must not change while the cache lives.
        max_bytes: stops keeping new pictures beyond this; they are then encoded each time.
    """

    def __init__(self, model: AnimateAnyone, max_bytes: int = 2 << 30) -> None:
        self.model = model
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._moments: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """As `AnimateAnyone.encode`: images [N, 3, H, W] to scaled latents [N, C, h, w]."""
        moments = torch.stack([self._of(image) for image in images])
        return self.model.draw_latents(moments, generator)

    def _of(self, image: Tensor) -> Tensor:
        """Mean and standard deviation of one picture's latents, [2C, h, w]."""
        pixels = image.cpu().contiguous().numpy()
        key = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
        found = self._moments.get(key)
        if found is not None:
            return found
        with as_stored(self.model.vae, image.device):
            mean, std = encode_moments(self.model.vae, image[None].float())
        both = torch.cat([mean[0], std[0]]).float()
        if self.num_bytes + both.nbytes <= self.max_bytes:
            self._moments[key] = both
            self.num_bytes += both.nbytes
        return both
