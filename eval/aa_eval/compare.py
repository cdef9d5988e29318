"""Compare: two methods on the same videos, as paired differences per video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aa_eval.errors import ResultError
from aa_eval.result import Result
from aa_eval.statistics import holm, paired_bootstrap, sign_flip_test


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of A minus B.

    Attributes:
        key: metric.
        a, b: means over the videos that both scored, every video counting alike.
        difference: a - b.
        ci_low, ci_high: 95 % interval over videos; None with one video.
        p_value: two-sided sign-flip test.
        p_holm: the same, corrected for the number of metrics compared (Holm 1979).
        num_videos: how many the figures rest on.
    """

    key: str
    a: float
    b: float
    difference: float
    ci_low: float | None
    ci_high: float | None
    p_value: float
    p_holm: float
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
    for video, content in a.references.items():
        if b.references.get(video, content) != content:
            raise ResultError(
                f"reference '{video}' had other frames when '{b.method}' was scored than when "
                f"'{a.method}' was: score both against the same references"
            )
    for region in a.regions.keys() & b.regions.keys():
        if a.regions[region] != b.regions[region]:
            raise ResultError(
                f"region '{region}' had other masks when '{b.method}' was scored than when "
                f"'{a.method}' was: score both with the same masks"
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
                       low, high, sign_flip_test(paired), 1.0, len(pairs))
        )  # fmt: skip
    if not differences:
        raise ResultError(f"'{a.method}' and '{b.method}' have no per-video metric in common")
    corrected = holm([difference.p_value for difference in differences])
    return [replace(d, p_holm=p) for d, p in zip(differences, corrected, strict=True)]


def claim(a: Result, b: Result, differences: Sequence[Difference], level: float = 0.05) -> str:
    """A sentence: what the differences allow to be said of the two methods."""
    count = max(d.num_videos for d in differences)
    least = 2 / 2**count
    told = [f"{d.key} ({d.difference:+.4g})" for d in differences if d.p_holm <= level]
    scope = (
        f"over {count} videos at level {level:g}, corrected for {len(differences)} metrics (Holm)"
    )
    if told:
        return (
            f"{scope}: A and B differ in {', '.join(told)}; of the others nothing may be claimed."
        )
    why = (
        f" {count} videos can give no p below {least:.2g}: more videos are needed."
        if least * len(differences) > level
        else ""
    )
    return f"{scope}: no difference between '{a.method}' and '{b.method}' may be claimed.{why}"
