"""make_loader: endless batches from shards, in an order that the seed decides, resumable."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from aa_datasets.errors import DatasetError, LatentsError, ShardError
from aa_datasets.loader.batch import FrameBatch, stack_and_draw, stack_samples
from aa_datasets.loader.clip_dataset import ClipDataset
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.latents import StoredLatents
from aa_datasets.loader.remote import RemoteShards, is_remote
from aa_datasets.loader.sampler import Continued, Draws, Epoch, Order, Shuffle
from aa_datasets.shards import ClipPlace, Paths, find_shards, read_places


def make_loader(
    shards: Paths, config: LoaderConfig, *, rank: int = 0, world_size: int = 1
) -> ShardLoader:
    """Give endless batches from shards.

    Example:
        >>> loader = make_loader("corpus", LoaderConfig(stage=2, size_hw=(256, 256), num_frames=24))
        >>> batch = next(loader).to("cpu")  # floats in [-1, 1], [B, T, 3, H, W]

    Args:
        shards: .tar files of `write_shard`, or folders that hold them; paths, or addresses on a web
            server or in an object store (https://..., s3://...). Only their records are read here.
            What is read of a tar later is compared with the CRC-32 in its record, and one from a
            server with its sha256 when it is fetched.
        config: which samples, and what they may cost.
        rank, world_size: this process's share of every batch of the world.

    Raises:
        ShardError: no shards, one of another length than its record, a clip in two of them, no clip
            of the split as long as the window, or too many that are shorter. (Shorter ones are left
            out, with a warning that counts them; no other sample is ever skipped: one that cannot
            be read raises when it is drawn.)
        LatentsError: a shard has no latents of these encoders, or they cannot be mirrored.
    """
    if not 0 <= rank < world_size:
        raise DatasetError(f"rank {rank} of world_size {world_size}: expected 0 <= rank < size")
    named = [shards] if isinstance(shards, str | Path) else list(shards)
    remote = RemoteShards(config.shard_cache_dir.expanduser(), config.shard_cache_bytes)
    found = find_shards([path for path in named if not is_remote(path)])
    found += remote.open([str(path) for path in named if is_remote(path)])
    if not found:
        raise ShardError("no shards given: name .tar files written by `aa-curate run`")
    span = config.span_frames
    every = [place for path in found for place in read_places(path, remote=path in remote.url_of)]
    _refuse_repeated(every)
    if config.split is not None:
        every = _of_split(every, config.split)
    clips = [place for place in every if place.num_frames >= span]
    if not clips:
        raise ShardError(
            f"no clip in {len(found)} shard{'s' * (len(found) > 1)} has {span} frames: shorten the "
            f"window ({config.num_frames} frames, stride {config.stride}) or curate longer clips"
        )
    too_short = len(every) - len(clips)
    if too_short > config.too_short_at_most * len(every):
        raise ShardError(
            f"{too_short} of {len(every)} clips have less than {span} frames, over the share of "
            f"{config.too_short_at_most:g} that may be left out: shorten the window, or raise the "
            "share"
        )
    if too_short:
        warnings.warn(
            f"{too_short} of {len(every)} clips have less than {span} frames and are left out",
            RuntimeWarning,
            stacklevel=2,
        )
    stored = None
    if config.latents is not None:
        if config.augmentation is not None and config.augmentation.flip:
            raise LatentsError("stored latents cannot be mirrored: augment without flip, or decode")
        stored = StoredLatents(sorted({place.shard for place in clips}), config.latents)
    dataset = ClipDataset(clips, config, stored, remote)
    return ShardLoader(dataset, config, rank, world_size)


def _of_split(clips: list[ClipPlace], split: str) -> list[ClipPlace]:
    found = [place for place in clips if place.split == split]
    if not found:
        there = ", ".join(sorted({place.split for place in clips}))
        raise ShardError(f"no clip is of split {split!r}: the shards hold {there}")
    return found


def _refuse_repeated(clips: Iterable[ClipPlace]) -> None:
    """A clip given twice would come twice in an epoch."""
    shard_of: dict[str, Path] = {}
    for place in clips:
        if place.clip_id in shard_of:
            raise ShardError(
                f"clip {place.clip_id} is in {shard_of[place.clip_id]} and in {place.shard}: "
                "give each clip once"
            )
        shard_of[place.clip_id] = place.shard


class ShardLoader:
    """An endless iterator of batches; `state_dict` is the position of the consumer."""

    def __init__(
        self, dataset: ClipDataset, config: LoaderConfig, rank: int, world_size: int
    ) -> None:
        self.num_clips = len(dataset)
        self._dataset, self._config = dataset, config
        self._rank, self._world_size = rank, world_size
        self._consumed = 0  # samples that all ranks together have received
        self._shuffle = Shuffle(config.seed, config.shards_at_once)
        self._order = Order(self._shuffle, self._counts())
        self._continued: Continued | None = None  # what the order's first epoch is made by
        self._batches: Iterator[FrameBatch] | None = None

    def __iter__(self) -> ShardLoader:
        return self

    def __next__(self) -> FrameBatch:
        if self._batches is None:
            self._batches = self._begin()
        try:
            batch = next(self._batches)
        except DatasetError as error:
            self._batches = None  # nothing is skipped: the next call raises again
            # An error of a worker has a traceback in its message.
            name = type(error).__name__
            raise type(error)(str(error).rpartition(f"{name}: ")[2].strip()) from error
        self._consumed += self._world_batch
        return batch

    def _begin(self) -> Iterator[FrameBatch]:
        """Iterate from the position of the consumer."""
        draws = Draws(
            self._order,
            self._config.batch_size,
            self._rank,
            self._world_size,
            self._consumed,
            self._dataset.buckets if self._config.buckets_hw else None,
        )
        if not self._config.num_workers:
            return (
                stack_samples([self._dataset[draw] for draw in some], self._config.draw_face)
                for some in draws
            )
        return iter(
            DataLoader(
                self._dataset,
                batch_sampler=draws,
                num_workers=self._config.num_workers,
                collate_fn=partial(stack_and_draw, draw_face=self._config.draw_face),
                # decord and Ray do not survive a fork with threads.
                multiprocessing_context="forkserver",
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """The position of the consumer, the same on every rank."""
        state: dict[str, Any] = {
            "seed": self._config.seed,
            "num_clips": self.num_clips,
            "clips_sha256": self._dataset.clips_sha256,
            "consumed": self._consumed,
        }
        if self._config.shards_at_once is not None:
            state["shards_at_once"] = self._config.shards_at_once
        if self._config.buckets_hw:
            return {**state, "world_batch": self._world_batch}
        epoch = self._order.epoch_at(self._consumed)
        at: dict[str, Any] = {"number": epoch.number, "start": epoch.start}
        if self._continued is not None and epoch is self._order.first:
            at = self._continued._asdict()
        return {**state, "shards": self._shards(), "epoch": at}

    def _counts(self) -> list[int]:
        return self._dataset.counts

    @property
    def _world_batch(self) -> int:
        return self._config.batch_size * self._world_size

    def _shards(self) -> list[tuple[str, int]]:
        return [(key, count) for key, (_, count) in self._dataset.shards.items()]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state` was taken.

        Shards may have been added, changed or taken away since. The epoch then continues over those
        that are as they were, so that none of their clips is lost or repeated, and the next one has
        all; a warning counts them. With several sizes the shards and the world's batches must be
        those of the state.

        Raises:
            ShardError: the state is of another seed, or none of its shards is here.
        """
        for name in ("seed", "shards_at_once"):
            was, now = state.get(name), getattr(self._config, name)
            if was != now:
                raise ShardError(
                    f"the loader's state is of {name} {was}, this is {name} {now}: give the "
                    f"run's own {name}"
                )
        same = state["clips_sha256"] == self._dataset.clips_sha256
        if self._config.buckets_hw or "world_batch" in state:
            if not same or state.get("world_batch") != self._world_batch:
                raise ShardError(
                    "with clips at several sizes, which ones make a batch depends on all before "
                    "it: resume with the same shards, the same sizes, and as many clips a batch "
                    "over all processes (the state has"
                    f" {state.get('world_batch', 'one size')}, this is "
                    f"{self._world_batch})"
                )
            self._order, self._continued = Order(self._shuffle, self._counts()), None
            self._consumed, self._batches = state["consumed"], None
            return
        known = {key for key, _ in state.get("shards", ())}  # none in states of earlier versions
        if not same and not known & self._dataset.shards.keys():
            raise ShardError(
                f"the loader's state is of {state['num_clips']} other clips, or of the same in "
                "other shards, which come in another order: give the run's own shards"
            )
        at = {"number": 0, "start": 0, **state.get("epoch", {})}
        number, start, consumed = at["number"], at["start"], state["consumed"]
        continued = None
        if (same and "shards" not in at) or consumed == start:
            first = Epoch(number, start, self._shuffle(number, self._counts()))
        else:
            shards = at["shards"] if "shards" in at else state["shards"]
            began = Continued(number, start, shards, at.get("left_out", []))
            continued = self._over_present(began, consumed)
            here = {key: place for key, (place, _) in self._dataset.shards.items()}
            first = continued.epoch(self._shuffle, here)
        self._order, self._continued = Order(self._shuffle, self._counts(), first), continued
        self._consumed, self._batches = consumed, None

    def _over_present(self, epoch: Continued, consumed: int) -> Continued:
        """The epoch, from here on without the clips of shards that are not there any more."""
        here, began_with = self._dataset.shards, dict(epoch.shards)
        out_before = {key for _, keys in epoch.left_out for key in keys}
        gone = [key for key in began_with if key not in here and key not in out_before]
        new = here.keys() - (began_with.keys() - out_before)
        lost = sum(began_with[key] for key in gone)
        if gone or new:
            warnings.warn(
                f"the shards have changed since the loader's state was taken: {len(gone)} of "
                f"{len(began_with)} are gone or altered ({lost} clips), {len(new)} are new. This "
                "epoch continues over the others; the next one has all that are here",
                RuntimeWarning,
                stacklevel=3,
            )
        if not gone:
            return epoch
        return epoch._replace(left_out=[*epoch.left_out, (consumed - epoch.start, gone)])
