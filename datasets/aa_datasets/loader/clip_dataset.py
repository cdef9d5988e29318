"""ClipDataset: chooses the frames of a sample in its clip, decodes only these, and augments."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from aa_datasets.clip import Clip
from aa_datasets.errors import ShardError, VideoError
from aa_datasets.loader.augment import disturb_pose, draw_flip, flip_frames
from aa_datasets.loader.batch import Sample
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.crop_resize import mask_text, nearest_shape, resize_frames, resize_pose
from aa_datasets.loader.latents import StoredLatents
from aa_datasets.loader.remote import RemoteShards
from aa_datasets.loader.sampler import Draw
from aa_datasets.pose import Pose
from aa_datasets.shards import ClipPlace, read_clip, verify_shard
from aa_datasets.video.canonical import read_canonical


@dataclass(frozen=True, slots=True)
class Window:
    """Indices into a clip: the reference frame, and the T frames to generate."""

    reference: int
    targets: NDArray[np.int64]


def choose_window(
    num_frames_of_clip: int, num_frames: int, stride: int, generator: np.random.Generator
) -> Window:
    """Sample a window of `num_frames` frames, `stride` apart, and a reference frame; each from
    anywhere in the clip (Sec. 4.1 samples both at random).

    The caller has checked that the clip is at least `(num_frames - 1) * stride + 1` frames long.
    """
    span = (num_frames - 1) * stride + 1
    start = int(generator.integers(num_frames_of_clip - span + 1))
    targets = start + stride * np.arange(num_frames, dtype=np.int64)
    return Window(int(generator.integers(num_frames_of_clip)), targets)


def choose_frames(
    num_frames_of_clip: int, num_frames: int, generator: np.random.Generator
) -> Window:
    """Sample `num_frames` single frames and a reference frame, each from anywhere in the clip."""
    targets = generator.integers(num_frames_of_clip, size=num_frames)
    return Window(int(generator.integers(num_frames_of_clip)), targets)


class _Decoded(NamedTuple):
    """A clip, and its frames and poses at the size of training: uint8 [T, H, W, 3]."""

    frames: NDArray[np.uint8]
    pose: Pose
    clip: Clip


class ClipDataset(Dataset[Sample]):
    """Makes the sample of a draw: reads the clip by byte range, decodes only its frames."""

    def __init__(
        self,
        clips: list[ClipPlace],
        config: LoaderConfig,
        latents: StoredLatents | None,
        remote: RemoteShards | None = None,
    ) -> None:
        self.clips, self.config, self.latents, self.remote = clips, config, latents, remote
        # Which of config.sizes_hw each clip is given at.
        self.buckets = [nearest_shape(clip.size_hw, config.sizes_hw) for clip in clips]
        self._verified: set[Path] = set()
        self._cache_bytes_left = config.cache_bytes
        self._decoded: dict[int, _Decoded] = {}

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def clips_sha256(self) -> str:
        """The hash of the clips' ids in their order, which the epochs permute."""
        ids = "\n".join(clip.clip_id for clip in self.clips)
        return hashlib.sha256(ids.encode()).hexdigest()

    @cached_property
    def counts(self) -> list[int]:
        """How many of the clips each shard has."""
        grouped = itertools.groupby(self.clips, lambda place: place.shard)
        return [sum(1 for _ in places) for _, places in grouped]

    @cached_property
    def shards(self) -> dict[str, tuple[int, int]]:
        """The place of each shard's first clip and how many it has, by a hash of these."""
        found, first = {}, 0
        for _, places in itertools.groupby(self.clips, lambda place: place.shard):
            some = [f"{place.clip_id} {place.num_frames}" for place in places]
            key = hashlib.sha256("\n".join(some).encode()).hexdigest()[:16]
            found[key] = (first, len(some))
            first += len(some)
        return found

    def _size_hw(self, index: int) -> tuple[int, int]:
        return self.config.sizes_hw[self.buckets[index]]

    def __getitem__(self, draw: Draw) -> Sample:
        place, config = self.clips[draw.clip], self.config
        generator = np.random.default_rng([config.seed, 1, draw.number])
        window = (
            choose_frames(place.num_frames, config.num_frames, generator)
            if config.stage == 1
            else choose_window(place.num_frames, config.num_frames, config.stride, generator)
        )
        wanted = np.array([window.reference, *window.targets])
        reference, target, pose, clip = self._read(draw.clip, wanted)
        mask = None
        if config.text_mask:
            mask = mask_text(clip.text_px, clip.size_hw, self._size_hw(draw.clip))
        if config.augmentation is not None:
            if draw_flip(config.augmentation, generator):
                reference, target = flip_frames(reference).copy(), flip_frames(target).copy()
                pose = pose.mirrored()
                mask = None if mask is None else mask[:, ::-1].copy()
            pose = disturb_pose(pose, config.augmentation, generator)
        return Sample(
            reference=torch.from_numpy(reference),
            target=torch.from_numpy(target),
            pose=pose.at_frames(slice(1, None)),
            clip_id=clip.clip_id,
            latents=self.latents.read(place.shard, clip.clip_id, window.reference, window.targets)
            if self.latents is not None
            else None,
            loss_mask=None if mask is None else torch.from_numpy(mask[None]),
        )

    def _read(
        self, index: int, wanted: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Pose, Clip]:
        """The first of these frames of a clip, the others, the pose of all, and the clip."""
        place = self.clips[index]
        height, width = self._size_hw(index)
        size = 3 * place.num_frames * height * width
        if index in self._decoded or size <= self._cache_bytes_left:
            if index not in self._decoded:
                self._cache_bytes_left -= size
                whole = self._decode(index, np.arange(place.num_frames))
                # A crop would keep the memory of what it was cut out of.
                kept_frames = np.ascontiguousarray(whole.frames)
                self._decoded[index] = whole._replace(frames=kept_frames)
            kept = self._decoded[index]
            reference, target = kept.frames[wanted[0]].copy(), kept.frames[wanted[1:]]
            return reference, target, kept.pose.at_frames(wanted), kept.clip
        ordered, places = np.unique(wanted, return_inverse=True)
        frames, pose, clip = self._decode(index, ordered)
        first, last = places[1], places[-1]
        neighbours = np.array_equal(places[1:], np.arange(first, last + 1))
        # A window is a part of what was decoded: copying it would cost a tenth of decoding it.
        target = frames[first : last + 1] if neighbours else frames[places[1:]]
        return frames[places[0]], target, pose.at_frames(places), clip

    def _decode(self, index: int, wanted: NDArray[np.int64]) -> _Decoded:
        place, size_hw = self.clips[index], self._size_hw(index)
        with self.remote.local(place.shard) if self.remote else nullcontext():
            entry, stored = read_clip(place)
        if entry.members["mp4"].crc32 is None and place.shard not in self._verified:
            verify_shard(place.shard)  # of an old record nothing less tells damage
            self._verified.add(place.shard)
        pose = resize_pose(stored.pose.at_frames(wanted), size_hw)
        if self.latents is not None:  # the frames are not used
            empty = np.empty((len(wanted), *size_hw, 0), np.uint8)
            return _Decoded(empty, pose, stored.clip)
        try:
            frames = read_canonical(
                stored.mp4,
                wanted,
                num_frames=stored.clip.num_frames,
                decoder=self.config.decoder,
            )
        except VideoError as error:
            raise ShardError(
                f"{place.shard.name}: clip {place.clip_id} at byte {entry.members['mp4'].offset}: "
                f"{error}"
            ) from error
        return _Decoded(resize_frames(frames, size_hw), pose, stored.clip)
