"""What a corpus's filters measured: how it is spread, and what other bounds would cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aa_curation.check import Check
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

# A filter is named by its reason, which says what is wrong; this says what the number is.
MEANINGS = {
    "aesthetics": "aesthetic score",
    "ai_generated": "probability that the people are generated",
    "animation": "width of the eyes over the height of the face",
    "blurred": "sharpness: variance of the Laplacian",
    "camera_motion": "motion of the camera; sides of the picture per second",
    "drawing": "levels of grey of a dark picture",
    "face_unseen": "share of frames in which the face is seen",
    "few_frames": "frames of the clip in its source",
    "frozen": "longest time without a change; seconds",
    "hands_unseen": "share of frames in which the hands are seen",
    "hdr": "1 where the source is HDR and was tone-mapped, else 0",
    "identity_switches": "jumps of the pose to another person",
    "incomplete_body": "share of the wanted joints that are seen",
    "interlaced": "1 where the source is interlaced and was deinterlaced, else 0",
    "jittery_pose": "median second difference of the joints; shares of the body's extent",
    "low_frame_rate": "frames per second of the source",
    "low_resolution": "short side of the source; pixels",
    "no_person": "share of the searched frames with a person",
    "not_a_person": "wobble of the joints where no sure face is seen; shares of the body's extent",
    "not_safe_for_work": "probability of content that is not safe for work",
    "pixel_aspect": "long over short side of a pixel of the source; 1 is square",
    "pose_lost": "share of frames in which the pose is found",
    "several_persons": "share of the searched frames with a second large person",
    "small_person": "area of the person; shares of the picture",
    "static": "share of stored frames that repeat the one before",
    "subject_motion": "speed of the joints; body's extents per second",
    "technical_quality": "score of technical quality",
    "text_on_person": "share of the person under overlaid text",
    "text_overlay": "share of the picture under overlaid text",
    "too_bright": "brightness; 0 to 255",
    "too_dark": "brightness; 0 to 255",
    "too_short": "length; seconds",
    "unsteady_count": "distance of the mean number of people from a whole number",
    "variable_rate": "share of steps between frames that are longer or shorter than usual",
    "watermark": "probability of a watermark",
}


@dataclass(frozen=True, slots=True)
class Bound:
    """What another bound would cost.

    Attributes:
        value: the bound.
        lost, accepted: clips among the accepted ones that it would reject, and how many there are.
        owner, of_owner: who owns most of the lost clips, and how many of them.
    """

    value: float
    lost: int
    accepted: int
    owner: str
    of_owner: int


@dataclass(frozen=True)
class Measurement:
    """One filter's numbers over the corpus.

    Attributes:
        name: the reason of the filter.
        low: whether the bound is the least that passes; else it is the most.
        threshold: the bound; infinite where the filter drops nothing.
        values: of the clips that have a number.
        passed: whether each is on the right side.
        num_nan: clips without a number; these never pass.
        bounds: others, from the mildest to the strictest.
        inside, outside: ids of the clips nearest to the bound that pass, and that do not. Without a
            finite bound `inside` are the worst.
        of: the number of each clip that has one.
    """

    name: str
    low: bool
    threshold: float
    values: NDArray[np.float64]
    passed: NDArray[np.bool_]
    num_nan: int
    bounds: tuple[Bound, ...] = field(default=())
    inside: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    of: Mapping[str, float] = field(default_factory=dict)

    @property
    def meaning(self) -> str:
        return MEANINGS.get(self.name, "")

    @property
    def side(self) -> str:
        return "at least" if self.low else "at most"

    @property
    def num_passed(self) -> int:
        return int(self.passed.sum())

    @property
    def num_failed(self) -> int:
        return int((~self.passed).sum()) + self.num_nan


def find_measurements(ledger: Ledger, nearest: int = 3) -> list[Measurement]:
    """One for each filter that ran, in the order of the recipe."""
    found: dict[str, list[tuple[Decision, Check]]] = {}
    for clip_id in sorted(ledger.decisions):
        decision = ledger.decisions[clip_id]
        for check in decision.checks:
            found.setdefault(check.reason, []).append((decision, check))
    return [_measurement(name, rows, nearest) for name, rows in found.items()]


def _measurement(name: str, rows: list[tuple[Decision, Check]], nearest: int) -> Measurement:
    last = rows[-1][1]
    numbers = [(d, c) for d, c in rows if math.isfinite(c.measured)]
    values = np.array([check.measured for _, check in numbers], np.float64)
    passed = np.array([check.passed for _, check in numbers], np.bool_)
    if math.isfinite(last.threshold):
        order = np.argsort(np.abs(values - last.threshold), kind="stable")
    else:
        order = np.argsort(values if last.low else -values, kind="stable")
    ids = [numbers[place][0].clip_id for place in order]
    return Measurement(
        name,
        last.low,
        last.threshold,
        values,
        passed,
        len(rows) - len(numbers),
        tuple(_bounds([(d, c.measured) for d, c in numbers if d.status == "accepted"], last.low)),
        tuple(i for i, place in zip(ids, order, strict=True) if passed[place])[:nearest],
        tuple(i for i, place in zip(ids, order, strict=True) if not passed[place])[:nearest],
        {decision.clip_id: check.measured for decision, check in numbers},
    )


def _bounds(accepted: list[tuple[Decision, float]], low: bool) -> list[Bound]:
    """Bounds at which about 1, 2, 5, 10, 20 and 50 % of the accepted clips would be lost."""
    worst_first = sorted((value for _, value in accepted), reverse=not low)
    bounds: dict[int, Bound] = {}
    for share in _SHARES:
        place = math.ceil(share * len(worst_first))
        if place >= len(worst_first):
            break
        value = float(f"{worst_first[place]:.3g}")
        lost = [d for d, v in accepted if (v < value if low else v > value)]
        if lost:
            owner, of_owner = Counter(d.owner for d in lost).most_common(1)[0]
            bounds[len(lost)] = Bound(value, len(lost), len(accepted), owner, of_owner)
    return list(bounds.values())
