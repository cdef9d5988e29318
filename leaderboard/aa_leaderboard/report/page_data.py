"""What the page's script draws from: values by video, worst frames and clips, in JSON types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aa_eval.segments import drift_of_frames
from aa_leaderboard.board.frame_scores import read_frame_scores, worst_frames
from aa_leaderboard.board.media import MEDIA_DIR, Media, check_media
from aa_leaderboard.columns import Column
from aa_leaderboard.report.table_view import RowView, TableView
from aa_leaderboard.row import Measured, Row

if TYPE_CHECKING:
    import pandas as pd

WORST_SHOWN = 6
PARTS = 10  # of a video's length that drift is drawn over
LEAST_FRAMES = 2 * PARTS  # of a video: below, a part is a frame or none
ROLE_WORDS = {"reference": "Reference", "ground_truth": "Ground truth"}


@dataclass(frozen=True, slots=True)
class RowMedia:
    """The media of one row of a board; `folder` is where they lie now."""

    row_id: str
    folder: Path
    files: tuple[Media, ...]

    def href(self, media: Media) -> str:
        """The file's address relative to the page."""
        return f"{MEDIA_DIR}/{quote(self.row_id)}/{quote(media.name)}"


def read_media(board: Path | None, rows: Sequence[Row]) -> dict[str, RowMedia]:
    """The media of every measured row that has some, by row id."""
    found = {}
    for row in rows:
        if board is not None and isinstance(row.origin, Measured):
            folder = board / row.origin.row_id / MEDIA_DIR
            if files := check_media(folder, row.origin.result):
                found[row.origin.row_id] = RowMedia(row.origin.row_id, folder, files)
    return found


def page_data(
    measured: Sequence[TableView], board: Path | None, media: dict[str, RowMedia]
) -> dict[str, list[dict[str, Any]]]:
    """For each measured table what it has: `tables` (values by video), `frames` (the worst),
    `drift` (values over the length of the videos), `clips`."""
    frames = _frames(measured, board)
    return {
        "tables": [found for view in measured if (found := _per_video(view))],
        "frames": [found for view in measured if (found := _worst(view, frames))],
        "drift": [found for view in measured if (found := _drift(view, frames))],
        "clips": [found for view in measured if (found := _clips(view, media))],
    }


def _per_video(view: TableView) -> dict[str, Any] | None:
    """Values by video of one table; None for fewer than two rows."""
    rows = []
    keys: set[str] = set()
    for shown in view.rows:
        if shown.measured is not None and shown.measured.result.per_video:
            videos = shown.measured.result.per_video
            rows.append({**_named(shown), "videos": videos})
            keys |= {key for values in videos.values() for key in values}
    metrics = [_metric(column) for column in view.columns if column.key in keys]
    return {"name": view.name, "rows": rows, "metrics": metrics} if rows[1:] and metrics else None


def _frames(measured: Sequence[TableView], board: Path | None) -> dict[str, pd.DataFrame]:
    """Row id -> its values per frame, of the rows that have them."""
    origins = (shown.measured for view in measured for shown in view.rows)
    return {
        origin.row_id: frames
        for origin in origins
        if board is not None and origin is not None
        if (frames := read_frame_scores(board / origin.row_id, origin.result)) is not None
    }


def _drift(view: TableView, frames: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
    """Each row's values over the length of its videos; None where no video is long enough."""
    rows = []
    keys: set[str] = set()
    for shown in view.rows:
        of_row = frames.get(shown.measured.row_id) if shown.measured else None
        if of_row is None or of_row.groupby("video").size().median() < LEAST_FRAMES:
            continue
        found = {d.key: d for d in drift_of_frames(of_row, PARTS)}
        of_keys = {
            key: {"parts": d.segments, "slope": d.slope, "low": d.ci_low, "high": d.ci_high}
            for key, d in found.items()
        }
        rows.append({**_named(shown), "kind": shown.kind, "drift": of_keys})
        keys |= of_keys.keys()
    metrics = [_metric(column) for column in view.columns if column.key in keys]
    return {"name": view.name, "rows": rows, "metrics": metrics} if metrics else None


def _worst(view: TableView, frames_of: dict[str, pd.DataFrame]) -> dict[str, Any] | None:
    """The worst frames of each row, by metric; None where no row has values per frame."""
    rows = []
    keys: set[str] = set()
    for shown in view.rows:
        if shown.measured is None:
            continue
        row_id = shown.measured.row_id
        frames = frames_of.get(row_id)
        if frames is None:
            continue
        worst = {
            c.key: [asdict(f) for f in worst_frames(frames, c.key, c.better, WORST_SHOWN)]
            for c in view.columns
            if c.better is not None and c.key in frames
        }
        rows.append({**_named(shown), "id": row_id, "worst": worst})
        keys |= worst.keys()
    metrics = [_metric(column) for column in view.columns if column.key in keys]
    return {"name": view.name, "rows": rows, "metrics": metrics} if metrics else None


def _clips(view: TableView, media: dict[str, RowMedia]) -> dict[str, Any] | None:
    """By video, the panes to show side by side; a pane of a still picture has 0 frames.

    Reference and ground truth come from the first row that carries them: rows of one table
    were scored on the same videos.
    """
    shared: dict[tuple[str, str], dict[str, Any]] = {}
    predicted: dict[str, list[dict[str, Any]]] = {}
    for row in view.table.rows:
        row_media = media.get(row.origin.row_id) if isinstance(row.origin, Measured) else None
        for file in row_media.files if row_media else ():
            assert row_media is not None
            pane = {"src": row_media.href(file), "role": file.role, "frames": file.num_frames,
                    "fps": file.fps}  # fmt: skip
            if file.role == "prediction":
                pane |= {"title": row.method, "marks": row.badges, "row": row_media.row_id}
                predicted.setdefault(file.video, []).append(pane)
            else:
                pane |= {"title": ROLE_WORDS[file.role], "marks": [], "row": None}
                shared.setdefault((file.video, file.role), pane)
    videos = {
        video: [
            *(shared[video, role] for role in ROLE_WORDS if (video, role) in shared),
            *predicted.get(video, []),
        ]
        for video in sorted({*predicted, *(video for video, _ in shared)})
    }
    return {"name": view.name, "videos": videos} if videos else None


def _named(shown: RowView) -> dict[str, Any]:
    return {"method": shown.row.method, "marks": [words for _, words in shown.row.badges]}


def _metric(column: Column) -> dict[str, Any]:
    return {
        "key": column.key,
        "heading": column.heading,
        "better": column.better,
        "decimals": column.decimals,
    }
