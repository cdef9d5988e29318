"""Who a puppet is: body proportions, clothes, hair, skin and background, all from one seed."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]  # RGB in 0..255

PATTERNS = ("plain", "stripes", "hoops", "dots", "checks", "panel")
HAIR_STYLES = ("short", "long", "bun", "cap", "bald")
LEG_WEAR = ("trousers", "shorts", "skirt")

# From light to dark, after the Monk skin tone scale's range.
_SKIN = np.array(
    [(246, 221, 204), (235, 194, 165), (208, 158, 120), (160, 110, 76), (118, 78, 52), (80, 54, 40)]
)


@dataclass(frozen=True, slots=True)
class Cloth:
    """A garment's two colours and what is made of them."""

    colour: Colour
    accent: Colour
    pattern: str


@dataclass(frozen=True, slots=True)
class PuppetIdentity:
    """One puppet. Lengths are in units of body height (crown to sole = 1).

    `background` holds the colours of sky (top, bottom) and floor (far, near); `horizon` is the
    floor's upper edge as a fraction of the picture's height.
    """

    seed: int
    head_radius: float
    neck: float
    torso: float
    shoulder_half: float
    hip_half: float
    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shin: float
    foot: float
    arm_radius: float
    leg_radius: float
    waist: float
    skin: Colour
    hair: Colour
    hair_style: str
    top: Cloth
    sleeve: float
    legs: Cloth
    leg_wear: str
    shoes: Colour
    background: tuple[Colour, Colour, Colour, Colour]
    horizon: float


def make_identity(seed: int) -> PuppetIdentity:
    """The puppet of this seed; the same seed always gives the same puppet."""
    rng = np.random.default_rng([1, seed])
    base_hue = rng.uniform()
    top = _cloth(rng, base_hue + rng.uniform(0.25, 0.75))
    legs = _cloth(rng, rng.uniform(), plain=0.6)
    skin_at = rng.uniform(0, len(_SKIN) - 1)
    skin = _SKIN[int(skin_at)] + (skin_at % 1) * (_SKIN[int(skin_at) + 1] - _SKIN[int(skin_at)])
    sky = _colour(base_hue, rng.uniform(0.1, 0.5), rng.uniform(0.55, 0.98))
    floor_hue = base_hue + rng.uniform(-0.15, 0.15)
    floor = _colour(floor_hue, rng.uniform(0.1, 0.5), rng.uniform(0.3, 0.75))
    return PuppetIdentity(
        seed=seed,
        head_radius=rng.uniform(0.075, 0.1),
        neck=rng.uniform(0.03, 0.05),
        torso=rng.uniform(0.27, 0.32),
        shoulder_half=rng.uniform(0.095, 0.135),
        hip_half=rng.uniform(0.055, 0.085),
        upper_arm=rng.uniform(0.155, 0.185),
        forearm=rng.uniform(0.135, 0.165),
        hand=rng.uniform(0.095, 0.115),
        thigh=rng.uniform(0.225, 0.26),
        shin=rng.uniform(0.215, 0.25),
        foot=rng.uniform(0.09, 0.11),
        arm_radius=rng.uniform(0.024, 0.034),
        leg_radius=rng.uniform(0.034, 0.05),
        waist=rng.uniform(0.75, 1.0),
        skin=_rgb(skin),
        hair=_colour(rng.uniform(0.0, 0.12), rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.85)),
        hair_style=str(rng.choice(HAIR_STYLES, p=[0.3, 0.3, 0.15, 0.15, 0.1])),
        top=top,
        sleeve=float(rng.choice([0.0, 0.5, 1.0, 2.0])),
        legs=legs,
        leg_wear=str(rng.choice(LEG_WEAR, p=[0.5, 0.25, 0.25])),
        shoes=_colour(rng.uniform(), rng.uniform(0, 0.8), rng.uniform(0.1, 0.95)),
        background=(
            _shade(sky, rng.uniform(0.8, 1.05)),
            _shade(sky, rng.uniform(0.9, 1.1)),
            floor,
            _shade(floor, rng.uniform(0.75, 1.2)),
        ),
        horizon=rng.uniform(0.55, 0.8),
    )


def _cloth(rng: np.random.Generator, hue: float, plain: float = 0.2) -> Cloth:
    value = rng.uniform(0.2, 0.95)
    colour = _colour(hue, rng.uniform(0.35, 0.95), value)
    # The accent differs in brightness, so that a pattern is seen whatever the hues are.
    accent_value = value - 0.45 if value > 0.55 else value + 0.45
    accent = _colour(hue + rng.uniform(-0.3, 0.3), rng.uniform(0.1, 0.8), accent_value)
    patterned = (1 - plain) / (len(PATTERNS) - 1)
    probabilities = [plain] + [patterned] * (len(PATTERNS) - 1)
    return Cloth(colour, accent, str(rng.choice(PATTERNS, p=probabilities)))


def _colour(hue: float, saturation: float, value: float) -> Colour:
    return _rgb(255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value)))


def _shade(colour: Colour, gain: float) -> Colour:
    return _rgb(gain * np.array(colour))


def _rgb(values: np.ndarray) -> Colour:
    red, green, blue = (int(v) for v in np.clip(np.round(values), 0, 255))
    return red, green, blue
