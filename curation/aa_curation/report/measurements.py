"""What a corpus's filters measured: how it is spread, and what other bounds would cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aa_curation.ledger.checks import passes
from aa_curation.ledger.ledger import Ledger

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

# A filter is named by its reason, which says what is wrong; this says what the number is.
MEANINGS = {
    "aesthetics": "aesthetic score",
    "ai_generated": "probability that the people are generated",
    "animation": "width of the eyes over the height of the face",
    "blurred": "sharpness: variance of the Laplacian",
    "camera_motion": "motion of the camera; sides of the picture per second",
    "combed": "share of frames that are interlaced without being marked so",
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
        clip_id, measured: the lost clip that is nearest to the bound, and its number.
    """

    value: float
    lost: int
    accepted: int
    owner: str
    of_owner: int
    clip_id: str
    measured: float


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
        of: the numbers of these clips.
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


@dataclass(slots=True)
class _Column:
    """One filter's checks, a page of clips after the other: places of the clips, what was measured,
    and whether it passed."""

    places: list[NDArray[np.int32]] = field(default_factory=list)
    measured: list[NDArray[np.float64]] = field(default_factory=list)
    passed: list[NDArray[np.bool_]] = field(default_factory=list)
    low: bool = False
    threshold: float = math.nan


def find_measurements(ledger: Ledger, nearest: int = 3) -> list[Measurement]:
    """One for each filter that ran, in the order of the recipe."""
    columns: dict[str, _Column] = {}
    ids: list[str] = []
    accepted: list[bool] = []
    owners: list[int] = []
    owner_codes: dict[str, int] = {}
    for page in ledger.check_pages():
        checks = page.checks
        _, first = np.unique(checks["reason"], return_index=True)
        for place in np.sort(first).tolist():
            of_one = checks["reason"] == checks["reason"][place]
            some = checks[of_one]
            column = columns.setdefault(page.reasons[int(checks["reason"][place])], _Column())
            column.places.append((page.row[of_one] + len(ids)).astype(np.int32))
            column.measured.append(some["measured"].copy())
            column.passed.append(passes(some))
            column.low, column.threshold = bool(some["low"][-1]), float(some["threshold"][-1])
        for clip_id, status, owner in page.clips:
            ids.append(clip_id)
            accepted.append(status == "accepted")
            owners.append(owner_codes.setdefault(owner, len(owner_codes)))
    clips = _Clips(ids, np.array(accepted, np.bool_), np.array(owners, np.int32), [*owner_codes])
    return [_measurement(name, column, clips, nearest) for name, column in columns.items()]


class _Clips(NamedTuple):
    """N clips: ids, whether each is accepted, the number of its owner; and all owners."""

    ids: list[str]
    accepted: NDArray[np.bool_]
    owners: NDArray[np.int32]
    owner_names: list[str]


def _measurement(name: str, column: _Column, clips: _Clips, nearest: int) -> Measurement:
    measured = np.concatenate(column.measured)
    is_number = np.isfinite(measured)
    values = measured[is_number]
    passed = np.concatenate(column.passed)[is_number]
    places = np.concatenate(column.places)[is_number]
    if math.isfinite(column.threshold):
        order = np.argsort(np.abs(values - column.threshold), kind="stable")
    else:
        order = np.argsort(values if column.low else -values, kind="stable")
    inside, outside = order[passed[order]][:nearest], order[~passed[order]][:nearest]
    return Measurement(
        name,
        column.low,
        column.threshold,
        values,
        passed,
        len(measured) - len(values),
        tuple(_bounds(values, places, clips, column.low)),
        tuple(clips.ids[places[i]] for i in inside),
        tuple(clips.ids[places[i]] for i in outside),
        {clips.ids[places[i]]: float(values[i]) for i in (*inside, *outside)},
    )


def _bounds(
    values: NDArray[np.float64], places: NDArray[np.int32], clips: _Clips, low: bool
) -> list[Bound]:
    """Bounds at which about 1, 2, 5, 10, 20 and 50 % of the accepted clips would be lost."""
    of_accepted = clips.accepted[places]
    values, places = values[of_accepted], places[of_accepted]
    owners = clips.owners[places]
    worst_first = np.sort(values) if low else -np.sort(-values)
    bounds: dict[int, Bound] = {}
    for share in _SHARES:
        place = math.ceil(share * len(worst_first))
        if place >= len(worst_first):
            break
        value = float(f"{worst_first[place]:.3g}")
        lost = values < value if low else values > value
        if lost.any():
            num_lost, counts = int(lost.sum()), np.bincount(owners[lost])
            most = int(counts.argmax())
            last = int(np.where(lost, values if low else -values, -np.inf).argmax())
            bounds[num_lost] = Bound(
                value,
                num_lost,
                len(values),
                clips.owner_names[most],
                int(counts[most]),
                clips.ids[places[last]],
                float(values[last]),
            )
    return list(bounds.values())
