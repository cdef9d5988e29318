"""Tables of rows that may be compared, ranks within them, and the reason where they may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aa_eval.result import Result
from aa_leaderboard.columns import Column, column_of, columns_of
from aa_leaderboard.errors import NotComparableError
from aa_leaderboard.row import Published, Row


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that were measured, or claim to have been measured, in one and the same way."""

    benchmark: str
    protocol: str
    rows: tuple[Row, ...]

    @property
    def is_published(self) -> bool:
        return self.rows[0].is_published

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns in which at least one row has a value or a reason for having none."""
        return columns_of(key for row in self.rows for key in row.cells)


def why_not_comparable(a: Row, b: Row) -> str | None:
    """The sentence that says why the two rows share no ranking; None when they may."""
    if isinstance(a.origin, Published) != isinstance(b.origin, Published):
        return "one is printed in a paper, the other was measured here"
    if a.benchmark != b.benchmark:
        return f"other videos: benchmark {a.benchmark} against {b.benchmark}"
    if isinstance(a.origin, Published) or isinstance(b.origin, Published):
        if a.protocol == b.protocol:
            return None
        return f"other protocol: {a.protocol} against {b.protocol}"
    return _why_not_measured_alike(a.origin.result, b.origin.result)


def _why_not_measured_alike(a: Result, b: Result) -> str | None:
    if a.protocol_hash != b.protocol_hash:
        return (
            f"other protocol: {a.protocol} (hash {a.protocol_hash[:12]}) "
            f"against {b.protocol} (hash {b.protocol_hash[:12]})"
        )
    if a.per_video.keys() != b.per_video.keys() or a.num_videos != b.num_videos:
        only = sorted(a.per_video.keys() ^ b.per_video.keys())
        named = f", e.g. {only[0]!r} is in one only" if only else ""
        return f"other videos: {a.num_videos} against {b.num_videos}{named}"
    if a.num_frames != b.num_frames:
        return f"other frames: {a.num_frames} against {b.num_frames}"
    for video in sorted(a.references.keys() & b.references.keys()):
        if a.references[video] != b.references[video]:
            return f"other reference frames of {video!r}"
    for region in sorted(a.regions.keys() & b.regions.keys()):
        if a.regions[region] != b.regions[region]:
            return f"other masks of region {region!r}"
    for name in sorted(a.weights.keys() & b.weights.keys()):
        if a.weights[name] != b.weights[name]:
            return f"other weights of {name}: {a.weights[name][:12]} against {b.weights[name][:12]}"
    if set(a.overrides) != set(b.overrides):
        differing = ", ".join(sorted(set(a.overrides) ^ set(b.overrides)))
        return f"checks were overridden in one only: {differing}"
    return None


def tables_of(rows: Sequence[Row]) -> tuple[Table, ...]:
    """The fewest tables in which every two rows may be compared, in order of first appearance.

    A row joins the first table with all of whose rows it may be compared.
    """
    gathered: list[list[Row]] = []
    for row in rows:
        for members in gathered:
            if all(why_not_comparable(row, member) is None for member in members):
                members.append(row)
                break
        else:
            gathered.append([row])
    return tuple(Table(m[0].benchmark, m[0].protocol, tuple(m)) for m in gathered)


def rank(rows: Sequence[Row], key: str) -> list[int | None]:
    """The rank of each row in one metric: 1 is best, equal values share a rank, the next
    different value is one lower (1, 1, 2).

    None for a row without a value, with a value that is never ranked, and for every row when
    the board does not know which direction wins. Values are compared unrounded.

    Raises:
        NotComparableError: two of the rows were measured differently.
    """
    for row in rows[1:]:
        reason = why_not_comparable(rows[0], row)
        if reason is not None:
            raise NotComparableError(
                f"{rows[0].method!r} and {row.method!r} are not ranked together: {reason}. "
                "Score both with one protocol on the same videos, or show two tables."
            )
    better = column_of(key).better
    values = [_ranked_value(row, key) if better else None for row in rows]
    order = sorted({value for value in values if value is not None}, reverse=better == "higher")
    places = {value: place for place, value in enumerate(order, start=1)}
    return [None if value is None else places[value] for value in values]


def _ranked_value(row: Row, key: str) -> float | None:
    cell = row.cells.get(key)
    return cell.value if cell is not None and cell.ranked else None
