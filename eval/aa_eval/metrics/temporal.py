"""Change over time: how a prediction moves from frame to frame, against its reference.

Each takes consecutive frames of both, uint8 [T, H, W, 3], and gives [T] values; the first frame has
none before it and is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from aa_eval.metrics.ssim import ssim_of_range

Frames = NDArray[np.uint8]
Values = NDArray[np.float64]
# (frame, frame before it) -> float [2, H, W], (down, right) in pixels: where each pixel of the
# frame lies in the one before
Flow = Callable[[Frames, Frames], NDArray[np.floating]]

_STILL_LEVELS = 2  # what coding noise alone changes
_STILL_PX = 0.5


def dtssd(prediction: Frames, reference: Frames) -> Values:
    """Root mean square difference of the two sides' temporal changes, in levels of 255.

    Erofeev et al. 2015: sqrt(mean(((p_t - p_t-1) - (r_t - r_t-1))^2)). 0 where both change alike;
    an error that stands still costs nothing.
    """
    error = _changes(prediction) - _changes(reference)
    return _from_second(np.sqrt(np.square(error).mean(axis=(1, 2, 3))))


def flicker(prediction: Frames, reference: Frames) -> Values:
    """Mean absolute change, in levels of 255, of the pixels that stand still in the reference.

    A pixel stands still where no channel of the reference changes by more than 2 levels. Lower is
    better; a still picture has 0. NaN where all of the reference moves.
    """
    change, still = np.abs(_changes(prediction)).mean(axis=-1), _still(reference)
    counts = still.sum(axis=(1, 2))
    means = np.full(len(counts), np.nan)
    np.divide((change * still).sum(axis=(1, 2)), counts, out=means, where=counts > 0)
    return _from_second(means)


def flicker_own(prediction: Frames, flow: Flow) -> Values:
    """Mean absolute change, in levels of 255, of pixels that stand still by the video's own flow.

    For videos without true frames. A pixel stands still where it moves by less than half a pixel. A
    still picture has 0; NaN where all of it moves.
    """
    values = []
    for t in range(1, len(prediction)):
        still = np.hypot(*flow(prediction[t], prediction[t - 1])) < _STILL_PX
        change = np.abs(_changes(prediction[t - 1 : t + 1])[0]).mean(axis=-1)
        values.append(float(change[still].mean()) if still.any() else np.nan)
    return _from_second(np.asarray(values, dtype=np.float64))


def ssim_of_differences(prediction: Frames, reference: Frames) -> Values:
    """`ssim_colour_gaussian` of p_t - p_t-1 against r_t - r_t-1, whose range is 510.

    Raises:
        MetricUnavailable: a frame is smaller than the window of 11x11.
    """
    changes = _changes(prediction), _changes(reference)
    return _from_second(ssim_of_range(*changes, np.full(len(changes[0]), 510.0)))


def tof(prediction: Frames, reference: Frames, flow: Flow) -> Values:
    """Mean distance in pixels of the two sides' optical flows (tOF, Chu et al. 2020)."""
    values = []
    for t in range(1, len(prediction)):
        ours = flow(prediction[t], prediction[t - 1])
        theirs = flow(reference[t], reference[t - 1])
        values.append(float(np.hypot(*(ours - theirs)).mean()))
    return _from_second(np.asarray(values, dtype=np.float64))


def warp_error(prediction: Frames, reference: Frames, flow: Flow) -> Values:
    """Mean squared change along the reference's motion, of frames in [0, 1] (Lai et al. 2018).

    p_t-1 is warped by the reference's flow and compared with p_t, where the reference is not
    occluded: its flows to and fro cancel, |w + w'|^2 <= 0.01 (|w|^2 + |w'|^2) + 0.5 (Sundaram et
    al. 2010), and point into the frame. NaN where no pixel is left.
    """
    values = []
    for t in range(1, len(prediction)):
        back = flow(reference[t], reference[t - 1])
        forth = flow(reference[t - 1], reference[t])
        places = np.indices(back.shape[1:]) + back
        limits = np.asarray(back.shape[1:])[:, None, None] - 1
        returned = np.stack([_sample(component, places) for component in forth])
        gap = np.square(back + returned).sum(axis=0)
        size = np.square(back).sum(axis=0) + np.square(returned).sum(axis=0)
        seen = ((places >= 0) & (places <= limits)).all(axis=0) & (gap <= 0.01 * size + 0.5)
        before = prediction[t - 1].astype(np.float64)
        warped = np.stack([_sample(before[..., c], places) for c in range(3)], axis=-1)
        error = np.square((prediction[t] - warped) / 255).mean(axis=-1)
        values.append(float(error[seen].mean()) if seen.any() else np.nan)
    return _from_second(np.asarray(values, dtype=np.float64))


def _changes(frames: Frames) -> Values:
    return np.diff(frames.astype(np.float64), axis=0)


def _still(reference: Frames) -> NDArray[np.bool_]:
    return np.asarray((np.abs(_changes(reference)) <= _STILL_LEVELS).all(axis=-1))


def _sample(plane: NDArray[np.floating], places: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(map_coordinates(plane, places, order=1, mode="nearest"))


def _from_second(values: Values) -> Values:
    return np.concatenate([[np.nan], values])
