"""Random numbers of a training step, the same however many processes share the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class ShareOfWorld(torch.Generator):
    """A generator whose draws are one process's rows of what one process alone would draw.

    Every process draws for the whole world's batch, from one seed, and keeps its own clips: the
    world's clip i is clip i // world_size of process i % world_size, as the loader deals them.

    Args:
        clips: of this process's batch; the rows of a draw are so many clips, one after another.
    """

    rank: int
    world_size: int
    clips: int

    # torch.Generator takes its arguments in __new__.
    def __new__(cls, device: torch.device, rank: int, world_size: int, clips: int) -> ShareOfWorld:
        self = super().__new__(cls, device)  # type: ignore[call-arg]  # the stub has __init__ only
        self.rank, self.world_size, self.clips = rank, world_size, clips
        return self

    def rows(self, world: Tensor) -> Tensor:
        """This process's rows of a draw for the world's batch."""
        by_clip = torch.unflatten(world, 0, (self.clips * self.world_size, -1))
        return by_clip[self.rank :: self.world_size].flatten(0, 1)


def draw_normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard normal numbers [N, ...], on the generator's device."""
    if isinstance(generator, ShareOfWorld):
        world = (shape[0] * generator.world_size, *shape[1:])
        return generator.rows(torch.randn(world, generator=generator, device=generator.device))
    return torch.randn(tuple(shape), generator=generator, device=generator.device)


def draw_uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Uniform numbers in [0, 1), [N, ...], on the generator's device."""
    if isinstance(generator, ShareOfWorld):
        world = (shape[0] * generator.world_size, *shape[1:])
        return generator.rows(torch.rand(world, generator=generator, device=generator.device))
    return torch.rand(tuple(shape), generator=generator, device=generator.device)
