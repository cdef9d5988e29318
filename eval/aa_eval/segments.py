"""Drift: whether a video gets worse the longer it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import ResultError
from aa_eval.result import Result
from aa_eval.statistics import cluster_bootstrap

if TYPE_CHECKING:
    import pandas as pd

SEGMENTS = 5
SLOPE_FRAMES = 100
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """How one metric changes from the beginning of the videos to their end.

    Attributes:
        key: metric.
        segments: its value in each of so many equal parts of every video, mean over videos; None
            where no frame of a part was scored.
        slope: change for each 100 frames, mean over videos of the least squares line through a
            video's frames.
        ci_low, ci_high: its 95 % interval over videos; None with fewer than 3.
        num_videos: that have a slope.
    """

    key: str
    segments: tuple[float | None, ...]
    slope: float
    ci_low: float | None
    ci_high: float | None
    num_videos: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.ci_low is not None and self.ci_high is not None and (
            self.ci_low > 0 or self.ci_high < 0
        )  # fmt: skip


def drift(result: Result, segments: int = SEGMENTS) -> list[Drift]:
    """How every metric of a result with values per frame drifts over the videos.

    Args:
        segments: into how many equal parts each video is cut, 2 at least.

    Raises:
        ResultError: the result has no values per frame, or no video has two scored frames.

    Example:
        >>> from aa_eval import drift, read_result
        >>> drift(read_result("results/mine"))  # doctest: +SKIP
    """
    if segments < 2:
        raise ResultError(f"{segments} segments: expected 2 at least")
    found = drift_of_frames(result.per_frame_frame(), segments)
    if not found:
        raise ResultError(f"'{result.method}': no video has two scored frames: nothing can drift")
    return found


def drift_of_frames(frames: pd.DataFrame, segments: int = SEGMENTS) -> list[Drift]:
    """`drift` of the table of a per_frame.csv: video, frame, and a column for each metric."""
    of_video = frames.groupby("video", sort=True)
    first = of_video["frame"].transform("min")
    extent = of_video["frame"].transform("max") - first + 1
    at = (frames["frame"] - first).to_numpy(dtype=np.float64)
    part = (at * segments // extent.to_numpy()).astype(np.int64)
    rows = list(of_video.indices.items())
    rows.sort(key=lambda row: str(row[0]))  # the order decides the resamples
    found = []
    for key in frames.columns[2:]:
        values = frames[key].to_numpy(dtype=np.float64)
        slopes, means = [], []
        for _, index in rows:
            scored = index[np.isfinite(values[index])]
            if len(scored) < 2:
                continue
            slopes.append(_slope(at[scored], values[scored]))
            means.append(_means(values[scored], part[scored], segments))
        if not slopes:
            continue
        all_slopes = np.asarray(slopes) * SLOPE_FRAMES
        low, high = cluster_bootstrap(all_slopes, np.ones(len(slopes))) or (None, None)
        columns = (column[np.isfinite(column)] for column in np.stack(means).T)
        by_segment = tuple(float(column.mean()) if len(column) else None for column in columns)
        found.append(Drift(str(key), by_segment, float(all_slopes.mean()), low, high, len(slopes)))
    return found


def _slope(at: Values, values: Values) -> float:
    """Of the least squares line, per frame."""
    centred = at - at.mean()
    return float(centred @ values / (centred @ centred))


def _means(values: Values, part: NDArray[np.int64], segments: int) -> Values:
    """The mean of each part, NaN of one without a value."""
    counts = np.bincount(part, minlength=segments)
    means = np.full(segments, np.nan)
    np.divide(np.bincount(part, values, segments), counts, out=means, where=counts > 0)
    return means
