"""LPIPS: aa-eval's first and second method, and the lpips package, in one run on the same frames.

The scripts' way is the package's model called for each pair with batch 1. The second method finds
the references' features in the cache. Both sides take turns, pair by pair. Prints CPU seconds,
ratios and how far the values are apart.

    python benchmarks/eval/lpips_speed.py [--net vgg] [--frames 6] [--side 256]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lpips
import numpy as np
import torch
from numpy.typing import NDArray

from aa_eval.metrics.lpips import make_lpips
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.lpips_features import Perceptual


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
    theirs = lpips.LPIPS(net=options.net, pnet_rand=True, verbose=False)
    for to, of in zip(convolutions(theirs.net), convolutions(model.net), strict=True):
        to.load_state_dict(of.state_dict())

    def package(prediction: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.float64]:
        with torch.no_grad():
            x, y = (
                torch.from_numpy(f).permute(0, 3, 1, 2).float() / 255
                for f in (prediction, reference)
            )
            return np.asarray([theirs(x, y, normalize=True).item()])

    for way in (package, Perceptual(model, "-1..1", None, "benchmark").per_frame):
        way(first[:1], reference[:1])  # the first pass prepares kernels
    with tempfile.TemporaryDirectory() as folder:
        there, here, apart = [], [], 0.0
        for prediction in (first, second):
            perceptual = Perceptual(model, "-1..1", Cache(Path(folder)), "benchmark")
            theirs_s = ours_s = 0.0
            for i in range(options.frames):
                pair = prediction[i : i + 1], reference[i : i + 1]
                seconds, expected = cpu_seconds(package, *pair)
                theirs_s += seconds
                seconds, found = cpu_seconds(perceptual.per_frame, *pair)
                ours_s += seconds
                apart = max(apart, float(abs(found - expected)[0]))
            there.append(theirs_s)
            here.append(ours_s)
        kept = sum(file.stat().st_size for file in Path(folder).rglob("*.npy"))
    print(f"LPIPS {options.net}, {options.frames} pairs of {options.side} px, CPU seconds")
    for method, theirs_s, ours_s, target in zip(
        ("first", "second"), there, here, ("1", "0.6"), strict=True
    ):
        print(
            f"{method} method: the lpips package {theirs_s:7.2f}, aa-eval {ours_s:7.2f}, "
            f"{ours_s / theirs_s:.2f} of it (target: at most {target})"
        )
    print(f"values are {apart:.1e} apart; {kept / options.frames / 2**20:.1f} MiB kept a frame")


def convolutions(net: torch.nn.Module) -> list[torch.nn.Conv2d]:
    return [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]


def cpu_seconds(
    run: Callable[..., NDArray[np.float64]], *frames: NDArray[np.uint8]
) -> tuple[float, NDArray[np.float64]]:
    start = time.process_time()
    value = run(*frames)
    return time.process_time() - start, value


if __name__ == "__main__":
    main()
