"""What is decided about a source and about each of its clips: the rows of the ledger."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import msgspec

from aa_curation.check import Check, Drop
from aa_datasets.clip import Clip

Status = Literal["accepted", "rejected", "failed"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CorpusHead:
    """What a corpus is made by: the first row of its ledger.

    Attributes:
        recipe_name, recipe_sha256: of the recipe.
        clips_per_shard: at most so many.
        near_duplicates: which clips are one recording, as numbers; None where all are kept.
        recipe: the canonical form of the recipe; None in ledgers of version 0.1.
    """

    recipe_name: str
    recipe_sha256: str
    clips_per_shard: int = 256
    near_duplicates: Mapping[str, float] | None = None
    recipe: Any = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The one terminal row of a clip.

    Attributes:
        clip_id: `<source_id>-<number of the span>`.
        source_id: of the clip's source.
        status: accepted; rejected by a filter or as an unusable file; failed by a bug or an outage.
        stage: the step that decided: "plan", "fetch", "survey" or "clip".
        reason: of a rejection, or the exception's name of a failure; "" when accepted.
        measured, threshold: see `Drop`.
        detail: a sentence, or the traceback of a failure.
        checks: every check that ran, in this order; the first that failed is the reason.
        seconds: wall clock that the deciding step took.
        clip, owner, consent, uploader, person, signature, mp4_sha256, pose_sha256: of a clip that
            passed every check; see `signature.py`.
    """

    clip_id: str
    source_id: str
    status: Status
    stage: str
    reason: str = ""
    measured: float | None = None
    threshold: float | None = None
    detail: str = ""
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
    clip: Clip | None = None
    owner: str = ""
    consent: str = ""
    uploader: str = ""
    person: str = ""
    signature: str = ""
    mp4_sha256: str = ""
    pose_sha256: str = ""

    def accepted(self, stage: str) -> Decision:
        """The same clip, let in after all by `stage`."""
        return replace(
            self,
            status="accepted",
            stage=stage,
            reason="",
            measured=None,
            threshold=None,
            detail="",
        )


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """A span of a source that may become a clip: work for the clip step, if the survey left it in.

    `fps` is that of the source; `size_hw` that of its frames after rotation and crop; `crop_px` is
    in pixels of the rotated frame.
    """

    clip_id: str
    source_id: str
    start_s: float
    end_s: float
    fps: float
    size_hw: tuple[int, int]
    checks: tuple[Check, ...]
    crop_px: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a source found: its spans, and which of them are already rejected.

    Attributes:
        source_id, source_sha256: the source, and its content.
        packets_sha256: of its video packets, which survive another container; "" if not read.
        num_bytes, modified_ns: of the file when it was read; a change means that it is another.
        planned: its spans.
        decisions: of the spans that did not pass, or of the whole source where there is none.
        row_sha256: of the source's row in its list; a change (of the licence, say) means that the
            source is looked at again. "" where that is not to be.
        pose_sha256: of the pose that came with the source, "" without one; a change means the same.
        path: where the file lay; the report shows pictures of what was rejected. "" if unknown.
    """

    source_id: str
    source_sha256: str
    packets_sha256: str
    num_bytes: int
    modified_ns: int
    planned: tuple[PlannedClip, ...]
    decisions: tuple[Decision, ...]
    row_sha256: str = ""
    pose_sha256: str = ""
    path: str = ""

    @property
    def clip_ids(self) -> list[str]:
        """The ids of all that is planned: the spans, or the source as one clip."""
        spans, rows = [c.clip_id for c in self.planned], [d.clip_id for d in self.decisions]
        return list(dict.fromkeys(spans + rows))


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where a file came from.

    Attributes:
        url, final_url: asked for, and after redirects.
        sha256, num_bytes: of the body.
        content_type, etag, last_modified: as the server gave them; "" if it did not.
        retrieved_at: UTC, ISO 8601.
    """

    url: str
    final_url: str
    sha256: str
    num_bytes: int
    content_type: str
    etag: str
    last_modified: str
    retrieved_at: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """A request for a source's URL; `file` is None where it could not be had."""

    source_id: str
    url: str
    file: Fetched | None


def to_json(content: object) -> str:
    """Any of these records as a ledger keeps it."""
    # By json, since msgspec writes an infinite bound as null.
    return json.dumps(msgspec.to_builtins(content), sort_keys=True)


def from_json(content: str, kind: type[T]) -> T:
    """What `to_json` wrote."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError:  # Infinity and NaN are not JSON for msgspec
        return msgspec.convert(json.loads(content), kind)


def rejected(
    clip_id: str,
    source_id: str,
    stage: str,
    drop: Drop,
    checks: Sequence[Check] = (),
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
        checks=tuple(checks),
    )


def failed(
    clip_id: str, source_id: str, stage: str, error: BaseException, seconds: float = 0.0
) -> Decision:
    """The row of a clip that met a bug or an outage; a later run tries it again."""
    return Decision(
        clip_id=clip_id,
        source_id=source_id,
        status="failed",
        stage=stage,
        reason=type(error).__name__,
        detail="".join(traceback.format_exception(error)),
        seconds=round(seconds, 3),
    )
