"""Image metrics without networks: aa-eval beside the scripts' way, in one run on the same files.

The scripts' way is DisCo's: one pass over both folders for each metric, OpenCV to read,
scikit-image for SSIM, float64 arrays of all frames for L1. Prints CPU seconds, ratios and how far
the values are apart.

    python benchmarks/eval_image_metrics.py [--predictions DIR --references DIR] [--frames 60]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from aa_eval.evaluate import evaluate
from aa_eval.layout import find_videos
from aa_eval.pairing import Pair, make_pairs
from aa_eval.protocol import read_protocol
from aa_eval.source import iter_frames

Files = list[tuple[str, str]]
Value = TypeVar("Value")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--references", type=Path)
    parser.add_argument("--frames", type=int, default=60, help="of the made-up video")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if options.predictions is None:
            options.predictions, options.references = Path(scratch) / "gen", Path(scratch) / "gt"
            write_frames(options.predictions, options.references, options.frames)
        pairs, _ = make_pairs(find_videos(options.predictions), find_videos(options.references))
        report(pairs)


def write_frames(predictions: Path, references: Path, count: int) -> None:
    """Smooth noise with grain: compresses about as PNG of footage does."""
    draw = np.random.default_rng(0)
    for folder in (predictions, references):
        (folder / "video").mkdir(parents=True)
    for number in range(count):
        coarse = draw.uniform(0, 255, (16, 16, 3)).astype(np.float32)
        frame = cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)
        for folder, sigma in ((references, 3), (predictions, 12)):
            noisy = np.clip(frame + draw.normal(0, sigma, frame.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "video" / f"{number:04}.png"), noisy)


def report(pairs: list[Pair]) -> None:
    protocol = read_protocol("tiktok-disco-2023")
    metrics = tuple(m for m in protocol.metrics if m.net is None and m.kind != "fvd")
    protocol = replace(protocol, metrics=metrics, video_features=None)
    files = [
        (str(ours), str(theirs))
        for pair in pairs
        if pair.prediction is not None
        for ours, theirs in zip(pair.prediction.files, pair.reference.files, strict=True)
    ]
    decoding, _ = cpu_seconds(lambda: decode(pairs))
    here, evaluations = cpu_seconds(lambda: evaluate(pairs, [protocol], method="m"))
    there, expected = cpu_seconds(lambda: scripts(files))
    found = {key: metric.value for key, metric in evaluations[0].result.metrics.items()}
    print(f"{len(files)} pairs of frames, one thread, CPU seconds")
    print(f"decoding both sides once   {decoding:8.2f}")
    print(f"the scripts' way           {there:8.2f}")
    print(f"aa-eval                    {here:8.2f}")
    print(f"the scripts' way / aa-eval {there / here:8.2f}   (target: at least 5)")
    print(f"aa-eval / decoding         {here / decoding:8.2f}   (target: at most 2)")
    for key, value in expected.items():
        print(f"  {key:14} {value:.12g}, here {abs(value - (found[key] or 0)):.1e} off")


def cpu_seconds(run: Callable[[], Value]) -> tuple[float, Value]:
    start = time.process_time()
    value = run()
    return time.process_time() - start, value


def decode(pairs: list[Pair]) -> int:
    sides = [side for pair in pairs for side in (pair.prediction, pair.reference) if side]
    return sum(1 for side in sides for _ in iter_frames(side))


def scripts(files: Files) -> dict[str, float]:
    """One pass per metric, as the scripts do."""
    ssims = []
    for ours, theirs in files:
        x, y = (cv2.cvtColor(cv2.imread(f), cv2.COLOR_BGR2GRAY) for f in (ours, theirs))
        ssims.append(structural_similarity(x, y, full=True)[0])
    errors = [np.abs(cv2.imread(ours).astype(float) - cv2.imread(theirs)) for ours, theirs in files]
    height, width = errors[0].shape[:2]
    wrapped, true = [], []
    for ours, theirs in files:
        wrapped.append(decibels(np.mean((cv2.imread(ours) - cv2.imread(theirs)) ** 2)))
    for ours, theirs in files:
        difference = cv2.imread(ours).astype(np.float64) - cv2.imread(theirs)
        true.append(decibels(np.mean(difference**2)))
    return {
        "ssim": float(np.mean(ssims)),
        "l1": float(np.mean(np.stack(errors) / (height * width))),
        "psnr_overflow": float(np.mean(wrapped)),
        "psnr": float(np.mean(true)),
    }


def decibels(mse: float) -> float:
    return 100.0 if mse == 0 else float(20 * np.log10(255 / np.sqrt(mse)))


if __name__ == "__main__":
    main()
