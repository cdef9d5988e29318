"""Image metrics without networks: aa-eval and the scripts' way, in one run on the same files.

The scripts' way is DisCo's: one pass over both folders for each metric, OpenCV to read,
scikit-image for SSIM, float64 arrays of all frames for L1. Each way runs in a process of its own,
so that none finds another's heap. Rounds alternate; prints medians of CPU seconds, ratios, how far
the values are apart, and what the columns of aa-clean-v2 add.

    python benchmarks/eval/image_metrics.py [--predictions DIR --references DIR] [--frames 60]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from aa_eval.protocol import SET_KINDS, Protocol, read_protocol
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import Pair, make_pairs
from aa_eval.videos.source import iter_frames

Files = list[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--references", type=Path)
    parser.add_argument("--frames", type=int, default=60, help="of the made-up video")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if options.predictions is None:
            options.predictions, options.references = Path(scratch) / "gen", Path(scratch) / "gt"
            write_frames(options.predictions, options.references, options.frames)
        pairs, _ = make_pairs(find_videos(options.predictions), find_videos(options.references))
        report(pairs, options.rounds)


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


def report(pairs: list[Pair], rounds: int) -> None:
    disco, clean = (without_networks(name) for name in ("tiktok-disco-2023", "aa-clean-v2"))
    files = [
        (str(ours), str(theirs))
        for pair in pairs
        if pair.prediction is not None
        for ours, theirs in zip(pair.prediction.files, pair.reference.files, strict=True)
    ]
    expected = scripts(files)
    (evaluation,) = score_pairs(pairs, [disco], method="m")
    ways: dict[str, tuple[Callable[..., object], object]] = {
        "decoding both sides once, aa-eval": (decode, pairs),
        "decoding both sides once, OpenCV": (decode_by_opencv, files),
        "the scripts' way": (scripts, files),
        "aa-eval": (score, (pairs, [disco])),
        "aa-eval, clean columns too": (score, (pairs, [disco, clean])),
    }
    runs: dict[str, list[float]] = {way: [] for way in ways}
    with ExitStack() as stack:
        processes = {
            way: stack.enter_context(
                ProcessPoolExecutor(1, get_context("spawn"), cv2.setNumThreads, (1,))
            )
            for way in ways
        }
        for number in range(rounds + 1):  # the first, which imports, does not count
            for way, (run, argument) in ways.items():
                seconds = processes[way].submit(cpu_seconds, run, argument).result()
                runs[way] += [seconds] if number else []
    print(f"{len(files)} pairs of frames, one thread, CPU seconds, median of {rounds} rounds")
    medians = {way: statistics.median(of_way) for way, of_way in runs.items()}
    for way, value in medians.items():
        print(f"{way:36} {value:8.2f}")
    own, opencv, there, here, both = medians.values()
    print(f"the scripts' way / aa-eval           {there / here:8.2f}   (target: at least 5)")
    print(f"aa-eval / its own decoding           {here / own:8.2f}   (target: at most 2)")
    print(f"aa-eval / decoding by OpenCV         {here / opencv:8.2f}   (target: at most 2)")
    print(f"with clean columns / without         {both / here:8.2f}")
    for key, value in expected.items():
        found = evaluation.metrics[key].value or 0
        print(f"  {key:14} {value:.12g}, here {abs(value - found):.1e} off")


def without_networks(name: str) -> Protocol:
    protocol = read_protocol(name)
    metrics = tuple(m for m in protocol.metrics if m.net is None and m.kind not in SET_KINDS)
    return replace(protocol, metrics=metrics, video_features=None)


def cpu_seconds(run: Callable[[object], object], argument: object) -> float:
    start = time.process_time()
    run(argument)
    return time.process_time() - start


def score(task: tuple[list[Pair], list[Protocol]]) -> None:
    pairs, protocols = task
    score_pairs(pairs, protocols, method="m")


def decode(pairs: list[Pair]) -> int:
    sides = [side for pair in pairs for side in (pair.prediction, pair.reference) if side]
    return sum(1 for side in sides for _ in iter_frames(side))


def decode_by_opencv(files: Files) -> None:
    for pair in files:
        for file in pair:
            cv2.imread(file)


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
