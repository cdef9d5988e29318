"""The order of clips, which the seed alone decides.

Every epoch is a permutation of all clips. Each batch of the world takes the next world_size x
batch_size clips of the endless sequence of epochs and every rank a strided share of them, so that
all ranks get equally many batches, no clip comes twice or is lost in an epoch, and the state
(seed, samples consumed) resumes at any world size and worker count. Where clips are given at
several sizes, the world's batches must stay as large as they were.

Where the shards have changed since a state was taken, the epoch that it is in continues over the
shards that are still the same, and the next one has them all.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
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


@dataclass(frozen=True, slots=True)
class Shuffle:
    """The order of an epoch.

    Attributes:
        seed: decides it.
        shards_at_once: as in `LoaderConfig`.
    """

    seed: int
    shards_at_once: int | None = None

    def __call__(self, epoch: int, counts: Sequence[int]) -> NDArray[np.int64]:
        """A permutation of the clips of shards that have so many each."""
        generator = np.random.default_rng([self.seed, epoch])
        if self.shards_at_once is None:
            return generator.permutation(sum(counts))
        ends = np.cumsum(counts)
        shards = generator.permutation(len(counts))
        order = []
        for first in range(0, len(shards), self.shards_at_once):
            some = shards[first : first + self.shards_at_once]
            clips = np.concatenate([np.arange(ends[s] - counts[s], ends[s]) for s in some])
            order.append(generator.permutation(clips))
        return np.concatenate(order)


class Order:
    """The endless sequence of clips.

    Args:
        shuffle: gives the order of each epoch.
        counts: how many clips each shard has.
        first: an epoch that is not an order of these clips; those after it are.
    """

    def __init__(self, shuffle: Shuffle, counts: Sequence[int], first: Epoch | None = None) -> None:
        self._shuffle, self._counts, self._num_clips = shuffle, counts, sum(counts)
        self.first = first or self._epoch(0, 0)
        self._known = [self.first]

    def _epoch(self, number: int, start: int) -> Epoch:
        return Epoch(number, start, self._shuffle(number, self._counts))

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

    def epoch(self, shuffle: Shuffle, first_clip: dict[str, int]) -> Epoch:
        """Its order, by the places of clips in the present list.

        Args:
            shuffle: of the loader.
            first_clip: place of the first clip of each shard that is there, by its key.
        """
        counts = np.array([count for _, count in self.shards], np.int64)
        of_shard = np.repeat(np.arange(len(counts)), counts)
        order = shuffle(self.number, counts.tolist())
        places = {key: place for place, (key, _) in enumerate(self.shards)}
        for at, keys in self.left_out:
            gone = np.isin(of_shard[order[at:]], [places[key] for key in keys])
            order = np.concatenate([order[:at], order[at:][~gone]])
        # Clips of a shard that is gone were drawn before it went: where they were is not asked.
        moved = np.array([first_clip.get(key, 0) for key, _ in self.shards], np.int64)
        within = order - (np.cumsum(counts) - counts)[of_shard[order]]
        return Epoch(self.number, self.start, moved[of_shard[order]] + within)


class Draws(Sampler[list[Draw]]):
    """The endless sequence of batches of one rank, from a global position on.

    Args:
        start: samples that all ranks together have received.
        buckets: for each clip the size that it is given at; None where there is one size. Clips
            wait, from one epoch into the next if need be, until a batch of the world is full of
            one size; batches come in the order in which they fill.
    """

    def __init__(
        self,
        order: Order,
        batch_size: int,
        rank: int,
        world_size: int,
        start: int,
        buckets: Sequence[int] | None = None,
    ) -> None:
        self.order = order
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.start, self.buckets = start, buckets

    def __iter__(self) -> Iterator[list[Draw]]:
        full = self.batch_size * self.world_size
        # Which batches were full at `start` depends on all clips before it, if sizes differ.
        given = 0 if self.buckets else self.start
        waiting: dict[int, list[Draw]] = defaultdict(list)
        for number in itertools.count(given):
            epoch = self.order.epoch_at(number)
            draw = Draw(int(epoch.order[number - epoch.start]), number)
            batch = waiting[self.buckets[draw.clip] if self.buckets else 0]
            batch.append(draw)
            if len(batch) == full:
                if given >= self.start:
                    yield batch[self.rank :: self.world_size]
                given += full
                batch.clear()
