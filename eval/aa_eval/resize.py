"""The named resizes; nothing else in this package may interpolate.

A resize is part of a metric's definition: the same frames give another FVD under another filter.
Each takes uint8 frames [T, H, W, 3] in [0, 255] and gives float32 [T, h, w, 3] on the same scale,
neither rounded nor clipped (bicubic filters overshoot), except where its line says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aa_eval.errors import ProtocolError

Frames = NDArray[np.uint8]
FloatFrames = NDArray[np.float32]


def resize(frames: Frames, name: str, size_hw: tuple[int, int]) -> FloatFrames:
    """Resize frames uint8 [T, H, W, 3] by the filter called `name` (a key of `RESIZES`)."""
    if name not in RESIZES:
        raise ProtocolError(f"resize '{name}' is unknown: choose from {', '.join(RESIZES)}")
    return RESIZES[name](frames, size_hw)


def _pil_float(filter_: Image.Resampling) -> Callable[[Frames, tuple[int, int]], FloatFrames]:
    """Pillow in mode F, channel by channel: antialiased, squashes the aspect (clean-fid)."""

    def squash(frames: Frames, size_hw: tuple[int, int]) -> FloatFrames:
        size_wh = (size_hw[1], size_hw[0])
        out = np.empty((len(frames), *size_hw, 3), dtype=np.float32)
        for t, frame in enumerate(frames):
            for c in range(3):
                channel = Image.fromarray(frame[..., c].astype(np.float32))
                out[t, ..., c] = np.asarray(channel.resize(size_wh, filter_))
        return out

    return squash


def _pil_uint8(filter_: Image.Resampling) -> Callable[[Frames, tuple[int, int]], FloatFrames]:
    """Pillow on 8-bit frames: antialiased, squashes, rounds to whole levels and clips."""

    def squash(frames: Frames, size_hw: tuple[int, int]) -> FloatFrames:
        size_wh = (size_hw[1], size_hw[0])
        images = [Image.fromarray(frame).resize(size_wh, filter_) for frame in frames]
        return np.stack([np.asarray(image, dtype=np.float32) for image in images])

    return squash


def _short_side_bicubic_crop(frames: Frames, size_hw: tuple[int, int]) -> FloatFrames:
    """Centre-crops to the target's aspect, then antialiased bicubic: keeps proportions."""
    return _pil_float(Image.Resampling.BICUBIC)(_centre_crop(frames, size_hw), size_hw)


def _short_side_bilinear_crop(frames: Frames, size_hw: tuple[int, int]) -> FloatFrames:
    """Short side bilinear without antialiasing, then centre crop (VideoGPT, common_metrics)."""
    height, width = frames.shape[1:3]
    scale = max(size_hw[0] / height, size_hw[1] / width)
    # VideoGPT takes the ceiling of the long side; the short side is exact.
    inner = (
        max(size_hw[0], int(np.ceil(height * scale - 1e-9))),
        max(size_hw[1], int(np.ceil(width * scale - 1e-9))),
    )
    resized = _bilinear(frames, inner)
    top, left = (inner[0] - size_hw[0]) // 2, (inner[1] - size_hw[1]) // 2
    return resized[:, top : top + size_hw[0], left : left + size_hw[1]]


def _bilinear(frames: Frames, size_hw: tuple[int, int]) -> FloatFrames:
    """Bilinear at pixel centres without antialiasing, squashes (torch and OpenCV's default)."""
    import torch  # takes seconds to import: only where this filter is used
    import torch.nn.functional as F

    video = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    out = F.interpolate(video, size=size_hw, mode="bilinear", align_corners=False)
    return np.ascontiguousarray(out.permute(0, 2, 3, 1).numpy())


