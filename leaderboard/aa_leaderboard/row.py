"""Row: one line of the board, published in a paper or measured by `aa-eval`, never unsaid which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aa_eval.result import MetricValue, Result
from aa_leaderboard.columns import column_of

# What a label of `aa-eval` is called on the page; other labels are shown as they are.
LABEL_WORDS = {"demo": "demo: synthetic puppets", "demo-real": "demo: one real clip"}
BASELINE_LABEL = "baseline"
PLAIN_LABELS = frozenset({"", "measured"})
# Length of the feature vectors behind a column: I3D's logits, 3D-ResNet-50's pooled features.
FRECHET_DIMENSIONS = {"fvd": 400, "fid_vid": 2048}


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of one row.

    Attributes:
        text: as printed in the source, trailing zeros kept; for measured values, in the
            papers' number of digits.
        value: the number behind `text`; None when there is none.
        ci_low, ci_high: 95 % interval over videos; None for published values.
        unavailable: why there is no value, in `aa-eval`'s words.
        note: what a reader must know about the value, e.g. that FVD is rank-deficient.
        ranked: False for a value that is shown but takes no part in any ranking.
    """

    text: str
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    unavailable: str | None = None
    note: str | None = None
    ranked: bool = True


@dataclass(frozen=True, slots=True)
class Published:
    """Where a published row is printed.

    Attributes:
        paper: the paper whose table it stands in; "" when it was told in an issue.
        year: of the method, as the source gives it.
        table: 1, 2 or 3 of "Animate Anyone" (Hu et al. 2023); None for any other table.
        psnr_kind: what the column headed PSNR holds: 8-bit overflow arithmetic, or true PSNR.
        reading: read in the paper itself, second-hand, or in an issue or a repository comment.
        source, note: as in published.csv.
    """

    paper: str
    year: int
    table: int | None
    psnr_kind: Literal["overflow", "true", ""]
    reading: Literal["paper", "secondary", "issue"]
    source: str
    note: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What `aa-eval` wrote, and under which name the board keeps it."""

    row_id: str
    result: Result


@dataclass(frozen=True, slots=True)
class Row:
    """One method under one protocol; `cells` by metric key, absent where nothing was printed."""

    method: str
    benchmark: str
    protocol: str
    cells: Mapping[str, Cell]
    origin: Published | Measured

    @property
    def is_published(self) -> bool:
        return isinstance(self.origin, Published)

    @property
    def source(self) -> str:
        """Where the numbers come from, for a reader."""
        if isinstance(self.origin, Published):
            return self.origin.source
        return f"aa-eval, {self.origin.result.created}"

    @property
    def badges(self) -> tuple[tuple[str, str], ...]:
        """(kind, words) of every mark that the row must carry wherever it is shown."""
        if isinstance(self.origin, Published):
            marks = [("published", "published")]
            if self.origin.reading == "secondary":
                marks.append(("caution", "second-hand"))
            if self.origin.reading == "issue":
                marks.append(("caution", "told in an issue"))
            if "CONFLICT" in self.origin.note:
                marks.append(("caution", "sources conflict"))
            return tuple(marks)
        result = self.origin.result
        marks = [("measured", "measured")]
        if result.label == BASELINE_LABEL:
            marks.append(("baseline", "trivial baseline"))
        elif result.label not in PLAIN_LABELS:
            marks.append(("demo", LABEL_WORDS.get(result.label, result.label)))
        if result.overrides:
            marks.append(("caution", "checks overridden"))
        return tuple(marks)


def row_of_result(row_id: str, result: Result) -> Row:
    """The measured row of a Result that has passed `submission.check_result`."""
    cells = {key: _cell_of(key, value, result) for key, value in result.metrics.items()}
    origin = Measured(row_id, result)
    return Row(result.method, result.benchmark or "own data", result.protocol, cells, origin)


def _cell_of(key: str, metric: MetricValue, result: Result) -> Cell:
    if metric.value is None:
        reason = metric.unavailable or "aa-eval gave no value and no reason"
        return Cell("", None, unavailable=reason, note=metric.note, ranked=False)
    return Cell(
        text=column_of(key).text_of(metric.value),
        value=metric.value,
        ci_low=metric.ci_low,
        ci_high=metric.ci_high,
        note=metric.note,
        # A trivial baseline is what methods are held against, not one of them.
        ranked=result.label != BASELINE_LABEL and not _says_more_of_n(key, metric, result),
    )


def _says_more_of_n(key: str, metric: MetricValue, result: Result) -> bool:
    """True for a Fréchet distance of no more samples than dimensions under the clean protocol:
    it tells more about the number of videos than about the method."""
    if key not in FRECHET_DIMENSIONS or not result.protocol.startswith("aa-clean"):
        return False
    return metric.n <= FRECHET_DIMENSIONS[key] or "rank-deficient" in (metric.note or "")
