"""The Frechet step: aa-eval and scipy's matrix root, in one run on the same features.

    python benchmarks/eval/frechet.py [--dim 400] [--counts 54 200 400 2048]

The scripts' way is np.mean, np.cov and scipy.linalg.sqrtm of the product. Prints CPU seconds
(medians of three rounds in which both take turns), the ratio and both values; the third column of
values is the closed form for a set against its own scaled and shifted copy,
|shift|^2 + (s - 1)^2 tr S.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from aa_eval.metrics.frechet import frechet_distance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=400)
    parser.add_argument("--counts", type=int, nargs="+", default=[54, 200, 400, 2048])
    options = parser.parse_args()
    print(f"d = {options.dim}, CPU seconds")
    print(f"{'n':>6} {'scripts':>9} {'aa-eval':>9} {'ratio':>7}   values: scripts, aa-eval, exact")
    for count in options.counts:
        x = np.random.default_rng(count).normal(size=(count, options.dim))
        y = 1.5 * x + 0.25
        there, here = [], []
        for _ in range(3):
            start = time.process_time()
            theirs = scripts(x, y)
            middle = time.process_time()
            ours = frechet_distance(x, y)
            there.append(middle - start)
            here.append(time.process_time() - middle)
        scripts_s, ours_s = statistics.median(there), statistics.median(here)
        shift = np.square(y.mean(axis=0) - x.mean(axis=0)).sum()
        exact = shift + 0.25 * np.trace(np.cov(x, rowvar=False))
        print(
            f"{count:6} {scripts_s:9.3f} {ours_s:9.4f} {scripts_s / ours_s:7.1f}   "
            f"{theirs:.6f} {ours:.6f} {exact:.6f}"
        )


def scripts(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """DisCo, tool/metrics/metric_center.py: the matrix root, an epsilon where it is not finite."""
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2)
    if not np.isfinite(root).all():
        offset = np.eye(len(s1)) * 1e-6
        root = scipy.linalg.sqrtm((s1 + offset) @ (s2 + offset))
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


if __name__ == "__main__":
    main()
