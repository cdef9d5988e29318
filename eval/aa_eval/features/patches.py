"""pICD: how far apart two pictures of a person are in patches of DINOv2."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aa_eval.features.vision_transformer import Dinov2
from aa_eval.metrics.masks import Mask
from aa_eval.resize import resize

Frames = NDArray[np.uint8]


class PatchDistance:
    """1 - mean cosine of DINOv2's patches at the same places, of those inside a mask.

    The person-level image distance of WYD (Bugliarello et al. 2025), whose code was not released:
    pictures are squashed to the size that the network was trained at, and a patch counts by the
    share of its cell that lies inside. The last frames' vectors are kept: references come again.
    """

    def __init__(self, model: Dinov2) -> None:
        self._model = model
        self._kept: dict[bytes, Tensor] = {}

    def per_frame(
        self, prediction: Frames, reference: Frames, mask: Mask | None = None
    ) -> NDArray[np.float64]:
        """[T], 0 to 2; NaN in a frame without a pixel inside.

        Args:
            prediction, reference: uint8 [T, H, W, 3].
            mask: [T, H, W]; None for the whole picture.
        """
        values = np.full(len(prediction), np.nan)
        for t, (ours, theirs) in enumerate(zip(prediction, reference, strict=True)):
            if mask is not None and not mask[t].any():
                continue
            distance = 1 - F.cosine_similarity(self._patches(ours), self._patches(theirs), dim=-1)
            if mask is None:
                values[t] = float(distance.double().mean())
                continue
            share = _shares(mask[t], distance)
            values[t] = float((distance.double() * share).sum() / share.sum())
        return values

    def nearest(
        self, prediction: Frames, reference: Frames, ours: Mask, theirs: Mask
    ) -> NDArray[np.float64]:
        """[T]; 1 - mean cosine of each patch of ours and that of theirs which is most like it.

        Wherever it is: the two need not stand alike. What ours does not show does not count.

        Args:
            prediction, reference: uint8 [T, H, W, 3].
            ours, theirs: [T, H, W], the pixels that show each side's person; NaN in a frame where
                one has none.
        """
        values = np.full(len(prediction), np.nan)
        for t, (frame, photo) in enumerate(zip(prediction, reference, strict=True)):
            if not (ours[t].any() and theirs[t].any()):
                continue
            patches, of_photo = self._patches(frame), self._patches(photo)
            share, there = _shares(ours[t], patches), _shares(theirs[t], of_photo)
            known = F.normalize(of_photo[there > 0], dim=-1)
            alike = (F.normalize(patches, dim=-1) @ known.T).amax(dim=-1)
            values[t] = float(((1 - alike.double()) * share).sum() / share.sum())
        return values

    def _patches(self, frame: Frames) -> Tensor:
        key = frame.tobytes()
        if key not in self._kept:
            size = self._model.body.size.side_px
            levels = resize(frame[None], "pil-bicubic-float", (size, size)).clip(0, 255)
            picture = torch.from_numpy(levels / 127.5 - 1).movedim(-1, 1)
            device = next(self._model.parameters()).device
            self._kept[key] = self._model(picture.to(device))[0]
            while len(self._kept) > 4:  # both sides, and the still pictures
                self._kept.pop(next(iter(self._kept)))
        return self._kept[key]


def _shares(mask: NDArray[np.bool_], patches: Tensor) -> Tensor:
    """How much of each patch's cell of the picture lies inside: float64 [rows, columns]."""
    inside = torch.from_numpy(mask[None].astype(np.float32)).to(patches.device)
    rows, columns = patches.shape[:2]
    return F.adaptive_avg_pool2d(inside, (rows, columns))[0].double()
