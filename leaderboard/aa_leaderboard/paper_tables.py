"""Tables 1, 2 and 3 of "Animate Anyone" (Hu et al. 2023), in the paper's rows and columns, and what
was measured beneath them."""

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
HEADINGS = ("SSIM", "PSNR", "LPIPS", "FVD")
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
    source: str
    num_measured: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before comparing two cells."""
        names = [method for method, cells in self.lines if any(c.true_psnr for c in cells)]
        notes = [f"Source: {self.source}. Values as printed; best bold, second underlined."]
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

    Args:
        board: measured rows, of which those that were scored as this table was stand beneath it.

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
    columns = [_column(rows, key) for key in PAPER_KEYS]
    lines = tuple(
        (row.method, cells) for row, cells in zip(rows, zip(*columns, strict=True), strict=True)
    )
    own = [row for row in board if (row.protocol, row.benchmark) == SCORED_AS[number]]
    lines += tuple((_name(row), tuple(_measured(row, key) for key in PAPER_KEYS)) for row in own)
    source = f"Animate Anyone (Hu et al. 2023), Table {number}"
    return PaperTable(number, CAPTIONS[number], rows[0].protocol, lines, source, len(own))


def _name(row: Row) -> str:
    return f"{row.method} ({', '.join(words for _, words in row.badges)})"


def _measured(row: Row, key: str) -> PrintedCell:
    cell = row.cells.get(_printed(key))
    return PrintedCell(cell.text if cell and cell.text else ABSENT)


def _printed(key: str) -> str:
    """The paper's PSNR column holds overflow values."""
    return "psnr_overflow" if key == "psnr" else key


def _column(rows: Sequence[Row], key: str) -> list[PrintedCell]:
    # The paper has one PSNR column for two quantities: places are given among overflow values.
    ranked_key = _printed(key)
    places = rank(rows, ranked_key)
    cells = []
    for row, place in zip(rows, places, strict=True):
        if ranked_key in row.cells:
            cells.append(PrintedCell(row.cells[ranked_key].text, place))
        elif key in row.cells:
            cells.append(PrintedCell(row.cells[key].text, true_psnr=True))
        else:
            cells.append(PrintedCell(ABSENT))
    return cells
