"""Perceptual: LPIPS of a stream of frames, each frame's features computed once while it is needed.

A reference is compared with the method and with every trivial baseline, a still baseline with every
reference, and the frame before is the reference again. The features of references are also kept on
disk, for the next method.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from aa_eval.metrics.lpips import (
    LPIPS,
    LpipsFeatures,
    checked_frames,
    lpips_distance,
    lpips_features,
)
from aa_eval.metrics.masks import Mask, frame_masks
from aa_eval.scoring.cache import Cache

# A chunk of each side, the frames before, and the still pictures; more would only take room.
_KEPT_CHUNKS = 4
_KEPT_STILLS = 4
_KEPT_BYTES = 192 * 2**20
# With the fast baselines: two still pictures, and two frames of each side. With fewer the still
# pictures would be computed again with every frame.
_KEPT_AT_LEAST = 6

Frames = NDArray[np.uint8]
Values = NDArray[np.float64]


class Perceptual:
    """LPIPS with one network and one input range.

    The numbers do not depend on what is kept: the features of `kept_frames` frames.

    Args:
        model: of `aa_eval.metrics.lpips.make_lpips`.
        input_range: as of `lpips_per_frame`.
        cache: where the references' features go, and come from; None for nowhere.
        key: what decides the features, apart from the frame: the weights' hashes.
    """

    def __init__(
        self,
        model: LPIPS,
        input_range: Literal["-1..1", "0..1"],
        cache: Cache | None,
        key: Any,
    ) -> None:
        self._model = model
        self._input_range = input_range
        self._cache = cache
        self._key = ["lpips", model.pnet_type, input_range, key]
        self._batch = 1 if next(model.parameters()).device.type == "cpu" else 8
        self.kept_frames = _KEPT_STILLS + _KEPT_CHUNKS * self._batch
        self._kept: OrderedDict[str, LpipsFeatures] = OrderedDict()
        self._kept_bytes = 0
        self._layers: dict[tuple[int, ...], list[torch.Size]] = {}  # of frames of one shape

    def per_frame(self, prediction: Frames, reference: Frames, mask: Mask | None = None) -> Values:
        """As `aa_eval.metrics.lpips.lpips_per_frame`, which see for arguments and errors.

        Args:
            mask: [T, H, W], the pixels to look at, as of `lpips_distance`.
        """
        checked_frames(self._model, prediction, reference)
        ours = self._features(prediction, stored=False)  # first: tells the shapes of stored ones
        theirs = self._features(reference, stored=True)
        frames = zip(ours, theirs, frame_masks(mask, prediction), strict=True)
        return np.asarray([lpips_distance(a, b, inside) for a, b, inside in frames])

    def temporal(self, prediction: Frames, reference: Frames) -> Values:
        """|LPIPS(p_t-1, p_t) - LPIPS(r_t-1, r_t)|, the first NaN (tLP, Chu et al. 2020)."""
        checked_frames(self._model, prediction, reference)
        sides = self._features(prediction, stored=False), self._features(reference, stored=True)
        ours, theirs = ([lpips_distance(a, b) for a, b in pairwise(side)] for side in sides)
        return np.concatenate([[np.nan], np.abs(np.subtract(ours, theirs))])

    def _features(self, frames: Frames, stored: bool) -> list[LpipsFeatures]:
        digests = [hashlib.sha256(f"{f.shape}".encode() + f.tobytes()).hexdigest() for f in frames]
        found: dict[str, LpipsFeatures] = {}
        absent: dict[str, NDArray[np.uint8]] = {}
        for digest, frame in zip(digests, frames, strict=True):
            features = self._kept.get(digest)
            if features is None:  # a prediction may hold frames of the reference: its first one
                features = self._read(digest, frame.shape)
            if features is None:
                absent[digest] = frame
            else:
                found[digest] = features
        names = list(absent)
        for start in range(0, len(names), self._batch):
            some = names[start : start + self._batch]
            batch = np.stack([absent[name] for name in some])
            found |= zip(some, lpips_features(self._model, batch, self._input_range), strict=True)
        for digest, frame in zip(digests, frames, strict=True):
            features = found[digest]
            # channels last, as they lie in memory: so frames come, and so the network computes
            layers = [layer.movedim(0, -1) for layer in features]
            self._layers[frame.shape] = [layer.shape for layer in layers]
            if stored and self._cache is not None and digest in absent:
                flat = [layer.flatten().cpu().numpy() for layer in layers]
                self._cache.put_features([*self._key, digest], _pack(flat))
            self._keep(digest, features)
        return [found[digest] for digest in digests]

    def _read(self, digest: str, shape: tuple[int, ...]) -> LpipsFeatures | None:
        if self._cache is None or shape not in self._layers:
            return None
        raw = self._cache.get_features([*self._key, digest])
        if raw is None:
            return None
        sizes = self._layers[shape]
        device = next(self._model.parameters()).device
        layers = _unpack(raw, [size.numel() for size in sizes])
        return [
            torch.from_numpy(layer).to(device).view(size).movedim(-1, 0)
            for layer, size in zip(layers, sizes, strict=True)
        ]

    def _keep(self, digest: str, features: LpipsFeatures) -> None:
        if digest not in self._kept:
            self._kept[digest] = features
            self._kept_bytes += _size(features)
        self._kept.move_to_end(digest)
        while len(self._kept) > self.kept_frames or (
            self._kept_bytes > _KEPT_BYTES and len(self._kept) > _KEPT_AT_LEAST
        ):
            self._kept_bytes -= _size(self._kept.popitem(last=False)[1])


def _pack(layers: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Of each layer a bit for each value that is not 0, then those values: half of them are 0."""
    parts = []
    for values in layers:
        there = values != 0
        parts += [np.packbits(there), values[there].view(np.uint8)]
    return np.concatenate(parts)


def _unpack(raw: NDArray[Any], counts: Sequence[int]) -> list[NDArray[np.float32]]:
    """The layers, of so many values each, that `_pack` was given."""
    layers = []
    start = 0
    for count in counts:
        bits = -(-count // 8)
        there = np.unpackbits(raw[start : start + bits], count=count).view(np.bool_)
        start += bits
        end = start + 4 * int(np.count_nonzero(there))
        values = np.zeros(count, dtype=np.float32)
        values[there] = raw[start:end].copy().view(np.float32)  # a copy is aligned
        layers.append(values)
        start = end
    return layers


def _size(features: Sequence[torch.Tensor]) -> int:
    return sum(layer.nbytes for layer in features)
