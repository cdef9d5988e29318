"""What the page of a review asks for: clips with their numbers, videos, poses, other bounds."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aa_curation.check import Check
from aa_curation.errors import LedgerError
from aa_curation.ledger.file import read_ledger
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision
from aa_curation.ledger.redecide import redecided
from aa_curation.ledger.takedown import REASON
from aa_curation.measure.frames import iter_frames_at, thinned_fps, ticks_s
from aa_curation.measure.shots import Span
from aa_curation.report.contact_sheet import Footage, find_footage, thumbnail
from aa_curation.report.measurements import MEANINGS
from aa_curation.review.marks import Marks, read_marks, write_marks
from aa_curation.steps.pack_shard import CLIPS
from aa_datasets.pose import BODY, FACE, JOINT_SEEN_SCORE, LEFT_HAND, RIGHT_HAND, read_pose
from aa_datasets.pose_drawing import BODY_COLOURS, BODY_LIMBS, HAND_LIMBS
from aa_datasets.video.canonical import encode_canonical
from aa_datasets.video.foreign import probe_video

_SIDE_PX = 480  # of the video of a rejected clip
_MAX_FPS, _LONGEST_S, _CRF = 30.0, 15.0, 26
_PER_PX = 4  # steps of a coordinate within a pixel
_UNSEEN = -32768


class Review:
    """A corpus as its page sees it.

    Args:
        folder: of the corpus.
        sources: files by source id, where the ledger does not tell where they lie.
    """

    def __init__(self, folder: Path, sources: Mapping[str, Path]) -> None:
        self.folder, self._sources = folder, sources
        self._open().close()  # raises where there is none
        self._one_decode = threading.Lock()
        self._cached = lru_cache(maxsize=16)(self._rendered)

    def _open(self) -> Ledger:
        """The ledger as it is now, for one answer: other commands change it, and each answer has a
        thread of its own, which a connection is bound to."""
        return read_ledger(self.folder)

    def clips(self) -> dict[str, Any]:
        """All that the page shows and filters by, in JSON's types. Numbers that are none are null.

        `clips` has a row for each decided clip: its facts, and what each check measured with the
        bound, `[name's place in measurements, measured, bound]`.
        """
        with closing(self._open()) as ledger:
            return self._clips(ledger)

    def _clips(self, ledger: Ledger) -> dict[str, Any]:
        reasons: dict[str, Check] = {}
        rows = []
        for decision in ledger.decisions.values():
            for check in decision.checks:
                reasons[check.reason] = check
            rows.append(self._row(decision))
        places = {name: place for place, name in enumerate(reasons)}
        for row in rows:
            row["checks"] = [
                (places[check.reason], _number(check.measured), _number(check.threshold))
                for check in row["checks"]
            ]
        return {
            "recipe": ledger.head.recipe_name,
            "folder": str(self.folder),
            "measurements": [
                {
                    "name": name,
                    "meaning": MEANINGS.get(name, ""),
                    "low": check.low,
                    "bound": _number(check.threshold),
                }
                for name, check in reasons.items()
            ],
            "clips": rows,
            "skeleton": {
                "limbs": BODY_LIMBS,
                "colours": BODY_COLOURS,
                "hand_limbs": HAND_LIMBS,
                "parts": [(s.start, s.stop) for s in (BODY, LEFT_HAND, RIGHT_HAND, FACE)],
                "per_px": _PER_PX,
                "unseen": _UNSEEN,
            },
            "marks": asdict(self._marks(ledger)),
        }

    def _row(self, decision: Decision) -> dict[str, Any]:
        clip = decision.clip
        return {
            "id": decision.clip_id,
            "source": decision.source_id,
            "status": decision.status,
            "reason": decision.reason,
            "stage": decision.stage,
            "detail": decision.detail.strip(),
            "owner": decision.owner,
            "licence": clip.licence if clip else "",
            "split": clip.split if clip else "",
            "fps": clip.fps if clip else None,
            "frames": clip.num_frames if clip else None,
            "size_hw": clip.size_hw if clip else None,
            "has_pose": clip is not None and self._stored(decision).is_file(),
            "checks": decision.checks,
        }

    def _stored(self, decision: Decision) -> Path:
        return self.folder / CLIPS / f"{decision.clip_id}.mp4"

    def picture(self, clip_id: str) -> bytes | None:
        """The middle frame as JPEG, with the skeleton of an accepted clip."""
        with self._one_decode, closing(self._open()) as ledger:
            decision = _shown(ledger, clip_id)
            if decision is None:
                return None
            return thumbnail(decision, ledger, self.folder, self._sources)

    def video(self, clip_id: str) -> Path | bytes | None:
        """A clip's mp4 as it is stored; of a rejected one its span of the source, made small.

        Raises:
            VideoError: the source cannot be decoded.
        """
        with closing(self._open()) as ledger:
            decision = _shown(ledger, clip_id)
            if decision is None:
                return None
            stored = self._stored(decision)
            if decision.clip is not None and stored.is_file():
                return stored
            footage = find_footage(decision, ledger, self.folder, self._sources)
        with self._one_decode:
            return None if footage is None else self._cached(footage)

    @staticmethod
    def _rendered(footage: Footage) -> bytes:
        planned, crop_px = footage.planned, None
        if planned is None:
            info = probe_video(footage.path)
            span, fps = Span(0.0, min(info.duration_s or _LONGEST_S, _LONGEST_S)), info.fps or 25.0
        else:
            end_s = min(planned.end_s, planned.start_s + _LONGEST_S)
            span, fps, crop_px = Span(planned.start_s, end_s), planned.fps, planned.crop_px
        shown_fps = thinned_fps(fps, _MAX_FPS)
        times_s = ticks_s(span, shown_fps)
        frames = iter_frames_at(footage.path, times_s, fps, crop_px=crop_px, max_side_px=_SIDE_PX)
        even = (f[: f.shape[0] // 2 * 2, : f.shape[1] // 2 * 2] for f in frames)
        return encode_canonical(even, shown_fps, crf=_CRF)

    def pose(self, clip_id: str) -> bytes | None:
        """A stored clip's joints: int16 [T, J, 2] in quarters of a pixel, -32768 if not seen."""
        with closing(self._open()) as ledger:
            decision = _shown(ledger, clip_id)
        if decision is None:
            return None
        path = self._stored(decision).with_name(f"{decision.clip_id}.pose.npz")
        if not path.is_file():
            return None
        pose = read_pose(path)
        seen = pose.scores >= JOINT_SEEN_SCORE
        steps = np.rint(np.nan_to_num(pose.keypoints_px) * _PER_PX).clip(1 + _UNSEEN, 32767)
        packed: NDArray[np.int16] = np.where(seen[..., None], steps, _UNSEEN).astype("<i2")
        return packed.tobytes()

    def changes(self, bounds: Mapping[str, float]) -> dict[str, list[str]]:
        """Which clips `aa-curate redecide` would reject, let in, or leave to the next run.

        Duplicates of what comes back are found by `redecide` itself, and not here.
        """
        found: dict[str, list[str]] = {"rejected": [], "accepted": [], "undecided": []}
        with closing(self._open()) as ledger:
            for clip_id, before in ledger.decisions.items():
                after = redecided(before, bounds)
                if after is None:
                    found["undecided"].append(clip_id)
                elif after.status != before.status:
                    found[after.status].append(clip_id)
        return found

    def marks(self) -> Marks:
        """What was written before, less what has been done since."""
        with closing(self._open()) as ledger:
            return self._marks(ledger)

    def _marks(self, ledger: Ledger) -> Marks:
        marks, done = read_marks(self.folder), ledger.thresholds
        return Marks(
            [source for source in marks.takedown if source not in ledger.takedowns],
            {name: value for name, value in marks.bounds.items() if done.get(name) != value},
        )

    def write_marks(self, marks: Marks) -> None:
        """Write both lists.

        Raises:
            LedgerError: they name a source or a check that this corpus does not have.
        """
        with closing(self._open()) as ledger:
            unknown = {source for source in marks.takedown if source not in ledger.surveys}
            unknown |= {*marks.bounds} - ledger.reasons_of_checks()
        if unknown:
            raise LedgerError(f"not in this corpus: {', '.join(sorted(unknown)[:3])}")
        write_marks(marks, self.folder)


def _shown(ledger: Ledger, clip_id: str) -> Decision | None:
    """The decision on a clip that may be shown: what was taken down never is."""
    decision = ledger.decisions.get(clip_id)
    return None if decision is None or decision.reason == REASON else decision


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
