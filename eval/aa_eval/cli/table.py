"""The results of one protocol as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aa_eval.protocol import Protocol
from aa_eval.result import MetricValue, Result

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
        digits = _decimals(first.metrics[key])
        cells = [_cell(result.metrics.get(key), digits) for result in results]
        if (interval := _interval(first.metrics[key], digits)) is not None:
            cells[0] += f" {interval}"
        rows.append([f"{_heading(key)} {_ARROWS[protocol.better(key)]}", *cells])
    lines = [
        f"{first.protocol} ({first.protocol_hash[:12]}), {first.num_videos} videos, "
        f"{first.num_frames} frames; [95 % interval over videos]",
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


def _decimals(metric: MetricValue) -> int:
    """Digits after the point: two significant ones of the interval's half width, four at most."""
    if metric.ci_low is None or metric.ci_high is None or metric.ci_high <= metric.ci_low:
        return _MAX_DECIMALS
    half = (metric.ci_high - metric.ci_low) / 2
    return min(max(1 - math.floor(math.log10(half)), 0), _MAX_DECIMALS)


def _cell(metric: MetricValue | None, decimals: int) -> str:
    if metric is None:
        return ""
    return "-" if metric.value is None else _number(metric.value, decimals)


def _interval(metric: MetricValue, decimals: int) -> str | None:
    if metric.ci_low is None or metric.ci_high is None:
        return None
    return f"[{_number(metric.ci_low, decimals)}, {_number(metric.ci_high, decimals)}]"


def _number(value: float, decimals: int) -> str:
    # the papers' form of L1, which is that small
    return f"{value:.2E}" if 0 < abs(value) < 1e-3 else f"{value:.{decimals}f}"
