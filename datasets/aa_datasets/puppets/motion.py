"""How a puppet moves: seeded joint angles over time, and the 3-D skeleton that they give.

Axes: x to the picture's right, y down, z towards the camera; the puppet faces the camera at yaw 0,
so its left is the picture's right. Lengths are in body heights, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aa_datasets.puppets.identity import PuppetIdentity

MOTION_KINDS = ("walk", "wave", "turn", "dance", "stretch", "lunge")
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Angles:
    """Joint angles over T frames; pairs are [T, 2] with the puppet's left first.

    `abduct` lifts a limb sideways from hanging down, `flex` swings it forward, `bend` is the elbow
    or knee, `curl` the fingers. `root_xz` [T, 2] is where the puppet stands.
    """

    root_xz: Array
    yaw: Array
    lean: Array
    head_yaw: Array
    head_tilt: Array
    arm_abduct: Array
    arm_flex: Array
    elbow_bend: Array
    leg_abduct: Array
    leg_flex: Array
    knee_bend: Array
    curl: Array


@dataclass(frozen=True, slots=True)
class Skeleton:
    """3-D joints over T frames, in body heights, soles at y = 0: `body` [T, 18, 3] in the order of
    BODY_JOINTS, `hands` [T, 2, 21, 3] left first, `toes` [T, 2, 3], `head` [T, 3] its centre, and
    `facing` [T, 3], the unit vector out of the face."""

    body: Array
    hands: Array
    toes: Array
    head: Array
    facing: Array


class _Waves:
    """Sums of seeded sines: the only source of motion."""

    def __init__(self, rng: np.random.Generator, time_s: Array) -> None:
        self.rng, self.time_s = rng, time_s

    def __call__(self, base: float, amplitude: float, tempo_hz: float, terms: int = 2) -> Array:
        value = np.full_like(self.time_s, base)
        for k in range(1, terms + 1):
            frequency = tempo_hz * k * self.rng.uniform(0.85, 1.15)
            phase = self.rng.uniform(0, 2 * np.pi)
            strength = amplitude * self.rng.uniform(0.6, 1.0) / k
            value += strength * np.sin(2 * np.pi * frequency * self.time_s + phase)
        return value

    def pair(self, base: float, amplitude: float, tempo_hz: float, terms: int = 2) -> Array:
        return np.stack([self(base, amplitude, tempo_hz, terms) for _ in range(2)], 1)


def make_angles(seed: int, num_frames: int, fps: float, kind: str | None = None) -> Angles:
    """The motion of this seed; `kind` is one of MOTION_KINDS, None draws it from the seed."""
    rng = np.random.default_rng([2, seed])
    drawn = str(rng.choice(MOTION_KINDS))
    kind = drawn if kind is None else kind
    time_s = np.arange(num_frames) / fps
    wave = _Waves(rng, time_s)
    tempo = rng.uniform(0.45, 0.85)
    zero = np.zeros(num_frames)

    # A calm stance that sways and steps about; each kind then replaces what it is about.
    root_x = wave(0.0, rng.uniform(0.1, 0.2), 0.35)
    root_z = wave(0.0, 0.05, 0.25, 1)
    yaw = wave(0.0, 0.35, 0.3)
    lean = wave(0.0, 0.08, tempo)
    arm_abduct = wave.pair(0.45, 0.3, tempo)
    arm_flex = wave.pair(0.15, 0.4, tempo)
    elbow = wave.pair(0.6, 0.5, tempo)
    leg_abduct = wave.pair(0.1, 0.08, tempo)
    leg_flex = wave.pair(0.15, 0.15, tempo)
    knee = wave.pair(0.3, 0.2, tempo)
    if kind == "walk":
        direction = rng.choice([-1.0, 1.0])
        cycle = 2 * np.pi * rng.uniform(0.8, 1.2) * time_s + rng.uniform(0, 2 * np.pi)
        stride = rng.uniform(0.4, 0.65)
        both = np.stack([cycle, cycle + np.pi], 1)
        root_x = -direction * 0.2 + direction * 0.4 * time_s / max(time_s[-1], 1 / fps)
        yaw = direction * rng.uniform(0.5, 1.3) + wave(0.0, 0.1, tempo)
        leg_flex = 0.1 + stride * np.sin(both)
        knee = 0.15 + 0.5 * stride * (1 + np.cos(both))
        arm_flex = -0.9 * stride * np.sin(both)
        arm_abduct = wave.pair(0.15, 0.05, tempo)
        elbow = 0.35 + 0.25 * np.sin(both)
    elif kind == "wave":
        side = int(rng.integers(2))
        arm_abduct[:, side] = wave(2.3, 0.35, tempo)
        elbow[:, side] = wave(0.7, 0.7, 2 * tempo)
    elif kind == "turn":
        yaw = wave(0.0, rng.uniform(0.9, 1.8), 0.3, 1)
    elif kind == "dance":
        root_x = wave(0.0, 0.2, 0.5)
        lean = wave(0.0, 0.22, tempo)
        arm_abduct = wave.pair(1.3, 1.0, tempo)
        elbow = wave.pair(0.9, 0.8, tempo)
        leg_abduct = wave.pair(0.2, 0.2, tempo)
        leg_flex = wave.pair(0.3, 0.4, tempo)
        knee = wave.pair(0.6, 0.5, tempo)
    elif kind == "stretch":
        shared = wave(1.5, 1.2, tempo, 1)[:, None]
        arm_abduct = np.repeat(shared, 2, 1) + wave.pair(0, 0.15, tempo)
        elbow = wave.pair(0.2, 0.2, tempo)
        lean = wave(0.0, 0.3, tempo, 1)
    elif kind == "lunge":
        phase = np.sin(2 * np.pi * tempo * time_s + rng.uniform(0, 2 * np.pi))[:, None]
        leg_abduct = 0.3 + 0.35 * phase * np.array([1.0, -1.0])
        knee = 0.5 + 0.5 * phase * np.array([1.0, -1.0])
        leg_flex = 0.5 * knee
        root_x = 0.15 * phase[:, 0] + wave(0, 0.08, 0.3)
    elif kind not in MOTION_KINDS:
        raise ValueError(f"no motion {kind!r}: choose one of {', '.join(MOTION_KINDS)}")
    return Angles(
        root_xz=np.stack([np.clip(root_x, -0.34, 0.34), root_z], 1),
        yaw=yaw,
        lean=np.clip(lean, -0.45, 0.45),
        head_yaw=wave(0.0, 0.35, 0.4),
        head_tilt=wave(0.0, 0.12, tempo) + zero,
        arm_abduct=np.clip(arm_abduct, 0.05, 2.9),
        arm_flex=np.clip(arm_flex, -0.8, 1.6),
        elbow_bend=np.clip(elbow, 0.05, 2.3),
        leg_abduct=np.clip(leg_abduct, 0.0, 0.7),
        leg_flex=np.clip(leg_flex, -0.6, 1.1),
        knee_bend=np.clip(knee, 0.05, 1.8),
        curl=np.clip(wave.pair(0.5, 0.5, tempo), 0.1, 1.2),
    )


def pose_skeleton(who: PuppetIdentity, angles: Angles) -> Skeleton:
    """Forward kinematics: the 3-D skeleton of this puppet at these angles."""
    T = len(angles.yaw)
    body = np.zeros((T, 18, 3))
    hands = np.zeros((T, 2, 21, 3))
    toes = np.zeros((T, 2, 3))
    x_axis = np.broadcast_to([1.0, 0.0, 0.0], (T, 3))
    forward = np.broadcast_to([0.0, 0.0, 1.0], (T, 3))
    up = np.stack([np.sin(angles.lean), -np.cos(angles.lean), np.zeros(T)], 1)
    lateral = np.stack([np.cos(angles.lean), np.sin(angles.lean), np.zeros(T)], 1)

    neck = up * who.torso
    body[:, 1] = neck
    for side, sign in ((0, 1.0), (1, -1.0)):
        shoulder = neck - up * 0.02 + sign * lateral * who.shoulder_half
        arm = _limb(
            lateral, -up, forward, sign, angles.arm_abduct[:, side], angles.arm_flex[:, side]
        )
        # An elbow bends forward and up, whichever way the upper arm points.
        fore = _bent(arm, forward + 0.7 * up, angles.elbow_bend[:, side])
        elbow = shoulder + who.upper_arm * arm
        wrist = elbow + who.forearm * fore
        across = _unit(np.cross(fore, forward) + 1e-6 * up) * sign
        hands[:, side] = _hand(who.hand, wrist, fore, across, angles.curl[:, side])
        hip = sign * x_axis * who.hip_half
        down = np.broadcast_to([0.0, 1.0, 0.0], (T, 3))
        thigh = _limb(
            x_axis, down, forward, sign, angles.leg_abduct[:, side], angles.leg_flex[:, side]
        )
        shin = _bent(thigh, -forward, angles.knee_bend[:, side])
        knee = hip + who.thigh * thigh
        ankle = knee + who.shin * shin
        first_arm, first_leg = (5, 11) if side == 0 else (2, 8)
        body[:, first_arm], body[:, first_arm + 1], body[:, first_arm + 2] = shoulder, elbow, wrist
        body[:, first_leg], body[:, first_leg + 1], body[:, first_leg + 2] = hip, knee, ankle
        toes[:, side] = ankle + who.foot * _unit(forward + 0.35 * down + sign * 0.3 * x_axis)

    tilt = angles.head_tilt[:, None]
    head_up = _unit(up + tilt * lateral)
    head = neck + head_up * (who.neck + who.head_radius)
    yaw = angles.head_yaw[:, None]
    facing = np.cos(yaw) * forward + np.sin(yaw) * lateral
    head_left = np.cos(yaw) * lateral - np.sin(yaw) * forward
    r = who.head_radius
    body[:, 0] = head + r * (1.0 * facing - 0.12 * head_up)
    for joint, sign in ((15, 1.0), (14, -1.0)):
        body[:, joint] = head + r * (0.88 * facing + 0.2 * head_up + sign * 0.38 * head_left)
    for joint, sign in ((17, 1.0), (16, -1.0)):
        body[:, joint] = head + r * sign * 0.97 * head_left

    place = _Placement(angles, body, toes)
    return Skeleton(place(body), place(hands), place(toes), place(head), place.turn(facing))


class _Placement:
    """Turns the puppet about its pelvis, stands its lower foot on y = 0, moves it to its place."""

    def __init__(self, angles: Angles, body: Array, toes: Array) -> None:
        self.cos, self.sin = np.cos(angles.yaw), np.sin(angles.yaw)
        lowest = np.maximum(body[:, (10, 13), 1].max(1) + 0.035, toes[..., 1].max(1))
        self.shift = np.stack([angles.root_xz[:, 0], -lowest, angles.root_xz[:, 1]], 1)

    def turn(self, points: Array) -> Array:
        extra = (slice(None),) + (None,) * (points.ndim - 2)
        cos, sin = self.cos[extra], self.sin[extra]
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        return np.stack([cos * x + sin * z, y, cos * z - sin * x], -1)

    def __call__(self, points: Array) -> Array:
        extra = (slice(None),) + (None,) * (points.ndim - 2)
        placed: Array = self.turn(points) + self.shift[extra]
        return placed


def _limb(
    lateral: Array, down: Array, forward: Array, sign: float, abduct: Array, flex: Array
) -> Array:
    """Unit direction of an upper arm or thigh: lifted sideways, the rest swung forward."""
    sine, cosine = np.sin(abduct)[:, None], np.cos(abduct)[:, None]
    swing = np.cos(flex)[:, None] * down + np.sin(flex)[:, None] * forward
    return _unit(sign * sine * lateral + cosine * swing)


def _bent(along: Array, towards: Array, angle: Array) -> Array:
    """`along` turned by `angle` in the plane that it spans with `towards`."""
    aside = _unit(towards - (towards * along).sum(1, keepdims=True) * along)
    return np.cos(angle)[:, None] * along + np.sin(angle)[:, None] * aside


def _hand(length: float, wrist: Array, along: Array, across: Array, curl: Array) -> Array:
    """21 joints [T, 21, 3]: a palm of 45 % of the length, fingers fanned and curled."""
    T = len(wrist)
    joints = np.zeros((T, 21, 3))
    joints[:, 0] = wrist
    palm_normal = np.cross(along, across)
    for finger, (fan, reach, base) in enumerate(
        (
            (0.95, 0.75, 0.2),
            (0.3, 0.95, 0.45),
            (0.08, 1.0, 0.46),
            (-0.14, 0.93, 0.44),
            (-0.36, 0.78, 0.4),
        )
    ):
        direction = np.cos(fan) * along + np.sin(fan) * across
        point = wrist + base * length * direction
        joints[:, 1 + 4 * finger] = point
        for k in range(3):
            angle = (curl * (k + 0.5) * (0.4 if finger == 0 else 0.7))[:, None]
            bone = np.cos(angle) * direction + np.sin(angle) * palm_normal
            point = point + (reach - 0.42) * length / 3 * bone
            joints[:, 2 + 4 * finger + k] = point
    return joints


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
