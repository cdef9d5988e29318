"""The folders that commands are given, as options and as checked pairs."""

from __future__ import annotations

import argparse
from pathlib import Path

from aa_eval.errors import EvalError, PairingError
from aa_eval.videos.benchmark import BENCHMARKS, Benchmark
from aa_eval.videos.layout import LAYOUTS, find_videos
from aa_eval.videos.pairing import PROBLEMS, Pair, make_pairs


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are this package's errors."""

    def error(self, message: str) -> None:  # type: ignore[override]  # argparse says NoReturn
        raise EvalError(f"{message} (see {self.prog} --help)")


def add_folders(parser: Parser) -> None:
    """PREDICTIONS, --references, --benchmark, --layout and --allow."""
    parser.add_argument(
        "predictions", type=Path, metavar="PREDICTIONS", nargs="?",
        help="folder of <video>.mp4, <video>/<frame>.png, <video>_<frame>.png, or WebDataset "
        "shards of <video>.mp4",
    )  # fmt: skip
    parser.add_argument(
        "--references",
        type=Path,
        metavar="DIR",
        help="the true videos, in a layout like that of PREDICTIONS",
    )
    parser.add_argument(
        "--benchmark", choices=BENCHMARKS,
        help="what the references are: their ids are checked, and the protocols of its published "
        "tables and ours are computed in one pass; folders default to data/<benchmark>/",
    )  # fmt: skip
    parser.add_argument("--layout", choices=LAYOUTS, help="of both folders; found out if not given")
    parser.add_argument(
        "--allow", action="append", default=[], choices=PROBLEMS, metavar="PROBLEM",
        help=f"do not refuse this, and say so in the result: {', '.join(PROBLEMS)}",
    )  # fmt: skip


def read_pairs(
    options: argparse.Namespace, benchmark: Benchmark | None, no_predictions: bool = False
) -> tuple[list[Pair], tuple[str, ...]]:
    """The pairs of the folders in `options`, and the overrides that were needed.

    Args:
        benchmark: what the references are said to be.
        no_predictions: pair the references with nothing.

    Raises:
        PairingError, VideoError: the folders are refused.
    """
    predictions_at: Path | None = options.predictions
    references_at: Path | None = options.references
    if benchmark is not None:
        references_at = references_at or benchmark.references
        predictions_at = None if no_predictions else predictions_at or benchmark.predictions
        benchmark.require_folders(references_at, predictions_at)
    if references_at is None:
        raise EvalError("--references DIR is missing: the ground truth (or --benchmark)")
    predictions = None
    if predictions_at is not None:
        predictions = find_videos(predictions_at, options.layout)
        print(f"predictions {predictions.describe()}")
    references = find_videos(references_at, options.layout)
    print(f"references  {references.describe()}")
    problem = benchmark.split_problem(references) if benchmark else None
    if problem and "test-split" not in options.allow:
        raise PairingError(
            f"{problem}. Complete the folder, or override with --allow test-split "
            "(it will be written into the result)"
        )
    pairs, overrides = make_pairs(predictions, references, frozenset(options.allow))
    if problem:
        overrides += (f"allow test-split: {problem}",)
    same = [p for p in pairs if p.prediction and p.prediction.is_same_file(p.reference)]
    if same:
        problem = (
            f"{len(same)} predictions are the references' own files ({same[0].reference.name})"
        )
        if "same-files" not in options.allow:
            raise PairingError(
                f"{problem}. Name the predictions' folder, or override with --allow same-files "
                "(it will be written into the result)"
            )
        overrides += (f"allow same-files: {problem}",)
    return pairs, overrides
