"""LPIPS: aa-eval's first and second method beside the lpips package, in one run on the same frames.

The scripts' way is the package's model called for each pair with batch 1. The second method finds
the references' features in the cache. Prints CPU seconds, ratios and how far the values are apart.

    python benchmarks/eval_lpips.py [--net vgg] [--frames 6] [--side 256]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aa_eval.cache import Cache
from aa_eval.metrics.lpips import make_lpips
from aa_eval.perceptual import Perceptual

Values = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=("alex", "vgg"), default="vgg")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    shape = (options.frames, options.side, options.side, 3)
    reference, first, second = (draw.integers(0, 256, shape, dtype=np.uint8) for _ in range(3))
    model = make_lpips(options.net)

    def package(prediction: NDArray[np.uint8]) -> Values:
        values = []
        with torch.no_grad():
            for pair in zip(prediction, reference, strict=False):
                x, y = (torch.from_numpy(f).permute(2, 0, 1)[None].float() / 255 for f in pair)
                values.append(model(x, y, normalize=True).item())
        return np.asarray(values)

    def ours(prediction: NDArray[np.uint8]) -> Values:
        perceptual = Perceptual(model, "-1..1", cache, "benchmark")
        pairs = zip(prediction[:, None], reference[:, None], strict=True)
        return np.concatenate([perceptual.per_frame(*pair) for pair in pairs])

    package(first[:1])  # warms the allocator
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        there, expected = cpu_seconds(lambda: package(first))
        here, found = cpu_seconds(lambda: ours(first))
        again, found_again = cpu_seconds(lambda: ours(second))
        kept = sum(file.stat().st_size for file in Path(folder).rglob("*.npy"))
    apart = max(np.abs(found - expected).max(), np.abs(found_again - package(second)).max())
    print(f"LPIPS {options.net}, {options.frames} frames of {options.side} px, CPU seconds")
    print(f"the lpips package            {there:8.2f}")
    print(f"aa-eval, first method        {here:8.2f}   {here / there:.2f}x (target: at most 1)")
    print(f"aa-eval, second method       {again:8.2f}   {again / there:.2f}x (target: at most 0.6)")
    print(f"values are {apart:.1e} apart; {kept / options.frames / 2**20:.1f} MiB kept a frame")


def cpu_seconds(run: Callable[[], Values]) -> tuple[float, Values]:
    start = time.process_time()
    value = run()
    return time.process_time() - start, value


if __name__ == "__main__":
    main()
