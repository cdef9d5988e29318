"""Trivial predictions, made from the reference while it is read: what a number is worth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import EvalError

Frame = NDArray[np.uint8]


def _repeat_reference() -> Callable[[Frame], Frame]:
    """The video's first frame, which every method is given, over and over."""
    first: list[Frame] = []

    def predict(frame: Frame) -> Frame:
        if not first:
            first.append(frame)
        return first[0]

    return predict


def _previous_frame() -> Callable[[Frame], Frame]:
    """The true frame before; the first frame for itself. Needs the answer: an upper mark."""
    before: list[Frame] = []

    def predict(frame: Frame) -> Frame:
        before.append(frame)
        return before.pop(0) if len(before) > 1 else frame

    return predict


def _constant(level: int) -> Callable[[], Callable[[Frame], Frame]]:
    return lambda: lambda frame: np.full_like(frame, level)


# name -> maker of a predictor for one video: reference frame in, predicted frame out, in order
BASELINES: dict[str, Callable[[], Callable[[Frame], Frame]]] = {
    "repeat-reference": _repeat_reference,
    "mid-grey": _constant(128),
    "white": _constant(255),
    "previous-frame": _previous_frame,
}
# Still pictures: their windows are all alike, so that I3D runs once per video.
FAST = ("repeat-reference", "mid-grey", "white")


def choose_baselines(words: str) -> tuple[str, ...]:
    """Names for "fast", "all", "off", or a list with commas.

    Raises:
        EvalError: a name is unknown.
    """
    if words in ("fast", "all", "off"):
        return {"fast": FAST, "all": tuple(BASELINES), "off": ()}[words]
    names = tuple(dict.fromkeys(name.strip() for name in words.split(",")))
    if unknown := [name for name in names if name not in BASELINES]:
        raise EvalError(
            f"--baselines '{unknown[0]}' is unknown: fast, all, off, or {', '.join(BASELINES)}"
        )
    return names
