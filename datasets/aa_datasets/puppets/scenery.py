"""Backgrounds with the statistics of photographs, drawn from a seed: dead leaves.

Opaque shapes of all sizes that hide each other give edges, occlusion and the power spectrum of
natural pictures (Lee, Mumford & Huang, "Occlusion models for natural images", 2001). A network that
is to copy a photograph's background learns it from these, without a photograph.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LEAST_RADII, _LARGEST_RADIUS = (0.012, 0.03, 0.07), 0.5  # of the picture's smaller side


def draw_scenery(seed: int, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The background of this seed: uint8 [H, W, 3], RGB; the same seed gives the same picture.

    Shapes are ellipses, boxes and triangles with radii of density r^-3 and colours of a palette
    of the picture's own; light changes over the picture, and fine grain lies over it.
    """
    rng = np.random.default_rng([2, seed])
    height, width = size_hw
    side = min(size_hw)
    palette = _palette(rng)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = palette[0]
    least = float(rng.choice(_LEAST_RADII))
    for _ in range(int(rng.choice([30, 100, 300, 600]))):
        u = rng.uniform()  # the inverse of the distribution: 0 gives the largest radius
        radius = side * ((1 - u) * _LARGEST_RADIUS**-2 + u * least**-2) ** -0.5
        points = _shape(rng) * radius + rng.uniform((0, 0), (width, height))
        colour = palette[rng.integers(len(palette))] + rng.normal(0, 12, 3)
        colour_rgb = tuple(float(c) for c in np.clip(colour, 0, 255))
        cv2.fillPoly(picture, [np.round(16 * points).astype(np.int32)], colour_rgb, cv2.LINE_AA, 4)
    return _light(rng, picture)


def _palette(rng: np.random.Generator) -> NDArray[np.float64]:
    """Colours [n, 3] around a few of one picture: mostly dull, from dark to bright."""
    count = int(rng.integers(3, 9))
    grey = rng.uniform(10, 245, (count, 1))
    saturation = rng.beta(1, 3, (count, 1)) * 0.9
    tint = rng.uniform(0, 1, (count, 3))
    return np.clip(grey * (1 - saturation + 2 * saturation * tint), 0, 255)


def _shape(rng: np.random.Generator) -> NDArray[np.float64]:
    """Points [n, 2] of a turned, stretched outline of radius 1."""
    corners = int(rng.choice([3, 4, 4, 4, 24]))
    angle = 2 * np.pi * np.arange(corners) / corners + np.pi / 4
    outline: NDArray[np.float64] = np.stack([np.cos(angle), np.sin(angle)], -1)
    stretch = np.exp(rng.uniform(-1, 1))
    # Man-made scenes: half of all outlines stand upright.
    turn = rng.uniform(0, np.pi) if rng.uniform() < 0.5 else 0.0
    x, y = (outline * (stretch**0.5, stretch**-0.5)).T
    return np.stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y], -1)


def _light(rng: np.random.Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blur, a slow change of brightness and grain, as a camera and a lamp make them."""
    height, width = picture.shape[:2]
    sigma_px = float(rng.choice([0.0, 0.0, 0.004, 0.012])) * min(height, width)
    lit = picture.astype(np.float32)
    if sigma_px:
        lit = cv2.GaussianBlur(lit, (0, 0), sigma_px)
    gain = np.exp(rng.normal(0, 0.3, (3, 3))).astype(np.float32)
    lit *= cv2.resize(gain, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    grain = rng.normal(0, rng.uniform(0, 12), (height, width, 1)).astype(np.float32)
    return np.clip(np.round(lit + grain), 0, 255).astype(np.uint8)
