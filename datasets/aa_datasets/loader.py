"""make_loader: shards -> batches, in an order that the seed alone decides, exactly resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from aa_datasets.augment import Augmentation, disturb_pose, draw_flip, flip_frames
from aa_datasets.canonical_video import read_canonical
from aa_datasets.draws import Draw, Draws
from aa_datasets.errors import LatentsError, ShardError
from aa_datasets.frames import choose_frames, choose_window, resize_frames, resize_pose
from aa_datasets.latents import LatentsKey, StoredLatents
from aa_datasets.pose import Pose
from aa_datasets.sample import FrameBatch, Sample, stack_and_draw, stack_samples
from aa_datasets.shards import ClipEntry, read_entry, verify_shard
from aa_datasets.text_mask import mask_text


def make_loader(
    shards: Sequence[Path],
    *,
    stage: int,
    batch_size: int,
    size_hw: tuple[int, int],
    num_frames: int = 1,
    stride: int = 1,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 0,
    cache_bytes: int = 1 << 30,
    latents: LatentsKey | None = None,
    augmentation: Augmentation | None = None,
    text_mask: bool = False,
) -> ShardLoader:
    """Batches without end from shards.

    Args:
        shards: .tar files of `write_shard`; each is verified by its sha256 before the first batch.
        stage: 1 gives single frames from anywhere in a clip, 2 gives windows of neighbours.
        num_frames: frames per clip, T of the batch.
        batch_size: samples per rank and batch.
        size_hw: picture size; clips are centre-cropped to its shape and resized.
        stride: of the window of stage 2, in frames of the clip.
        seed: decides the order and every window.
        rank, world_size: this process's share.
        num_workers: processes that decode ahead, and draw the skeletons; 0 leaves drawing to
            `FrameBatch.to`.
        cache_bytes: how much each process may keep of clips that it has decoded; a small corpus is
            then decoded once. 0 keeps nothing. The batches are the same either way.
        latents: read what these encoders made of the frames, from beside the shards, instead of
            decoding: reference and target then have no channels.
        augmentation: what is changed at random.
        text_mask: give each sample a `loss_mask`.

    Raises:
        ShardError: no shards, a damaged shard, or no clip as long as the window.
        LatentsError: a shard has no latents of these encoders, or they cannot be mirrored.
    """
    if not shards:
        raise ShardError("no shards given: name .tar files written by `aa-curate run`")
    span = 1 if stage == 1 else (num_frames - 1) * stride + 1
    clips = [
        (path, entry)
        for path in sorted(shards)
        for entry in verify_shard(path).clips
        if entry.clip.num_frames >= span
    ]
    if not clips:
        raise ShardError(
            f"no clip in {len(shards)} shards has {span} frames: shorten the window "
            f"({num_frames} frames, stride {stride}) or curate longer clips"
        )
    if latents is not None and augmentation is not None and augmentation.flip:
        raise LatentsError("stored latents cannot be mirrored: augment without flip, or decode")
    stored = None if latents is None else StoredLatents(shards, latents)
    dataset = _Windows(
        clips, stage, num_frames, stride, size_hw, seed, cache_bytes, stored, augmentation,
        text_mask,
    )  # fmt: skip
    return ShardLoader(dataset, seed, batch_size, rank, world_size, num_workers)


class ShardLoader:
    """An endless iterator of batches; `state_dict` says how far the consumer has got."""

    def __init__(
        self,
        dataset: _Windows,
        seed: int,
        batch_size: int,
        rank: int,
        world_size: int,
        num_workers: int,
    ) -> None:
        self.num_clips = len(dataset)
        self._dataset, self._seed = dataset, seed
        self._batch_size, self._rank, self._world_size = batch_size, rank, world_size
        self._num_workers = num_workers
        self._consumed = 0  # samples that all ranks together have received
        self._batches: Iterator[FrameBatch] | None = None

    def __iter__(self) -> ShardLoader:
        return self

    def __next__(self) -> FrameBatch:
        if self._batches is None:
            self._batches = self._begin()
        batch = next(self._batches)
        self._consumed += self._batch_size * self._world_size
        return batch

    def _begin(self) -> Iterator[FrameBatch]:
        """Batches from where the consumer is."""
        draws = Draws(
            self._seed,
            self.num_clips,
            self._batch_size,
            self._rank,
            self._world_size,
            self._consumed,
        )
        if not self._num_workers:
            return (stack_samples([self._dataset[draw] for draw in some]) for some in draws)
        return iter(
            DataLoader(
                self._dataset,
                batch_sampler=draws,
                num_workers=self._num_workers,
                collate_fn=stack_and_draw,
                # decord and Ray do not survive a fork with threads.
                multiprocessing_context="forkserver",
            )
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "num_clips": self.num_clips,
            "clips_sha256": self._dataset.clips_sha256(),
            "consumed": self._consumed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where `state` was taken.

        Raises:
            ShardError: the state is of other shards or another seed.
        """
        if (state["seed"], state["num_clips"]) != (self._seed, self.num_clips):
            raise ShardError(
                f"the loader's state is of seed {state['seed']} over {state['num_clips']} clips, "
                f"this is seed {self._seed} over {self.num_clips}: give the run's own shards"
            )
        if state["clips_sha256"] != self._dataset.clips_sha256():
            raise ShardError(
                f"the loader's state is of {self.num_clips} other clips, or of the same in other "
                "shards, which come in another order: give the run's own shards"
            )
        self._consumed = state["consumed"]
        self._batches = None


