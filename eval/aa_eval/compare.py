"""Compare: two methods on the same videos, as paired differences per video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aa_eval.errors import ResultError
from aa_eval.result import Result
from aa_eval.statistics import paired_bootstrap, sign_flip_test


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of A minus B.

    Attributes:
        key: metric.
        a, b: means over the videos that both scored, every video counting alike.
        difference: a - b.
        ci_low, ci_high: 95 % interval over videos; None with one video.
        p_value: two-sided sign-flip test, not corrected for the number of metrics.
        num_videos: how many the figures rest on.
    """

    key: str
    a: float
    b: float
    difference: float
    ci_low: float | None
    ci_high: float | None
    p_value: float
    num_videos: int


def compare(a: Result, b: Result) -> list[Difference]:
    """Paired differences of every metric that has values per video (not FVD, not KVD).

    Raises:
        ResultError: other protocol, other videos, other overrides, or no metric in common.
    """
    if a.protocol_hash != b.protocol_hash:
        raise ResultError(
            f"'{a.method}' was scored under {a.protocol} ({a.protocol_hash[:12]}), '{b.method}' "
            f"under {b.protocol} ({b.protocol_hash[:12]}): score both under one protocol"
        )
    if a.per_video.keys() != b.per_video.keys() or a.num_frames != b.num_frames:
        only = sorted(a.per_video.keys() ^ b.per_video.keys())
        raise ResultError(
            f"'{a.method}' has {a.num_videos} videos of {a.num_frames} frames, '{b.method}' "
            f"{b.num_videos} of {b.num_frames}"
            + (f", e.g. '{only[0]}' is in one only" if only else "")
            + ": score both on the same frames"
        )
    for name in a.weights.keys() & b.weights.keys():
        if a.weights[name] != b.weights[name]:
            raise ResultError(f"the two were scored with other weights of {name}: score both anew")
    differences = []
    for key in a.metrics:
        pairs = [
            (ours, theirs)
            for video in a.per_video
            if (ours := a.per_video[video].get(key)) is not None
            and (theirs := b.per_video[video].get(key)) is not None
        ]
        if not pairs:
            continue
        ours, theirs = np.asarray(pairs, dtype=np.float64).T
        paired = ours - theirs
        low, high = paired_bootstrap(paired) or (None, None)
        differences.append(
            Difference(key, float(ours.mean()), float(theirs.mean()), float(paired.mean()),
                       low, high, sign_flip_test(paired), len(pairs))
        )  # fmt: skip
    if not differences:
        raise ResultError(f"'{a.method}' and '{b.method}' have no per-video metric in common")
    return differences
