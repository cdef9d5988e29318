"""What is decided about a source and about each of its clips: the rows of the ledger."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from aa_curation.drop import Check, Drop
from aa_datasets.clip import Clip

Status = Literal["accepted", "rejected", "failed"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The one terminal row of a clip.

    Attributes:
        clip_id: `<source_id>-<number of the span>`.
        source_id: of the clip's source.
        status: accepted; rejected by a filter or as an unusable file; failed by a bug or an outage.
        stage: the step that decided: "plan", "survey" or "clip".
        reason: of a rejection, or the exception's name of a failure; "" when accepted.
        measured, threshold: see `Drop`.
        detail: a sentence, or the traceback of a failure.
        measurements: every check that ran: `{reason: measured}`.
        seconds: wall clock that the deciding step took.
        clip, owner, mp4_sha256, pose_sha256: of an accepted clip.
    """

    clip_id: str
    source_id: str
    status: Status
    stage: str
    reason: str = ""
    measured: float | None = None
    threshold: float | None = None
    detail: str = ""
    measurements: dict[str, float] | None = None
    seconds: float = 0.0
    clip: Clip | None = None
    owner: str = ""
    mp4_sha256: str = ""
    pose_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "clip": self.clip.to_json() if self.clip else None}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Decision:
        clip = row.get("clip")
        return cls(**{**row, "clip": Clip.from_json(clip) if clip else None})


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """A span of a source that the survey left in: work for the clip step.

    `fps` is that of the source; `size_hw` that of its frames after rotation and crop.
    """

    clip_id: str
    source_id: str
    start_s: float
    end_s: float
    fps: float
    size_hw: tuple[int, int]
    measurements: dict[str, float]


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a source found: clips to go on with, and clips already rejected.

    Attributes:
        source_id, source_sha256: the source, and its content.
        num_bytes, modified_ns: of the file when it was read; a change means that it is another.
        planned: spans that passed.
        decisions: spans that did not, or the whole source.
    """

    source_id: str
    source_sha256: str
    num_bytes: int
    modified_ns: int
    planned: tuple[PlannedClip, ...]
    decisions: tuple[Decision, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "decisions": [decision.to_json() for decision in self.decisions],
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Survey:
        planned = tuple(
            PlannedClip(**{**clip, "size_hw": (clip["size_hw"][0], clip["size_hw"][1])})
            for clip in row["planned"]
        )
        decisions = tuple(Decision.from_json(decision) for decision in row["decisions"])
        return cls(**{**row, "planned": planned, "decisions": decisions})


def rejected(
    clip_id: str,
    source_id: str,
    stage: str,
    drop: Drop,
    measurements: dict[str, float] | None = None,
) -> Decision:
    """The row of a clip that a filter drops."""
    return Decision(
        clip_id=clip_id,
        source_id=source_id,
        status="rejected",
        stage=stage,
        reason=drop.reason,
        measured=drop.measured,
        threshold=drop.threshold,
        detail=drop.detail,
        measurements=measurements,
    )


def first_drop(checks: list[Check], measurements: dict[str, float]) -> Drop | None:
    """Note what the checks measured; the first that fails decides."""
    measurements.update({check.reason: round(check.measured, 6) for check in checks})
    return next((check.drop for check in checks if not check.passed), None)
