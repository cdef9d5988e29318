"""Metrics of one's own: a Python file with a dictionary `METRICS`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class FrameMetric:
    """A metric with a value per frame.

    Attributes:
        function: (prediction, reference), both uint8 [T, H, W, 3] RGB of one shape -> [T]; NaN for
            a frame without a value. It must not depend on which frames come together.
        better: which direction wins.

    Example:
        >>> import numpy as np
        >>> def mean_level_error(prediction, reference):
        ...     return abs(prediction.mean((1, 2, 3)) - reference.mean((1, 2, 3)))
        >>> METRICS = {"mean_level_error": FrameMetric(mean_level_error, better="lower")}
    """

    function: Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]
    better: Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class MetricModule:
    """The metrics of one file, and the sha256 of its content."""

    path: Path
    sha256: str
    metrics: dict[str, FrameMetric]


def read_metric_module(path: Path, sha256: str | None = None) -> MetricModule:
    """Run the file at `path`, and take its METRICS.

    Args:
        sha256: what its content must have; None for any.

    Raises:
        ProtocolError: it is missing, changed, fails, or holds no METRICS as expected.
    """
    if not path.is_file():
        raise ProtocolError(f"{path}: no such file: expected a Python file with METRICS")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 not in (None, found):
        raise ProtocolError(f"{path}: changed while it was in use: score again")
    spec = spec_from_file_location(f"aa_eval_metrics_{found[:12]}", path)
    if spec is None or spec.loader is None:
        raise ProtocolError(f"{path}: not a Python file: expected one with METRICS")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ProtocolError(f"{path}: fails when it is run: {error!r}") from error
    metrics = getattr(module, "METRICS", None)
    if not isinstance(metrics, dict) or not metrics or not all(
        isinstance(name, str) and isinstance(metric, FrameMetric)
        for name, metric in metrics.items()
    ):  # fmt: skip
        raise ProtocolError(
            f"{path}: METRICS is {type(metrics).__name__}, expected a dictionary of name -> "
            "aa_eval.FrameMetric(function, better=...)"
        )
    return MetricModule(path, found, metrics)
