"""Contact sheets: a few small pictures of clips, as a reader of the report sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.corpus.write_shards import FETCHED
from aa_curation.crawl.store import Store
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision, PlannedClip
from aa_curation.ledger.takedown import REASON
from aa_curation.measure.frames import cropped
from aa_curation.steps.pack_shard import CLIPS
from aa_datasets.errors import PoseError, VideoError
from aa_datasets.pose import read_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.video.canonical import read_canonical
from aa_datasets.video.foreign import iter_foreign_frames

_SIDE_PX = 240


@dataclass(frozen=True, slots=True)
class Footage:
    """Where a clip lies in its source; `planned` is None where the source has no spans."""

    path: Path
    planned: PlannedClip | None


def find_footage(
    decision: Decision, ledger: Ledger, folder: Path, sources: Mapping[str, Path]
) -> Footage | None:
    """Where to look for what was decided on; None where the ledger and the lists do not tell.

    Args:
        decision: of the clip. What was taken down is never shown.
        ledger: says where in its source a rejected clip lies.
        folder: of the corpus, for fetched sources.
        sources: files by source id, where the ledger does not tell where they lie.
    """
    if decision.reason == REASON:
        return None
    fetch, survey = ledger.fetches.get(decision.source_id), ledger.surveys.get(decision.source_id)
    if fetch is not None and fetch.file is not None:
        path = Store(folder / FETCHED).path(fetch.file.sha256)
    elif decision.source_id in sources:
        path = sources[decision.source_id]
    elif survey is not None and survey.path:
        path = Path(survey.path)
    else:
        return None
    spans = survey.planned if survey else ()
    return Footage(path, next((c for c in spans if c.clip_id == decision.clip_id), None))


def thumbnail(
    decision: Decision, ledger: Ledger, folder: Path, sources: Mapping[str, Path]
) -> bytes | None:
    """The middle frame of a clip as JPEG, or None where it cannot be shown.

    An accepted clip is shown with its skeleton drawn over it. Arguments are those of
    `find_footage`.
    """
    if decision.reason == REASON:
        return None
    try:
        path = folder / CLIPS / f"{decision.clip_id}.mp4"
        if decision.clip is not None and path.is_file():
            middle = np.array([decision.clip.num_frames // 2])
            frame = read_canonical(path, middle)[0]
            pose = read_pose(path.with_name(f"{decision.clip_id}.pose.npz")).at_frames(middle)
            skeleton = draw_pose(pose)[0]
            frame = np.where(skeleton.any(2, keepdims=True), skeleton, frame)
        else:
            footage = find_footage(decision, ledger, folder, sources)
            found = footage and _middle_frame(footage)
            if found is None:
                return None
            frame = found
    except (VideoError, PoseError, OSError):
        return None  # a file that cannot be decoded has no picture; its row says why
    scale = _SIDE_PX / max(frame.shape[:2])
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()


def _middle_frame(footage: Footage) -> NDArray[np.uint8] | None:
    span = footage.planned
    middle_s = (span.start_s + span.end_s) / 2 if span else 0.0
    for frame in iter_foreign_frames(footage.path, start_s=middle_s):
        crop_px = span and span.crop_px
        return cropped(frame.pixels, crop_px) if crop_px else frame.pixels
    return None
