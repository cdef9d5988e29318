"""Trivial predictions, made from the reference while it is read: what a number is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from aa_eval.errors import EvalError, VideoError
from aa_eval.names import REPEATED, STATIC, STATIC_OF
from aa_eval.videos.pairing import Pair
from aa_eval.videos.source import iter_frames

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


def _blur(frame: Frame) -> Frame:
    """The true frame under a Gaussian of 1 % of its shorter side: right motion, no detail."""
    sigma_px = 0.01 * min(frame.shape[:2])
    blurred = gaussian_filter(frame.astype(np.float32), (sigma_px, sigma_px, 0), mode="nearest")
    return np.asarray(np.rint(blurred), dtype=np.uint8)


def _shift(frame: Frame) -> Frame:
    """The true frame one pixel to the right, its left column twice: invisible to the eye."""
    return np.concatenate([frame[:, :1], frame[:, :-1]], axis=1)


# name -> maker of a predictor for one video: reference frame in, predicted frame out, in order
BASELINES: dict[str, Callable[[], Callable[[Frame], Frame]]] = {
    REPEATED: _repeat_reference,
    "mid-grey": _constant(128),
    "white": _constant(255),
    "previous-frame": _previous_frame,
    "reversed": lambda: lambda frame: frame,
    "blurred": lambda: _blur,
    "shifted-pixel": lambda: _shift,
}
# Without true frames: the photo over and over, the method's own first frame likewise, and the
# photo of somebody else, which says how far apart two people are.
WITHOUT_TRUTH = (REPEATED, STATIC, "other-photo")
TRIVIAL_NAMES = tuple(dict.fromkeys((*BASELINES, *WITHOUT_TRUTH)))


def is_trivial(method: str) -> bool:
    """Whether a result of this name is one of a trivial baseline."""
    return method in TRIVIAL_NAMES or method.startswith(STATIC_OF)


def baseline_places(name: str, places: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where a baseline shows what its reference shows at `places` [T, ..., 2], (x, y) in pixels.

    NaN where it shows nothing.
    """
    order = {
        "repeat-reference": np.zeros(len(places), dtype=np.int64),
        "previous-frame": np.maximum(np.arange(len(places)) - 1, 0),
        "reversed": np.arange(len(places))[::-1],
        "blurred": np.arange(len(places)),
        "shifted-pixel": np.arange(len(places)),
    }
    if name not in order:
        return np.full(places.shape, np.nan)
    found = np.asarray(places[order[name]], dtype=np.float64).copy()
    if name == "shifted-pixel":
        found[..., 0] += 1
    return found


# These predict the video's frames from its last to its first.
BACKWARDS = frozenset({"reversed"})
# Of the two still pictures I3D sees one window a video.
FAST = ("repeat-reference", "white", "previous-frame")


def choose_baselines(words: str, *, has_truth: bool = True) -> tuple[str, ...]:
    """Names for "fast", "all", "off", or a list with commas.

    Args:
        has_truth: there are true frames, which most baselines are made from.

    Raises:
        EvalError: a name is unknown.
    """
    known = tuple(BASELINES) if has_truth else WITHOUT_TRUTH
    if words in ("fast", "all", "off"):
        return {"fast": FAST if has_truth else known, "all": known, "off": ()}[words]
    names = tuple(dict.fromkeys(name.strip() for name in words.split(",")))
    if unknown := [name for name in names if name not in known]:
        there = "" if has_truth else " without true videos"
        raise EvalError(
            f"--baselines '{unknown[0]}' is unknown{there}: fast, all, off, or {', '.join(known)}"
        )
    return names


def write_baselines(
    directory: Path, pairs: Sequence[Pair], names: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """Write trivial predictions as predictions folders: directory/<name>/<video>/<frame>.png.

    Frames keep the reference's numbers and pixels (PNG is lossless), so that any tool can run over
    them, and `aa-eval` gives them the scores that it gives its own baselines. Every reference is
    decoded once.

    Yields:
        (video id, number of its frames) when a video is written.

    Raises:
        EvalError: a folder to be written is there already and not empty.
        VideoError: a reference cannot be decoded.
    """
    for name in names:
        folder = directory / name
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise EvalError(f"{folder}: is there already: delete it, or name another folder")
    for pair in pairs:
        predictors = {name: BASELINES[name]() for name in names}
        for name in names:
            (directory / name / pair.video_id).mkdir(parents=True)
        written = 0
        for frame in iter_frames(pair.reference):
            if written == pair.num_frames:
                raise VideoError(f"'{pair.video_id}': more frames than its file announces")
            for name, predict in predictors.items():
                index = -1 - written if name in BACKWARDS else written
                path = directory / name / pair.video_id / f"{pair.frame_numbers[index]:05}.png"
                Image.fromarray(predict(frame)).save(path, compress_level=1)
            written += 1
        if written < pair.num_frames:
            raise VideoError(f"'{pair.video_id}': fewer frames than its file announces")
        yield pair.video_id, written
