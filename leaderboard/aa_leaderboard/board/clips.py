"""Which clips the page plays side by side: reference, ground truth and every method's video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aa_leaderboard.board.media import MEDIA_DIR, Media, check_media
from aa_leaderboard.row import Measured
from aa_leaderboard.table import Table

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


def read_media(board: Path, tables: Sequence[Table]) -> dict[str, RowMedia]:
    """The media of every measured row that has some, by row id."""
    found = {}
    for row in (row for table in tables for row in table.rows):
        if isinstance(row.origin, Measured):
            folder = board / row.origin.row_id / MEDIA_DIR
            files = check_media(folder, row.origin.result)
            if files:
                found[row.origin.row_id] = RowMedia(row.origin.row_id, folder, files)
    return found


def clip_sets(
    tables: Sequence[Table], names: Sequence[str], media: dict[str, RowMedia]
) -> list[dict[str, Any]]:
    """For each table with clips: its name and, by video, the panes to show, in JSON types.

    A pane of a still picture has 0 frames.

    Reference and ground truth come from the first row that carries them: rows of one table
    were scored on the same videos.
    """
    sets = []
    for table, name in zip(tables, names, strict=True):
        shared: dict[tuple[str, str], dict[str, Any]] = {}
        predicted: dict[str, list[dict[str, Any]]] = {}
        for row in table.rows:
            row_media = media.get(row.origin.row_id) if isinstance(row.origin, Measured) else None
            if row_media is None:
                continue
            for file in row_media.files:
                pane = {
                    "src": row_media.href(file),
                    "role": file.role,
                    "frames": file.num_frames,
                    "fps": file.fps,
                }
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
        if videos:
            sets.append({"name": name, "videos": videos})
    return sets