def _opencv_bilinear_uint8(frames: Frames, size_hw: tuple[int, int]) -> FloatFrames:
    """cv2.resize's default on 8-bit frames, to the last level: bilinear without antialiasing.

    OpenCV counts in fixed point: weights are multiples of 1/2048, the rows' sums lose four bits
    before the columns' weights come. Half the size in both directions is the mean of 2x2 pixels.
    """
    height, width = frames.shape[1:3]
    values = frames.astype(np.int32)
    if (height, width) == (2 * size_hw[0], 2 * size_hw[1]):
        rows = values[:, ::2] + values[:, 1::2]
        return np.asarray((rows[:, :, ::2] + rows[:, :, 1::2] + 2) >> 2, dtype=np.float32)
    left, right, weights_x = _fixed_point(width, size_hw[1])
    above, below, weights_y = _fixed_point(height, size_hw[0])
    rows = values[:, :, left] * weights_x[0][:, None] + values[:, :, right] * weights_x[1][:, None]
    rows >>= 4
    upper = rows[:, above] * weights_y[0][:, None, None] >> 16
    lower = rows[:, below] * weights_y[1][:, None, None] >> 16
    return np.asarray((upper + lower + 2) >> 2, dtype=np.float32)


def _pil_768_then_bilinear(frames: Frames, size_hw: tuple[int, int]) -> FloatFrames:
    """HumanVid's way to Inception: Pillow's 8-bit bilinear to 768x768, then `bilinear`."""
    squashed = _pil_uint8(Image.Resampling.BILINEAR)(frames, (768, 768)).astype(np.uint8)
    return _bilinear(squashed, size_hw)


def _fixed_point(
    source: int, target: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """The two neighbours of each target pixel, and their weights [2, target] in 1/2048."""
    # OpenCV's scale is the inverse of an inverse; positions are rounded to float32
    at = ((np.arange(target) + 0.5) * (1 / (target / source)) - 0.5).astype(np.float32)
    first = np.floor(at)
    part = at - first
    weights = np.rint(np.stack([np.float32(1) - part, part]) * 2048).astype(np.int32)
    low = first.astype(np.int64)
    return np.clip(low, 0, source - 1), np.clip(low + 1, 0, source - 1), weights


def _tf1_bilinear(frames: Frames, size_hw: tuple[int, int]) -> FloatFrames:
    """TensorFlow 1's resize_bilinear: source = target * scale from the corner, no antialiasing."""
    rows = np.arange(size_hw[0], dtype=np.float32) * np.float32(frames.shape[1] / size_hw[0])
    columns = np.arange(size_hw[1], dtype=np.float32) * np.float32(frames.shape[2] / size_hw[1])
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    bottom = np.minimum(top + 1, frames.shape[1] - 1)
    right = np.minimum(left + 1, frames.shape[2] - 1)
    down = (rows - top)[None, :, None, None]
    across = (columns - left)[None, None, :, None]
    values = frames.astype(np.float32)
    upper = values[:, top][:, :, left] * (1 - across) + values[:, top][:, :, right] * across
    lower = values[:, bottom][:, :, left] * (1 - across) + values[:, bottom][:, :, right] * across
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)


def _centre_crop(frames: Frames, size_hw: tuple[int, int]) -> Frames:
    height, width = frames.shape[1:3]
    aspect = size_hw[1] / size_hw[0]
    crop_h, crop_w = min(height, round(width / aspect)), min(width, round(height * aspect))
    top, left = (height - crop_h) // 2, (width - crop_w) // 2
    return frames[:, top : top + crop_h, left : left + crop_w]


RESIZES: dict[str, Callable[[Frames, tuple[int, int]], FloatFrames]] = {
    "pil-bicubic-float": _pil_float(Image.Resampling.BICUBIC),
    "pil-bilinear-float": _pil_float(Image.Resampling.BILINEAR),
    "pil-bilinear-uint8": _pil_uint8(Image.Resampling.BILINEAR),
    "pil-bicubic-uint8": _pil_uint8(Image.Resampling.BICUBIC),
    "centre-crop-pil-bicubic-float": _short_side_bicubic_crop,
    "short-side-bilinear-centre-crop": _short_side_bilinear_crop,
    "bilinear": _bilinear,
    "pil-bilinear-uint8-768-bilinear": _pil_768_then_bilinear,
    "bilinear-uint8": _opencv_bilinear_uint8,
    "tf1-bilinear": _tf1_bilinear,
}
