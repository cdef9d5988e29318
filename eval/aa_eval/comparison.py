"""Compare: two methods on the same videos, as paired differences per video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aa_eval.errors import ResultError, counted
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


def why_not_comparable(a: Result, b: Result) -> str | None:
    """Say why numbers of the two must not stand in one ranking; None where they may.

    They must share protocol (by hash), videos, number of frames, reference frames, region masks,
    weights and the checks that were switched off.
    """
    if a.protocol_hash != b.protocol_hash:
        return (
            f"other protocol: {a.protocol} (hash {a.protocol_hash[:12]}) against {b.protocol} "
            f"(hash {b.protocol_hash[:12]})"
        )
    if a.per_video.keys() != b.per_video.keys() or a.num_videos != b.num_videos:
        only = sorted(a.per_video.keys() ^ b.per_video.keys())
        example = f", e.g. {only[0]!r} is in one only" if only else ""
        return f"other videos: {a.num_videos} against {b.num_videos}{example}"
    if a.num_frames != b.num_frames:
        return f"other frames: {a.num_frames} against {b.num_frames}"
    for what, ours, theirs in (
        ("reference frames of", a.references, b.references),
        ("masks of region", a.regions, b.regions),
        ("weights of", a.weights, b.weights),
    ):
        for name in sorted(ours.keys() & theirs.keys()):
            if ours[name] != theirs[name]:
                return f"other {what} {name!r}: {ours[name][:12]} against {theirs[name][:12]}"
    if differing := sorted(set(a.overrides) ^ set(b.overrides)):
        return f"checks were switched off for one only: {'; '.join(differing)}"
    return None


def compare(a: Result, b: Result) -> list[Difference]:
    """Paired differences A - B of every metric that has values per video (not FVD, not KVD).

    Raises:
        ResultError: the two are not comparable (see `why_not_comparable`), or have no metric in
            common.
    """
    if reason := why_not_comparable(a, b):
        raise ResultError(
            f"'{a.method}' and '{b.method}' cannot be compared: {reason}: score both alike, "
            "under one protocol, against the same frames"
        )
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
        f"over {counted(count, 'video')} at level {level:g}, corrected for "
        f"{counted(len(differences), 'metric')} (Holm)"
    )
    if told:
        return (
            f"{scope}: A and B differ in {', '.join(told)}; of the others nothing may be claimed."
        )
    why = (
        f" {counted(count, 'video')} can give no p below {least:.2g}: more videos are needed."
        if least * len(differences) > level
        else ""
    )
    return f"{scope}: no difference between '{a.method}' and '{b.method}' may be claimed.{why}"
