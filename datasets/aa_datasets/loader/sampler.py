"""The order of clips, which the seed alone decides.

Every epoch is a permutation of all clips. Each batch of the world takes the next world_size x
batch_size clips of the endless sequence of epochs and every rank a strided share of them, so that
all ranks get equally many batches, no clip comes twice or is lost in an epoch, and the state
(seed, samples consumed) resumes at any world size and worker count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to be made: which clip, and the number that seeds its window."""

    clip: int
    number: int


class Draws(Sampler[list[Draw]]):
    """The endless sequence of batches of one rank, from a global position on."""

    def __init__(
        self, seed: int, num_clips: int, batch_size: int, rank: int, world_size: int, start: int
    ) -> None:
        self.seed, self.num_clips = seed, num_clips
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.start = start

    def __iter__(self) -> Iterator[list[Draw]]:
        position = self.start
        orders: dict[int, NDArray[np.int64]] = {}
        while True:
            batch = []
            for i in range(self.batch_size):
                number = position + i * self.world_size + self.rank
                epoch, place = divmod(number, self.num_clips)
                if epoch not in orders:
                    orders = {e: o for e, o in orders.items() if e >= epoch - 1}
                    generator = np.random.default_rng([self.seed, epoch])
                    orders[epoch] = generator.permutation(self.num_clips)
                batch.append(Draw(int(orders[epoch][place]), number))
            yield batch
            position += self.batch_size * self.world_size
