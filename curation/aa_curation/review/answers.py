"""What the page of a review asks for: clips with their numbers, videos, poses, other bounds."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aa_curation.check import Check
from aa_curation.corpus.write_shards import CLIPS
from aa_curation.errors import LedgerError
from aa_curation.ledger.ledger import LEDGER_NAME, Ledger, read_ledger
from aa_curation.ledger.records import Decision
from aa_curation.ledger.redecide import redecided
from aa_curation.ledger.takedown import REASON
from aa_curation.measure.frames import iter_frames_at, thinned_fps, ticks_s
from aa_curation.measure.shots import Span
from aa_curation.report.contact_sheet import find_footage, thumbnail
from aa_curation.report.measurements import MEANINGS
from aa_curation.review.marks import Marks, read_marks, write_marks
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
        self._read: tuple[object, Ledger] = (None, read_ledger(folder))
        self._one_decode = threading.Lock()
        self._cached = lru_cache(maxsize=16)(self._rendered)

    @property
    def ledger(self) -> Ledger:
        """As it is now: another command may have changed it."""
        state = (self.folder / LEDGER_NAME).stat()
        version = (state.st_mtime_ns, state.st_size)
        if self._read[0] != version:
            self._read = version, read_ledger(self.folder)
        return self._read[1]

    def clips(self) -> dict[str, Any]:
        """All that the page shows and filters by, in JSON's types. Numbers that are none are null.

        `clips` has a row for each decided clip: its facts, and what each check measured with the
        bound, `[name's place in measurements, measured, bound]`.
        """
        ledger = self.ledger
        reasons: dict[str, Check] = {}
        rows = []
        for clip_id in sorted(ledger.decisions):
            decision = ledger.decisions[clip_id]
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
            "marks": asdict(self.marks()),
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

    def _shown(self, clip_id: str) -> Decision | None:
        """The decision on a clip that may be shown: what was taken down never is."""
        decision = self.ledger.decisions.get(clip_id)
        return None if decision is None or decision.reason == REASON else decision

    def picture(self, clip_id: str) -> bytes | None:
        """The middle frame as JPEG, with the skeleton of an accepted clip."""
        decision = self._shown(clip_id)
        if decision is None:
            return None
        with self._one_decode:
            return thumbnail(decision, self.ledger, self.folder, self._sources)

    def video(self, clip_id: str) -> Path | bytes | None:
        """A clip's mp4 as it is stored; of a rejected one its span of the source, made small.

        Raises:
            VideoError: the source cannot be decoded.
        """
        decision = self._shown(clip_id)
        if decision is None:
            return None
        stored = self._stored(decision)
        if decision.clip is not None and stored.is_file():
            return stored
        with self._one_decode:
            return self._cached(clip_id)

    def _rendered(self, clip_id: str) -> bytes | None:
        decision = self.ledger.decisions[clip_id]
        footage = find_footage(decision, self.ledger, self.folder, self._sources)
        if footage is None:
            return None
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
        decision = self._shown(clip_id)
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
        for clip_id, before in sorted(self.ledger.decisions.items()):
            after = redecided(before, bounds)
            if after is None:
                found["undecided"].append(clip_id)
            elif after.status != before.status:
                found[after.status].append(clip_id)
        return found

    def marks(self) -> Marks:
        """What was written before, less what has been done since."""
        marks, done = read_marks(self.folder), self.ledger
        return Marks(
            [source for source in marks.takedown if source not in done.takedowns],
            {n: value for n, value in marks.bounds.items() if done.thresholds.get(n) != value},
        )

    def write_marks(self, marks: Marks) -> None:
        """Write both lists.

        Raises:
            LedgerError: they name a source or a check that this corpus does not have.
        """
        decisions = self.ledger.decisions.values()
        unknown = {*marks.takedown} - {decision.source_id for decision in decisions}
        unknown |= {*marks.bounds} - {check.reason for d in decisions for check in d.checks}
        if unknown:
            raise LedgerError(f"not in this corpus: {', '.join(sorted(unknown)[:3])}")
        write_marks(marks, self.folder)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
