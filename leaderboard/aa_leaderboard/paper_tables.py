"""Tables 1, 2 and 3 of "Animate Anyone" (Hu et al. 2023), in the paper's rows and columns, and
what was measured under the protocols that score as they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aa_leaderboard.columns import PAPER_KEYS
from aa_leaderboard.errors import LeaderboardError
from aa_leaderboard.published import read_published
from aa_leaderboard.row import Published, Row
from aa_leaderboard.table import rank

CAPTIONS = {
    1: "Quantitative comparison for fashion video synthesis (UBC fashion)",
    2: "Quantitative comparison for human dance generation (TikTok)",
    3: "Quantitative ablation of the image condition (UBC fashion)",
}
# The protocol of aa-eval that scores as the table was scored, as far as is known (no script for UBC
# was ever published), and its benchmark there.
SCORED_AS = {
    1: ("ubc-aa-inferred", "ubc"),
    2: ("tiktok-disco-2023", "tiktok"),
    3: ("ubc-aa-inferred", "ubc"),
}
ABSENT = "-"


@dataclass(frozen=True, slots=True)
class PrintedCell:
    """One cell: the text as printed, its place among the comparable ones (1 is best), and
    whether it is a true PSNR in a column of overflow values."""

    text: str
    place: int | None = None
    true_psnr: bool = False


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper; each line is a method and its four cells, the last `num_measured`
    of them aa-eval's."""

    number: int
    caption: str
    protocol: str
    lines: tuple[tuple[str, tuple[PrintedCell, ...]], ...]
    num_measured: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before comparing two cells."""
        names = [method for method, cells in self.lines if any(c.true_psnr for c in cells)]
        notes = [
            f"Source: Animate Anyone (Hu et al. 2023), Table {self.number}. Values as printed; "
            "best bold, second underlined."
        ]
        if names:
            notes.append(
                f"The PSNR of {' and '.join(names)} is true PSNR; the other values in that column "
                "are in the range of DisCo's 8-bit overflow arithmetic. The two are not comparable."
            )
        else:
            notes.append("PSNR is DisCo's 8-bit overflow value: not comparable with true PSNR.")
        if self.num_measured:
            notes.append(
                f"Rows marked measured: aa-eval, protocol {SCORED_AS[self.number][0]}. Places are "
                "given among the printed rows alone."
            )
        return tuple(notes)


def paper_table(number: int, board: Sequence[Row] = ()) -> PaperTable:
    """Table 1 (UBC fashion), 2 (TikTok) or 3 (ablation).

    >>> [cell.text for cell in paper_table(2).lines[-1][1]]
    ['0.718', '29.56', '0.285', '171.9']

    Args:
        board: measured rows; those that were scored as this table was follow the printed ones.

    Raises:
        LeaderboardError: the paper has no such table of results.
    """
    if number not in CAPTIONS:
        raise LeaderboardError(f"no table {number}: the paper's result tables are 1, 2 and 3")
    rows = [
        row
        for row in read_published()
        if isinstance(row.origin, Published) and row.origin.table == number
    ]
    places = {key: rank(rows, _printed_key(key)) for key in PAPER_KEYS}
    lines = [
        (row.method, tuple(_cell(row, key, places[key][index]) for key in PAPER_KEYS))
        for index, row in enumerate(rows)
    ]
    own = [row for row in board if (row.protocol, row.benchmark) == SCORED_AS[number]]
    for row in own:
        name = f"{row.method} ({', '.join(words for _, words in row.badges)})"
        texts = (row.cells[k].text if k in row.cells else "" for k in map(_printed_key, PAPER_KEYS))
        lines.append((name, tuple(PrintedCell(text or ABSENT) for text in texts)))
    return PaperTable(number, CAPTIONS[number], rows[0].protocol, tuple(lines), len(own))


def _printed_key(key: str) -> str:
    """The paper has one PSNR column for two quantities: places are given among overflow values."""
    return "psnr_overflow" if key == "psnr" else key


def _cell(row: Row, key: str, place: int | None) -> PrintedCell:
    if (printed := _printed_key(key)) in row.cells:
        return PrintedCell(row.cells[printed].text, place)
    if key in row.cells:
        return PrintedCell(row.cells[key].text, true_psnr=True)
    return PrintedCell(ABSENT)
