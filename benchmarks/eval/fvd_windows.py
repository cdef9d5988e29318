"""Stride-1 windows of FVD: aa-eval and the scripts' way, in one run on the same frames.

The scripts' way is DisCo's: every window resizes its 16 frames and goes through I3D by itself,
with torch's own max pool. The weights are the same. Both sides take turns, window by window. Prints
CPU seconds, the ratio and the largest relative difference of the features.

    python benchmarks/eval/fvd_windows.py [--frames 24] [--references DIR]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from aa_eval.features.i3d import I3D, I3DNetwork, SamePool, make_i3d, pad_same
from aa_eval.protocol import read_protocol
from aa_eval.scoring.feature_windows import WindowFeatures, window_starts
from aa_eval.videos.layout import find_videos
from aa_eval.videos.source import iter_frames

Value = TypeVar("Value")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--references", type=Path, help="take the first video of this folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec = read_protocol("tiktok-disco-2023").video_features
    assert spec is not None
    network = I3DNetwork(make_i3d(spec.bn_eps, "cpu", spec.pool_frames))
    frames = np.random.default_rng(0).integers(0, 256, (options.frames, 256, 256, 3), np.uint8)
    if options.references is not None:
        source = next(iter(find_videos(options.references).videos.values()))
        frames = np.stack(list(iter_frames(source)))[: options.frames]
    starts = window_starts(range(len(frames)), spec.window_frames, spec.window_stride)
    theirs_network = I3DNetwork(with_torchs_pools(make_i3d(spec.bn_eps, "cpu", spec.pool_frames)))
    for prepared in (network, theirs_network):
        prepared(torch.zeros(1, 3, 16, 224, 224))  # the first pass prepares kernels

    windows = [(start, start + spec.window_frames) for start in starts]
    stream = WindowFeatures(spec, lambda: network, windows, "cpu")
    scripts = alone = here = 0.0
    rows = []
    for number in range(len(frames)):
        seconds, _ = cpu_seconds(stream.push, frames[number : number + 1])
        here += seconds
        if number + 1 - spec.window_frames in starts:
            part = frames[number + 1 - spec.window_frames : number + 1]
            seconds, window = cpu_seconds(script_window, part)
            scripts += seconds
            seconds, row = cpu_seconds(theirs_network, window)
            alone += seconds
            rows.append(row.numpy())
    scripts += alone
    seconds, ours = cpu_seconds(stream.finish)
    here += seconds
    theirs = np.concatenate(rows)

    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"{len(frames)} frames, {len(starts)} windows, one thread, CPU seconds")
    print(f"the scripts' way           {scripts:8.2f}")
    print(f"  of it the network alone  {alone:8.2f}")
    print(f"aa-eval                    {here:8.2f}")
    print(f"aa-eval / the scripts' way {here / scripts:8.2f}   (target: at most 0.75)")
    print(f"largest difference of the features, relative: {difference:.1e}")


def cpu_seconds(run: Callable[..., Value], *arguments: object) -> tuple[float, Value]:
    start = time.process_time()
    value = run(*arguments)
    return time.process_time() - start, value


class TorchsPool(nn.Module):
    """`SamePool` by torch's max_pool3d."""

    def __init__(self, pool: SamePool) -> None:
        super().__init__()
        self.kernel, self.stride = pool.kernel, pool.stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = pad_same(x, self.kernel, self.stride, float("-inf"))
        return F.max_pool3d(padded, self.kernel, self.stride)


def with_torchs_pools(model: I3D) -> I3D:
    """The model as ports have it."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, SamePool):
                parent.add_module(name, TorchsPool(child))
    return model


def script_window(frames: NDArray[np.uint8]) -> torch.Tensor:
    """Pillow's bicubic in mode F, channel by channel, then x / 127.5 - 1: [1, 3, T, 224, 224]."""
    resized = [
        [
            np.asarray(Image.fromarray(frame[..., c].astype(np.float32)).resize((224, 224), 3))
            for c in range(3)
        ]
        for frame in frames
    ]
    return torch.from_numpy(np.asarray(resized)).transpose(0, 1)[None] / 127.5 - 1


if __name__ == "__main__":
    main()
