"""The results of one protocol as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aa_eval.errors import counted
from aa_eval.protocol import Protocol
from aa_eval.result import MetricValue, Result
from aa_eval.segments import SLOPE_FRAMES, Drift
from aa_eval.statistics import why_no_interval

# As the field prints them; others stand under their keys.
_HEADINGS = {
    "ssim": "SSIM", "psnr_overflow": "PSNR", "psnr": "PSNR*", "lpips": "LPIPS",
    "lpips_alex": "LPIPS alex", "lpips_vgg": "LPIPS vgg", "fvd": "FVD", "kvd": "KVD",
    "l1": "L1",
}  # fmt: skip
_ARROWS = {"higher": "↑", "lower": "↓", None: " "}
_MAX_DECIMALS = 4


def result_table(results: Sequence[Result], protocol: Protocol) -> str:
    """Metrics down, the method and its baselines across, then what a reader must know.

    The first result has its 95 % interval over videos; every row has as many digits as that
    interval allows.
    """
    first = results[0]
    keys = sorted(first.metrics, key=_place)
    rows = [["", *(result.method for result in results)]]
    for key in keys:
        form = _form(first.metrics[key])
        cells = [_cell(result.metrics.get(key), form) for result in results]
        if (interval := _interval(first.metrics[key], form)) is not None:
            cells[0] += f" {interval}"
        rows.append([f"{_heading(key)} {_ARROWS[protocol.better(key)]}", *cells])
    lines = [
        f"{first.protocol} ({first.protocol_hash[:12]}), {counted(first.num_videos, 'video')}, "
        f"{counted(first.num_frames, 'frame')}; "
        + (why_no_interval(first.num_videos) or "[95 % interval over videos]"),
        text_table(rows),
    ]
    if {"psnr", "psnr_overflow"} <= first.metrics.keys():
        lines.append("  PSNR: squared in 8 bits, as the published columns are; PSNR*: true")
    for key in keys:
        metric = first.metrics[key]
        for text in (metric.unavailable and f"unavailable: {metric.unavailable}", metric.note):
            if text:
                lines.append(f"  {_heading(key)}: {text}")
    return "\n".join(lines)


def drift_table(drifts: Sequence[Drift], protocol: Protocol) -> str:
    """Metrics down, the parts of the videos across, and the slope with its interval."""
    count = len(drifts[0].segments)
    ends = [f"{100 * i // count}-{100 * (i + 1) // count} %" for i in range(count)]
    rows = [["", *ends, f"per {SLOPE_FRAMES} frames"]]
    for found in sorted(drifts, key=lambda d: _place(d.key)):
        like = MetricValue(found.slope, found.ci_low, found.ci_high, None, 0, None)
        form = _form(like)
        slope = _number(found.slope, f"+{form}")
        if (interval := _interval(like, f"+{form}")) is not None:
            slope += f" {interval}"
        better = protocol.better(found.key)
        if found.is_clear and better is not None:
            slope += " better" if (found.slope > 0) == (better == "higher") else " worse"
        cells = ["-" if v is None else f"{v:.4g}" for v in found.segments]
        rows.append([f"{_heading(found.key)} {_ARROWS[better]}", *cells, slope])
    reason = why_no_interval(max(found.num_videos for found in drifts))
    words = f"over the length of the videos; {reason or '[95 % interval over videos]'}"
    return f"{words}\n{text_table(rows)}"


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines; the first column is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _place(key: str) -> int:
    order = list(_HEADINGS)
    return order.index(key) if key in order else len(order)


def _heading(key: str) -> str:
    metric, at, region = key.partition("@")
    return _HEADINGS.get(metric, metric) + at + region


def _form(metric: MetricValue) -> str:
    """How a row's numbers are printed: two significant digits of the interval's half width.

    Four digits after the point at most; the papers' form of L1, 3.78E-04, of values that small.
    """
    low, high = metric.ci_low, metric.ci_high
    known = low is not None and high is not None and high > low
    place = math.floor(math.log10((high - low) / 2)) - 1 if known else None  # type: ignore[operator]
    if metric.value is not None and 0 < abs(metric.value) < 1e-3:
        digits = 2 if place is None else math.floor(math.log10(abs(metric.value))) - place
        return f".{min(max(digits, 0), 3)}E"
    return f".{min(max(-place, 0), _MAX_DECIMALS) if place is not None else _MAX_DECIMALS}f"


def _cell(metric: MetricValue | None, form: str) -> str:
    if metric is None:
        return ""
    return "-" if metric.value is None else _number(metric.value, form)


def _interval(metric: MetricValue, form: str) -> str | None:
    if metric.ci_low is None or metric.ci_high is None:
        return None
    return f"[{_number(metric.ci_low, form)}, {_number(metric.ci_high, form)}]"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if value else "0"
