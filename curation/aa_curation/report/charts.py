"""Histograms of measurements as SVG, by matplotlib."""

from __future__ import annotations

import io
import math
import textwrap

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from aa_curation.report.measurements import Measurement

_BINS = 40
_LABEL_WIDTH = 60
_PASSED, _FAILED, _TEXT = "#2a7f62", "#c2602f", "#000001"  # the last becomes the page's own colour


def histogram_svg(measurement: Measurement) -> str:
    """A histogram with axes, the bound as a dashed line; log axis where values span decades, with
    what lies below the least of them, 0 above all, in one bar on the left.

    What passes is green and plain, what does not is orange and hatched.
    """
    values, passed = measurement.values, measurement.passed
    figure = Figure(figsize=(5.2, 2.1), layout="constrained")
    axes = figure.add_subplot()
    shown = [*values, measurement.threshold] if math.isfinite(measurement.threshold) else values
    log = is_log(np.asarray(shown))
    low, high = (float(np.min(shown)), float(np.max(shown))) if len(shown) else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    if log:
        least = _least(np.asarray(shown))
        edges = np.geomspace(least, high, _BINS + 1)
        if low < least:
            edges = np.r_[low, edges]
            axes.set_xscale("symlog", linthresh=least, linscale=1)
        else:
            axes.set_xscale("log")
    counts = [np.histogram(part, edges)[0] for part in (values[passed], values[~passed])]
    widths, left = np.diff(edges), edges[:-1]
    axes.bar(left, counts[0], widths, align="edge", color=_PASSED)
    axes.bar(left, counts[1], widths, counts[0], align="edge", color=_FAILED, hatch="////")
    if math.isfinite(measurement.threshold):
        axes.axvline(measurement.threshold, color=_TEXT, linestyle="--", linewidth=1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    label = textwrap.fill(measurement.meaning or measurement.name, _LABEL_WIDTH)
    axes.set_xlabel(label, color=_TEXT)
    axes.set_ylabel("clips", color=_TEXT)
    axes.tick_params(colors=_TEXT, which="both")
    for spine in axes.spines.values():
        spine.set_color(_TEXT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": measurement.name, "font.size": 9}):
        figure.savefig(
            text,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(_TEXT, "currentColor")


def is_log(values: NDArray[np.float64]) -> bool:
    """Whether positive values span so much that a linear axis would hide most of them."""
    positive = values[values > 0]
    if len(positive) < 3 or len(positive) < len(values) / 4 or values.min() < 0:
        return False
    return bool(np.quantile(positive, 0.98) > 50 * _least(values))


def _least(values: NDArray[np.float64]) -> float:
    """What all positive values but a few are at least."""
    return float(np.quantile(values[values > 0], 0.02))
