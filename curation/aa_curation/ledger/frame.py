"""Decisions as a pandas frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from aa_curation.errors import LedgerError
from aa_curation.ledger.records import Decision

if TYPE_CHECKING:
    from pandas import DataFrame

_FRAME_COLUMNS = (
    *("clip_id", "source_id", "status", "stage", "reason", "measured", "threshold", "detail"),
    *("seconds", "owner", "consent", "uploader", "person"),
)
_CLIP_COLUMNS = (
    *("licence", "split", "duration_s", "source", "start_s", "end_s", "fps", "num_frames"),
    *("synthetic", "pose_from", "text_px", "height", "width"),
)
_ROWS_AT_ONCE = 20_000


def iter_frames(
    decisions: Iterable[Decision], reasons: Sequence[str], columns: Sequence[str] | None
) -> Iterator[DataFrame]:
    """See `Ledger.iter_frames`.

    Args:
        decisions: the rows.
        reasons: of the checks that there are.
        columns: only these.

    Raises:
        LedgerError: a column that there is not.
    """
    import pandas

    every = [*_FRAME_COLUMNS, *_CLIP_COLUMNS, *(f"check.{reason}" for reason in reasons)]
    if unknown := [name for name in columns or () if name not in every]:
        raise LedgerError(f"no column {unknown[0]!r}: there are {', '.join(every)}")
    rows: list[dict[str, object]] = []
    for place, decision in enumerate(decisions):
        if place and place % _ROWS_AT_ONCE == 0:
            yield pandas.DataFrame(rows, columns=list(columns or every))
            rows = []
        rows.append(_frame_row(decision))
    yield pandas.DataFrame(rows, columns=list(columns or every))


def _frame_row(decision: Decision) -> dict[str, object]:
    row = {name: getattr(decision, name) for name in _FRAME_COLUMNS}
    clip = decision.clip
    if clip is not None:
        row |= clip.to_json() | {"height": clip.size_hw[0], "width": clip.size_hw[1]}
        row["duration_s"] = clip.num_frames / clip.fps
    return row | {f"check.{check.reason}": check.measured for check in decision.checks}
