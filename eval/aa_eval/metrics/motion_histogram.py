"""Motion histograms of tracked points: the features of FVMD (Liu et al. 2024)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CELL, _CUBE_FRAMES, _ANGLES = 5, 4, 8
_MAX_PX = 255  # faster points count as this fast


def motion_histogram(tracks_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Histograms of velocity, then those of "acceleration", over cells of 4 frames and 5x5 points.

    As the package fvmd 1.0.0 computes them: its acceleration is taken of the tracks, not of the
    velocity, so that it is the velocity once more, without that of the second frame.

    Args:
        tracks_px: [T, side * side, 2], (x, y), of a square grid of points row by row.

    Returns:
        [2 * (T // 4) * (side // 5)^2 * 8].
    """
    frames, points, _ = tracks_px.shape
    side = round(points**0.5)
    velocity = np.zeros((frames, side, side, 2))
    velocity[1:] = np.diff(tracks_px, axis=0).reshape(-1, side, side, 2)
    acceleration = velocity.copy()
    acceleration[:2] = 0
    return np.concatenate([_histograms(v).ravel() for v in (velocity, acceleration)])


def _histograms(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """[T, side, side, 2] -> [T // 4, side // 5, side // 5, 8]: lengths, by direction."""
    counts = (
        vectors.shape[0] // _CUBE_FRAMES,
        vectors.shape[1] // _CELL,
        vectors.shape[2] // _CELL,
    )
    vectors = vectors[: counts[0] * _CUBE_FRAMES, : counts[1] * _CELL, : counts[2] * _CELL]
    angles = np.arctan2(vectors[..., 0], vectors[..., 1]) + np.pi
    bins = np.clip(angles // (2 * np.pi / _ANGLES), 0, _ANGLES - 1).astype(np.int64)
    # logarithmic steps: 0 to 8, then 0 to 1
    lengths = np.log2(np.clip(np.linalg.norm(vectors, axis=-1), 0, _MAX_PX) + 1)
    lengths = np.ceil(np.clip(lengths, 0, 8)) / 8
    of_bin = np.where(bins[..., None] == np.arange(_ANGLES), lengths[..., None], 0)
    cells = of_bin.reshape(counts[0], _CUBE_FRAMES, counts[1], _CELL, counts[2], _CELL, _ANGLES)
    return np.asarray(cells.sum(axis=(1, 3, 5)))
