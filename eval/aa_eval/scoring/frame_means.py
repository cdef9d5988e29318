"""From values per frame to one number: over videos or over frames, with its interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aa_eval.result import MetricValue
from aa_eval.statistics import cluster_bootstrap

Values = NDArray[np.float64]


def mean_of_frames(
    key: str,
    per_frame: dict[str, dict[str, Values]],
    per_video: dict[str, dict[str, float | None]],
    aggregation: str,
    note: str | None,
    dtype: type[np.floating] = np.float64,
) -> MetricValue:
    """The mean over frames or videos, with its interval; fills `per_video`."""
    scored = []
    for video_id, values_of in per_frame.items():
        values = values_of[key][np.isfinite(values_of[key])]
        per_video[video_id][key] = float(values.mean()) if len(values) else None
        if len(values):
            scored.append(values)
    if not scored:
        return MetricValue(None, None, None, "no frame could be scored", 0, note)
    means = np.asarray([values.mean() for values in scored])
    counts = np.asarray([len(values) for values in scored], dtype=np.float64)
    weights = counts if aggregation == "frames" else np.ones(len(means))
    values = np.concatenate(scored) if aggregation == "frames" else means
    low, high = cluster_bootstrap(means, weights) or (None, None)
    return MetricValue(float(values.astype(dtype).mean()), low, high, None, int(counts.sum()), note)
