"""Flat shapes over time: circles, capsules and outlined polygons, vectorised over the frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_datasets.puppets.identity import Colour

Array = NDArray[np.float64]
_EDGE_PX = 1.2  # a dark outline, as in a drawn cartoon


@dataclass(frozen=True, slots=True)
class Layer:
    """A polygon over T frames, `points_px` [T, N, 2], y-monotone, in one colour.

    `shown` [T] hides it in some frames.
    """

    points_px: Array
    colour: Colour
    shown: NDArray[np.bool_] | None = None


def segment(a: Array, b: Array, ra: Array, rb: Array, colour: Colour | None) -> list[Layer]:
    if colour is None:
        return []
    return [
        Layer(capsule(a, b, ra + _EDGE_PX, rb + _EDGE_PX), _darker(colour)),
        Layer(capsule(a, b, ra, rb), colour),
    ]


def outlined(points_px: Array, colour: Colour) -> list[Layer]:
    centre = points_px.mean(1, keepdims=True)
    offset = points_px - centre
    reach = np.maximum(np.linalg.norm(offset, axis=2, keepdims=True), 1e-6)
    return [Layer(points_px + _EDGE_PX * offset / reach, _darker(colour)), Layer(points_px, colour)]


def _darker(colour: Colour) -> Colour:
    return int(0.55 * colour[0]), int(0.55 * colour[1]), int(0.55 * colour[2])


_HALF_TURN = np.linspace(-np.pi / 2, np.pi / 2, 7)
_FULL_TURN = np.linspace(0, 2 * np.pi, 20, endpoint=False)


def capsule(a: Array, b: Array, ra: Array, rb: Array) -> Array:
    """[T, 14, 2]: half a circle around b, then half a circle around a."""
    angle = np.arctan2(b[:, 1] - a[:, 1], b[:, 0] - a[:, 0])[:, None]
    turn_b, turn_a = angle + _HALF_TURN, angle + np.pi + _HALF_TURN
    around_b = b[:, None] + rb[:, None, None] * np.stack([np.cos(turn_b), np.sin(turn_b)], -1)
    around_a = a[:, None] + ra[:, None, None] * np.stack([np.cos(turn_a), np.sin(turn_a)], -1)
    return np.concatenate([around_b, around_a], 1)


def ellipse(centre: Array, rx: Array, ry: Array) -> Array:
    radius = np.stack([rx, ry], 1)[:, None]
    circle = np.stack([np.cos(_FULL_TURN), np.sin(_FULL_TURN)], -1)
    outline: Array = centre[:, None] + radius * circle
    return outline


def disc(centre: Array, radius: Array) -> Array:
    return ellipse(centre, radius, radius)