class _Decoded(NamedTuple):
    """Frames of a clip at the size of training, uint8 [T, *size_hw, 3], and their pose."""

    frames: NDArray[np.uint8]
    pose: Pose


class _Windows(Dataset[Sample]):
    """Makes the sample of a draw: reads the clip by byte range, decodes only its frames."""

    def __init__(
        self,
        clips: list[tuple[Path, ClipEntry]],
        stage: int,
        num_frames: int,
        stride: int,
        size_hw: tuple[int, int],
        seed: int,
        cache_bytes: int,
        latents: StoredLatents | None,
        augmentation: Augmentation | None,
        text_mask: bool,
    ) -> None:
        self.clips, self.stage = clips, stage
        self.num_frames, self.stride = num_frames, stride
        self.size_hw, self.seed = size_hw, seed
        self.cache_bytes = cache_bytes
        self.latents = latents
        self.augmentation, self.text_mask = augmentation, text_mask
        self._decoded: dict[int, _Decoded] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def clips_sha256(self) -> str:
        """Of the clips' ids in their order, which the epochs permute."""
        ids = "\n".join(entry.clip.clip_id for _, entry in self.clips)
        return hashlib.sha256(ids.encode()).hexdigest()

    def __getitem__(self, draw: Draw) -> Sample:
        path, entry = self.clips[draw.clip]
        clip = entry.clip
        generator = np.random.default_rng([self.seed, 1, draw.number])
        window = (
            choose_frames(clip.num_frames, self.num_frames, generator)
            if self.stage == 1
            else choose_window(clip.num_frames, self.num_frames, self.stride, generator)
        )
        wanted = np.array([window.reference, *window.targets])
        reference, target, pose = self._read(draw.clip, wanted)
        mask = mask_text(clip.text_px, clip.size_hw, self.size_hw) if self.text_mask else None
        if self.augmentation is not None:
            if draw_flip(self.augmentation, generator):
                reference, target = flip_frames(reference).copy(), flip_frames(target).copy()
                pose = pose.mirrored()
                mask = None if mask is None else mask[:, ::-1].copy()
            pose = disturb_pose(pose, self.augmentation, generator)
        return Sample(
            reference=torch.from_numpy(reference),
            target=torch.from_numpy(target),
            pose=pose.at_frames(slice(1, None)),
            clip_id=clip.clip_id,
            latents=self.latents.read(path, clip.clip_id, window.reference, window.targets)
            if self.latents is not None
            else None,
            loss_mask=None if mask is None else torch.from_numpy(mask[None]),
        )

    def _read(
        self, index: int, wanted: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Pose]:
        """The first of these frames of a clip, the others, and the pose of all."""
        path, entry = self.clips[index]
        size = 3 * entry.clip.num_frames * self.size_hw[0] * self.size_hw[1]
        if index in self._decoded or size <= self.cache_bytes:
            if index not in self._decoded:
                self.cache_bytes -= size
                self._decoded[index] = self._decode(path, entry, np.arange(entry.clip.num_frames))
            kept = self._decoded[index]
            return (
                kept.frames[wanted[0]].copy(),
                kept.frames[wanted[1:]],
                kept.pose.at_frames(wanted),
            )
        ordered, places = np.unique(wanted, return_inverse=True)
        frames, pose = self._decode(path, entry, ordered)
        first, last = places[1], places[-1]
        neighbours = np.array_equal(places[1:], np.arange(first, last + 1))
        # A window is a part of what was decoded: copying it would cost a tenth of decoding it.
        target = frames[first : last + 1] if neighbours else frames[places[1:]]
        return frames[places[0]], target, pose.at_frames(places)

    def _decode(self, path: Path, entry: ClipEntry, wanted: NDArray[np.int64]) -> _Decoded:
        stored = read_entry(path, entry)
        pose = resize_pose(stored.pose.at_frames(wanted), self.size_hw)
        if self.latents is not None:  # nobody looks at the pictures
            return _Decoded(np.empty((len(wanted), *self.size_hw, 0), np.uint8), pose)
        frames = read_canonical(stored.mp4, wanted, num_frames=entry.clip.num_frames)
        return _Decoded(resize_frames(frames, self.size_hw), pose)
