"""Contact sheets: a few small pictures of clips, as a reader of the report sees them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.corpus.write_shards import CLIPS, FETCHED
from aa_curation.crawl.store import Store
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision
from aa_curation.ledger.takedown import REASON
from aa_curation.measure.frames import cropped
from aa_datasets.errors import PoseError, VideoError
from aa_datasets.pose import read_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.video.canonical import read_canonical
from aa_datasets.video.foreign import iter_foreign_frames

_SIDE_PX = 240


def thumbnail(
    decision: Decision, ledger: Ledger, folder: Path, sources: Mapping[str, Path]
) -> str | None:
    """The middle frame of a clip as a data URI (JPEG), or None where it cannot be shown.

    An accepted clip is shown with its skeleton drawn over it.

    Args:
        decision: of the clip. What was taken down is never shown.
        ledger: says where in its source a rejected clip lies.
        folder: of the corpus, for accepted clips and fetched sources.
        sources: files by source id, where the ledger does not tell where they lie.
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
            found = _from_source(decision, ledger, folder, sources)
            if found is None:
                return None
            frame = found
    except (VideoError, PoseError, OSError):
        return None  # a file that cannot be decoded has no picture; its row says why
    scale = _SIDE_PX / max(frame.shape[:2])
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"


def _from_source(
    decision: Decision, ledger: Ledger, folder: Path, sources: Mapping[str, Path]
) -> NDArray[np.uint8] | None:
    fetch, survey = ledger.fetches.get(decision.source_id), ledger.surveys.get(decision.source_id)
    if fetch is not None and fetch.file is not None:
        path = Store(folder / FETCHED).path(fetch.file.sha256)
    elif decision.source_id in sources:
        path = sources[decision.source_id]
    elif survey is not None and survey.path:
        path = Path(survey.path)
    else:
        return None
    span = (
        next((c for c in survey.planned if c.clip_id == decision.clip_id), None) if survey else None
    )
    middle_s = (span.start_s + span.end_s) / 2 if span else 0.0
    for frame in iter_foreign_frames(path, start_s=middle_s):
        return (
            frame.pixels
            if span is None or span.crop_px is None
            else cropped(frame.pixels, span.crop_px)
        )
    return None
