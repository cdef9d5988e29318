"""The order of clips, which the seed alone decides.

Every epoch is a permutation of all clips. Each batch of the world takes the next world_size x
batch_size clips of the endless sequence of epochs and every rank a strided share of them, so that
all ranks get equally many batches, no clip comes twice or is lost in an epoch, and the state
(seed, samples consumed) resumes at any world size and worker count.

Where the shards have changed since a state was taken, the epoch that it is in continues over the
shards that are still the same, and the next one has them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to be made: which clip, and the number that seeds its window."""

    clip: int
    number: int


class Epoch(NamedTuple):
    """A part of the sequence: the clips in their order, from sample `start` on."""

    number: int
    start: int
    order: NDArray[np.int64]


class Order:
    """The endless sequence of clips.

    Args:
        seed: decides it.
        num_clips: how many there are.
        first: an epoch that is not a permutation of these clips; those after it are.
    """

    def __init__(self, seed: int, num_clips: int, first: Epoch | None = None) -> None:
        self._seed, self._num_clips = seed, num_clips
        self.first = first or self._epoch(0, 0)
        self._known = [self.first]

    def _epoch(self, number: int, start: int) -> Epoch:
        return Epoch(number, start, permutation(self._seed, number, self._num_clips))

    def epoch_at(self, sample: int) -> Epoch:
        """The epoch of a sample. Keeps the last two: batches may lie across the end of one."""
        for epoch in self._known:
            if epoch.start <= sample < epoch.start + len(epoch.order):
                return epoch
        end = self.first.start + len(self.first.order)
        after = (sample - end) // self._num_clips
        found = self._epoch(self.first.number + 1 + after, end + after * self._num_clips)
        self._known = [self._known[-1], found]
        return found


def permutation(seed: int, epoch: int, num_clips: int) -> NDArray[np.int64]:
    """The order of an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(num_clips)


class Continued(NamedTuple):
    """An epoch over shards of which some may be gone.

    Attributes:
        number, start: as of `Epoch`.
        shards: what it began with: (key, number of clips) of each.
        left_out: (place in the order, keys): from there on these shards' clips are left out.
    """

    number: int
    start: int
    shards: Sequence[tuple[str, int]]
    left_out: Sequence[tuple[int, Sequence[str]]]

    def epoch(self, seed: int, first_clip: dict[str, int]) -> Epoch:
        """Its order, by the places of clips in the present list.

        Args:
            seed: of the loader.
            first_clip: place of the first clip of each shard that is there, by its key.
        """
        counts = np.array([count for _, count in self.shards], np.int64)
        of_shard = np.repeat(np.arange(len(counts)), counts)
        order = permutation(seed, self.number, len(of_shard))
        places = {key: place for place, (key, _) in enumerate(self.shards)}
        for at, keys in self.left_out:
            gone = np.isin(of_shard[order[at:]], [places[key] for key in keys])
            order = np.concatenate([order[:at], order[at:][~gone]])
        # Clips of a shard that is gone were drawn before it went: where they were is not asked.
        moved = np.array([first_clip.get(key, 0) for key, _ in self.shards], np.int64)
        within = order - (np.cumsum(counts) - counts)[of_shard[order]]
        return Epoch(self.number, self.start, moved[of_shard[order]] + within)


class Draws(Sampler[list[Draw]]):
    """The endless sequence of batches of one rank, from a global position on."""

    def __init__(
        self, order: Order, batch_size: int, rank: int, world_size: int, start: int
    ) -> None:
        self.order = order
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.start = start

    def __iter__(self) -> Iterator[list[Draw]]:
        position = self.start
        while True:
            batch = []
            for i in range(self.batch_size):
                number = position + i * self.world_size + self.rank
                epoch = self.order.epoch_at(number)
                batch.append(Draw(int(epoch.order[number - epoch.start]), number))
            yield batch
            position += self.batch_size * self.world_size
