"""What the page's script draws from: values by video, worst frames and clips, in JSON types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aa_leaderboard.board.clips import RowMedia, clip_sets
from aa_leaderboard.board.frame_scores import read_frame_scores, worst_frames
from aa_leaderboard.columns import Column
from aa_leaderboard.report.table_view import RowView, TableView

WORST_SHOWN = 6


def page_data(
    measured: Sequence[TableView], board: Path | None, media: dict[str, RowMedia]
) -> dict[str, list[dict[str, Any]]]:
    """For each measured table what it has: `tables` (values by video), `frames`, `clips`."""
    return {
        "tables": [found for view in measured if (found := _per_video(view)) is not None],
        "frames": [
            found
            for view in measured
            if board is not None and (found := _worst(view, board)) is not None
        ],
        "clips": clip_sets([v.table for v in measured], [v.name for v in measured], media),
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
    if len(rows) < 2 or not metrics:
        return None
    return {"name": view.name, "rows": rows, "metrics": metrics}


def _worst(view: TableView, board: Path) -> dict[str, Any] | None:
    """The worst frames of each row, by metric; None where no row has values per frame."""
    rows = []
    keys: set[str] = set()
    for shown in view.rows:
        if shown.measured is None:
            continue
        row_id = shown.measured.row_id
        scores = read_frame_scores(board / row_id, shown.measured.result)
        if scores is None:
            continue
        worst = {
            c.key: [asdict(f) for f in worst_frames(scores, c.key, c.better, WORST_SHOWN)]
            for c in view.columns
            if c.better is not None and c.key in scores.values
        }
        rows.append({**_named(shown), "id": row_id, "worst": worst})
        keys |= worst.keys()
    metrics = [_metric(column) for column in view.columns if column.key in keys]
    return {"name": view.name, "rows": rows, "metrics": metrics} if metrics else None


def _named(shown: RowView) -> dict[str, Any]:
    return {"method": shown.row.method, "marks": [words for _, words in shown.row.badges]}


def _metric(column: Column) -> dict[str, Any]:
    return {
        "key": column.key,
        "heading": column.heading,
        "better": column.better,
        "decimals": column.decimals,
    }
