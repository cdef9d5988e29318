"""HDR and wide gamut to BT.709: the table of colours that FFmpeg's `lut3d` filter applies.

The filter interpolates between 65 levels a channel. Values are display light: PQ is absolute (SMPTE
ST 2084), HLG is that of a display of 1000 cd/m2 (BT.2100). 100 cd/m2 become the white of SDR
(BT.1886), so that graphics and skin keep their brightness; from half of that on, the brightest
channel is rolled off so that 1000 cd/m2 stay just below clipping, and colours keep their hue.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

Array = NDArray[np.float64]

HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG
# Linear RGB of wide gamuts to linear RGB of BT.709; all have D65 as white (BT.2087; SMPTE EG 432).
_TO_BT709 = {
    ColorPrimaries.BT2020: (
        (1.6605, -0.5876, -0.0728),
        (-0.1246, 1.1329, -0.0083),
        (-0.0182, -0.1006, 1.1187),
    ),
    ColorPrimaries.SMPTE432: (
        (1.2249, -0.2247, 0.0),
        (-0.0420, 1.0419, 0.0),
        (-0.0197, -0.0786, 1.0979),
    ),
}
_LEVELS = 65
_SDR_WHITE, _PEAK = 100.0, 1000.0  # cd/m2
_KNEE = 0.5  # of SDR's white: darker light is kept as it is


def needs_tone_map(color_trc: int, color_primaries: int) -> bool:
    """Whether a video with these tags shows wrong colours on a BT.709 display."""
    return color_trc in HDR_TRANSFERS or color_primaries in _TO_BT709


def bt709_of(rgb: Array, color_trc: int, color_primaries: int) -> Array:
    """Convert colours [..., 3] in [0, 1], coded as the tags say, to BT.709 for BT.1886."""
    light = _display_light(rgb, color_trc)
    matrix = _TO_BT709.get(ColorPrimaries(color_primaries)) if color_primaries else None
    if matrix is not None:
        light = np.maximum(light @ np.array(matrix).T, 0)
    if color_trc in HDR_TRANSFERS:
        brightest = np.maximum(light.max(-1, keepdims=True), 1e-9)
        light = light * (_roll_off(brightest) / brightest)
    return np.asarray(np.clip(light, 0, 1) ** (1 / 2.4))


def write_table(path: Path, color_trc: int, color_primaries: int) -> None:
    """Write `bt709_of` as a .cube file."""
    steps = np.linspace(0, 1, _LEVELS)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")  # red changes fastest
    rows = bt709_of(np.stack([red, green, blue], -1).reshape(-1, 3), color_trc, color_primaries)
    with path.open("w") as file:
        file.write(f"LUT_3D_SIZE {_LEVELS}\n")
        np.savetxt(file, rows, fmt="%.5f")


def _display_light(rgb: Array, color_trc: int) -> Array:
    """Linear light, 1 is SDR's white."""
    if color_trc == ColorTrc.SMPTE2084:
        power = rgb ** (1 / 78.84375)
        ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return np.asarray(10000 / _SDR_WHITE * ratio ** (1 / 0.1593017578125))
    if color_trc == ColorTrc.ARIB_STD_B67:
        scene = np.where(
            rgb <= 0.5, rgb**2 / 3, (np.exp((rgb - 0.55991073) / 0.17883277) + 0.28466892) / 12
        )
        luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
        return np.asarray(_PEAK / _SDR_WHITE * luminance[..., None] ** 0.2 * scene)
    return np.asarray(rgb**2.4)


def _roll_off(light: Array) -> Array:
    """Mobius: the identity up to the knee, smooth there, 1 at the peak."""
    peak = _PEAK / _SDR_WHITE
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    scale = (b * b + 2 * b * _KNEE + _KNEE**2) / (b - a)
    return np.where(light <= _KNEE, light, scale * (light + a) / (light + b))
