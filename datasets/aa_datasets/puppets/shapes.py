"""The flat shapes of a puppet over time: polygons with depths, from its projected joints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aa_datasets.puppets.identity import Cloth, Colour, PuppetIdentity

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


# (u in [-1, 1] across, v in [0, 1] down) -> pixels [T, 2]
Spot = Callable[[float | Array, float], Array]


@dataclass(slots=True)
class Part:
    """Layers drawn together, back to front, at a depth [T] (larger is nearer the camera)."""

    depth: Array
    layers: list[Layer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Projected:
    """The skeleton in the picture: pixels [T, ..., 2], depths and `px` [T] in body heights."""

    body: Array
    body_z: Array
    hands: Array
    hands_z: Array
    toes: Array
    head: Array
    facing: Array
    yaw: Array
    px: Array


def make_parts(who: PuppetIdentity, at: Projected) -> list[Part]:
    """All parts of the puppet; sort by depth in each frame and draw."""
    parts = [*_torso(who, at), *_head(who, at)]
    for side in (0, 1):
        parts += [_arm(who, at, side), _leg(who, at, side)]
    return parts


def _arm(who: PuppetIdentity, at: Projected, side: int) -> Part:
    first = 5 if side == 0 else 2
    shoulder, elbow, wrist = (at.body[:, first + i] for i in range(3))
    depth = at.body_z[:, first : first + 3].mean(1) * 0.5 + at.body_z[:, first + 2] * 0.5
    part = Part(depth)
    r = who.arm_radius * at.px
    part.layers += _hand(who, at, side)
    cloth_fore = who.sleeve >= 2
    part.layers += segment(elbow, wrist, 0.9 * r, 0.7 * r, None if cloth_fore else who.skin)
    if cloth_fore:
        part.layers += _clothed(elbow, wrist, 0.98 * r, 0.8 * r, who.top)
    part.layers += segment(shoulder, elbow, r, 0.9 * r, who.skin)
    if who.sleeve > 0:
        end = shoulder + min(who.sleeve, 1.0) * (elbow - shoulder)
        part.layers += _clothed(shoulder, end, 1.12 * r, 1.02 * r, who.top)
    return part


def _leg(who: PuppetIdentity, at: Projected, side: int) -> Part:
    first = 11 if side == 0 else 8
    hip, knee, ankle = (at.body[:, first + i] for i in range(3))
    r = who.leg_radius * at.px
    part = Part(at.body_z[:, first + 1 : first + 3].mean(1) - 0.05)
    shoe = 0.026 * at.px
    part.layers += segment(ankle, at.toes[:, side], shoe, shoe, who.shoes)
    trousers = who.leg_wear == "trousers"
    part.layers += segment(knee, ankle, 0.85 * r, 0.62 * r, None if trousers else who.skin)
    if trousers:
        part.layers += _clothed(knee, ankle, 0.88 * r, 0.68 * r, who.legs)
    if who.leg_wear == "skirt":
        part.layers += segment(hip, knee, r, 0.85 * r, who.skin)
    else:
        part.layers += _clothed(hip, knee, 1.08 * r, 0.92 * r, who.legs)
    return part


def _torso(who: PuppetIdentity, at: Projected) -> list[Part]:
    neck = at.body[:, 1]
    pelvis = at.body[:, [8, 11]].mean(1)
    down = pelvis - neck
    across = np.stack([down[:, 1], -down[:, 0]], 1) / np.linalg.norm(down, axis=1, keepdims=True)
    # A body is an elliptic cylinder: seen from the side it is about half as wide, never flat.
    turn = np.sqrt(np.cos(at.yaw) ** 2 + (0.55 * np.sin(at.yaw)) ** 2)
    shoulder = (who.shoulder_half + 0.4 * who.arm_radius) * at.px * turn
    hip = (who.hip_half + 0.95 * who.leg_radius) * at.px * turn
    waist = who.waist * (shoulder + hip) / 2

    def spot(u: float | Array, v: float) -> Array:
        """u in [-1, 1] across, v in [0, 1] from the shoulders to the hips."""
        half = np.interp(v, (0.0, 0.55, 1.0), (0.0, 1.0, 2.0))
        width = (
            (1 - half) * shoulder + half * waist
            if half < 1
            else (2 - half) * waist + (half - 1) * hip
        )
        point: Array = neck + (v * 1.06) * down + (u * width)[:, None] * across
        return point

    part = Part(at.body_z[:, [1, 8, 11]].mean(1))
    neck_top = at.head
    part.layers += segment(neck, neck_top, 0.035 * at.px, 0.035 * at.px, who.skin)
    corners = [(0.3, -0.05), (0.9, -0.02), (1.0, 0.06), (1.0, 0.55), (1.0, 1.0)]
    outline = [spot(u, v) for u, v in corners]
    mirrored = [spot(-u, v) for u, v in reversed(corners)]
    part.layers += outlined(np.stack(outline + mirrored, 1), who.top.colour)
    part.layers += _torso_pattern(who.top, spot, at)
    parts = [part]
    if who.leg_wear == "skirt":
        parts.append(_skirt(who, at, spot))
    else:
        belt = [spot(-1, 0.88), spot(1, 0.88), spot(1, 1.02), spot(-1, 1.02)]
        part.layers.append(Layer(np.stack(belt, 1), who.legs.colour))
    return parts


def _skirt(who: PuppetIdentity, at: Projected, spot: Spot) -> Part:
    """From the hips to above the knees, wide enough to cover both legs, in front of them."""
    pelvis = at.body[:, [8, 11]].mean(1)
    knees = at.body[:, [9, 12]]
    flare = 1.3 * who.leg_radius * at.px
    hem_y = pelvis[:, 1] + 0.8 * (knees[..., 1].max(1) - pelvis[:, 1])
    hem_left = np.stack([knees[..., 0].min(1) - flare, hem_y], 1)
    hem_right = np.stack([knees[..., 0].max(1) + flare, hem_y], 1)
    left, right = spot(-0.98, 0.92), spot(0.98, 0.92)
    part = Part(np.maximum(at.body_z[:, [1, 8, 11]].mean(1), at.body_z[:, [9, 10, 12, 13]].max(1)))
    part.layers += outlined(np.stack([left, right, hem_right, hem_left], 1), who.legs.colour)
    if who.legs.pattern != "plain":
        for low, high in ((0.35, 0.5), (0.75, 0.9)):
            band = [
                left + low * (hem_left - left),
                right + low * (hem_right - right),
                right + high * (hem_right - right),
                left + high * (hem_left - left),
            ]
            part.layers.append(Layer(np.stack(band, 1), who.legs.accent))
    return part


def _torso_pattern(cloth: Cloth, spot: Spot, at: Projected) -> list[Layer]:
    def quad(u0: float | Array, u1: float | Array, v0: float, v1: float) -> Array:
        return np.stack([spot(u0, v0), spot(u1, v0), spot(u1, v1), spot(u0, v1)], 1)

    accent = cloth.accent
    if cloth.pattern == "hoops":
        return [Layer(quad(-1, 1, v, v + 0.11), accent) for v in (0.12, 0.36, 0.6)]
    if cloth.pattern == "stripes":
        return [Layer(quad(u, u + 0.2, 0.02, 0.86), accent) for u in (-0.8, -0.35, 0.15, 0.6)]
    if cloth.pattern == "checks":
        return [
            Layer(quad(-1 + 0.5 * i, -0.5 + 0.5 * i, 0.06 + 0.2 * j, 0.26 + 0.2 * j), accent)
            for i in range(4)
            for j in range(4)
            if (i + j) % 2
        ]
    if cloth.pattern == "dots":
        radius = 0.021 * at.px
        return [
            Layer(disc(spot(u + (0.25 if j % 2 else 0), v), radius), accent)
            for j, v in enumerate((0.16, 0.38, 0.6, 0.8))
            for u in (-0.7, -0.15, 0.4)
        ]
    if (
        cloth.pattern == "panel"
    ):  # on the chest only: it turns with the body and tells front from back
        centre, half = 0.75 * np.sin(at.yaw), 0.45 * np.maximum(np.cos(at.yaw), 0)
        return [Layer(quad(centre - half, centre + half, 0.14, 0.6), accent, np.cos(at.yaw) > 0.05)]
    return []


def _head(who: PuppetIdentity, at: Projected) -> list[Part]:
    r = who.head_radius * at.px
    away, beside = at.facing[:, 2], at.facing[:, :2]
    up = at.head - at.body[:, 1]
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    depth = at.body_z[:, 1] + 0.02
    part = Part(depth)
    parts = [part]
    hair = who.hair if who.hair_style != "bald" else who.skin
    if who.hair_style == "long":
        back = at.head - (0.35 * r)[:, None] * beside
        behind = Part(np.where(away > 0, depth - 0.2, depth + 0.1))
        behind.layers += segment(back, back - (2.0 * r)[:, None] * up, 1.05 * r, 0.8 * r, hair)
        parts.append(behind)
    if who.hair_style == "bun":
        bun = at.head + r[:, None] * (1.05 * up - 0.4 * beside)
        part.layers += outlined(disc(bun, 0.42 * r), hair)
    skull = at.head + r[:, None] * (0.1 * up - 0.1 * beside)
    part.layers += outlined(disc(skull, 1.1 * r), hair)
    # The face slides over the skull as the head turns, and is gone from behind.
    face = at.head + r[:, None] * (0.42 * beside - 0.14 * up)
    width = r * np.clip(0.55 + 0.35 * away, 0.2, 0.9)
    part.layers.append(Layer(ellipse(face, width, 0.9 * r), who.skin, away > -0.35))
    if who.hair_style == "cap":
        brim = at.head + r[:, None] * (0.45 * up)
        part.layers.append(
            Layer(ellipse(brim + (0.45 * r)[:, None] * beside, r, 0.2 * r), who.top.accent)
        )
    for joint in (14, 15):
        seen = at.body_z[:, joint] > at.body_z[:, 1] + 0.02
        part.layers.append(Layer(disc(at.body[:, joint], 0.12 * r), (25, 20, 25), seen))
    mouth = at.head + r[:, None] * (0.85 * beside - 0.5 * up)
    part.layers.append(Layer(ellipse(mouth, 0.22 * r, 0.07 * r), (150, 60, 60), away > 0.25))
    return parts


def _hand(who: PuppetIdentity, at: Projected, side: int) -> list[Layer]:
    joints = at.hands[:, side]
    thin = 0.0095 * at.px
    palm_width = 0.2 * who.hand * at.px
    layers = segment(
        joints[:, 0], joints[:, [5, 9, 13, 17]].mean(1), 0.8 * palm_width, palm_width, who.skin
    )
    for finger in range(5):
        base, middle, tip = (joints[:, 4 * finger + k] for k in (1, 3, 4))
        layers.append(Layer(capsule(base, middle, thin, thin), who.skin))
        layers.append(Layer(capsule(middle, tip, thin, 0.8 * thin), who.skin))
    return layers


def _clothed(a: Array, b: Array, ra: Array, rb: Array, cloth: Cloth) -> list[Layer]:
    """A limb segment in a garment, with the garment's pattern in the limb's own coordinates."""
    layers = segment(a, b, ra, rb, cloth.colour)
    along = b - a
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], 1) / length

    def spot(u: float, v: float) -> Array:
        point: Array = a + v * along + (u * ((1 - v) * ra + v * rb))[:, None] * across
        return point

    def quad(u0: float, u1: float, v0: float, v1: float) -> Layer:
        corners = [spot(u0, v0), spot(u1, v0), spot(u1, v1), spot(u0, v1)]
        return Layer(np.stack(corners, 1), cloth.accent)

    if cloth.pattern == "hoops":
        layers += [quad(-1, 1, v, v + 0.16) for v in (0.15, 0.5, 0.82)]
    elif cloth.pattern in ("stripes", "panel"):
        layers.append(quad(-0.25, 0.3, 0.0, 1.0))
    elif cloth.pattern == "checks":
        layers += [
            quad(-1 if j % 2 else 0, 0 if j % 2 else 1, 0.25 * j, 0.25 * j + 0.25) for j in range(4)
        ]
    elif cloth.pattern == "dots":
        layers += [Layer(disc(spot(0, v), 0.45 * ra), cloth.accent) for v in (0.2, 0.55, 0.9)]
    return layers
