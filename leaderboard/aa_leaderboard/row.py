"""Row: one line of the board, published in a paper or measured by `aa-eval`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aa_eval.result import MetricValue, Result
from aa_leaderboard.columns import column_of

# What a label of `aa-eval` is called on the page; other labels are shown as they are.
LABEL_WORDS = {"demo": "demo: synthetic puppets", "demo-real": "demo: real people"}
BASELINE_LABEL = "baseline"
PLAIN_LABELS = frozenset({"", "measured"})
# Length of the feature vectors behind a column: I3D's logits, 3D-ResNet-50's pooled features.
FRECHET_DIMENSIONS = {"fvd": 400, "fid_vid": 2048}
SET_KEYS = frozenset({"fvd", "kvd", "fid_vid", "fid"})  # one value for all videos together

# Of a path of the machine that scored: what a reader needs is the file's name.
_FOLDERS = re.compile(r"(?<![\w.:/])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:;,'\"]+[/\\])+")


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of one row.

    Attributes:
        text: as printed in the source, trailing zeros kept; for measured values, in the
            papers' number of digits.
        value: the number behind `text`; None when there is none.
        ci_low, ci_high: 95 % interval over videos; None for published values.
        unavailable: why a value is missing, in `aa-eval`'s words.
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
        psnr_kind: what the column headed PSNR holds: 8-bit overflow arithmetic, true PSNR, or
            "unknown" where no source tells.
        reading: read in the paper itself, second-hand, or in an issue, README or code comment.
        source, note: as in published.csv.
    """

    paper: str
    year: int
    table: int | None
    psnr_kind: Literal["overflow", "true", "unknown", ""]
    reading: Literal["paper", "secondary", "issue"]
    source: str
    note: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What `aa-eval` wrote.

    Attributes:
        row_id: the name of the row's folder on the board.
        result: the content of its result.json.
        has_frames: whether per_frame.csv is there, from which the numbers were recomputed.
    """

    row_id: str
    result: Result
    has_frames: bool = True


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
    def is_baseline(self) -> bool:
        """True for the trivial predictions that aa-eval makes itself (repeat-reference, ...)."""
        return isinstance(self.origin, Measured) and self.origin.result.label == BASELINE_LABEL

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
            words = {"secondary": "second-hand", "issue": "told in an issue"}
            marks = [("published", "published")]
            if self.origin.reading in words:
                marks.append(("caution", words[self.origin.reading]))
            if "CONFLICT" in self.origin.note:
                marks.append(("caution", "sources conflict"))
            return tuple(marks)
        result = self.origin.result
        marks = [("measured", "measured")]
        if self.is_baseline:
            marks.append(("baseline", "trivial baseline"))
        elif result.label not in PLAIN_LABELS:
            marks.append(("demo", LABEL_WORDS.get(result.label, result.label)))
        if result.overrides:
            marks.append(("caution", "checks overridden"))
        if not self.origin.has_frames:
            marks.append(("caution", "no values per frame"))
        return tuple(marks)


def row_of_result(row_id: str, result: Result, *, has_frames: bool = True) -> Row:
    """The measured row of a Result that has passed `board.validate.read_submission`."""
    cells = {key: _cell_of(key, value, result, has_frames) for key, value in result.metrics.items()}
    origin = Measured(row_id, result, has_frames)
    return Row(result.method, result.benchmark or "own data", result.protocol, cells, origin)


def _cell_of(key: str, metric: MetricValue, result: Result, has_frames: bool) -> Cell:
    if metric.value is None:
        reason = metric.unavailable or "aa-eval gave no value and no reason"
        reason = _FOLDERS.sub("", reason)
        return Cell("", None, unavailable=reason, note=metric.note, ranked=False)
    doubt = _why_not_ranked(key, metric, result, has_frames)
    return Cell(
        text=column_of(key).text_of(metric.value),
        value=metric.value,
        ci_low=metric.ci_low,
        ci_high=metric.ci_high,
        note="; ".join(text for text in (metric.note, doubt) if text) or None,
        # A trivial baseline is what methods are held against, not one of them.
        ranked=result.label != BASELINE_LABEL and not doubt,
    )


def _why_not_ranked(key: str, metric: MetricValue, result: Result, has_frames: bool) -> str:
    """Why a value takes no place; "" where it may.

    Of n it takes what the frames allow (`board.cross_check`), never what the note says of it.
    """
    if key not in SET_KEYS:
        return ""
    from aa_eval.scoring.set_metrics import MIN_RANKED_VIDEOS  # loads the readers of videos

    if not has_frames:
        return "not ranked: without values per frame its windows cannot be counted"
    if result.protocol == "aa-clean-v1" and key == "kvd":
        return "not ranked: favours degraded copies when predictions and references are paired"
    # videos too short for a window count among the result's, and only the note tells of them
    few = result.num_videos < MIN_RANKED_VIDEOS or "not ranked" in (metric.note or "")
    if key == "kvd" and few:
        return f"not ranked: KVD of fewer than {MIN_RANKED_VIDEOS} videos"
    dimensions = FRECHET_DIMENSIONS.get(key, 0)
    if result.protocol.startswith("aa-clean") and metric.n <= dimensions:
        return f"not ranked: {metric.n} windows in {dimensions} dimensions"
    return ""
