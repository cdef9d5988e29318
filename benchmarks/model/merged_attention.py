"""Attention to target and reference: keys concatenated, or two attentions merged.

    python benchmarks/model/merged_attention.py

Merged by their log-sum-exps, which the kernel of the CPU returns, the reference's keys and values
are not copied for each frame. Both results are held equal; CPU time of one thread, medians, in
turn. The model concatenates: see docs/model_performance.md.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_HEADS = 8
_KERNEL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _split(x: Tensor) -> Tensor:
    return x.unflatten(-1, (_HEADS, -1)).transpose(1, 2)


def concatenated(own: list[Tensor], reference: list[Tensor]) -> Tensor:
    """own: query, key, value [T, N, C]; reference: key, value [1, M, C]. Returns [T, N, C]."""
    query, *both = own
    key, value = (
        torch.cat([x, r.expand(len(x), -1, -1)], 1) for x, r in zip(both, reference, strict=True)
    )
    out = F.scaled_dot_product_attention(_split(query), _split(key), _split(value))
    return out.transpose(1, 2).flatten(2)


def merged(own: list[Tensor], reference: list[Tensor]) -> Tensor:
    """The same, the frames' queries in one row where they attend to the reference."""
    T, N, _ = own[0].shape
    out_own, lse_own = _KERNEL(*map(_split, own))  # [T, heads, N, d], [T, heads, N]
    row = own[0].flatten(0, 1)[None]
    out_reference, lse_reference = _KERNEL(*map(_split, (row, *reference)))
    out_reference = out_reference[0].transpose(0, 1).unflatten(0, (T, N))
    lse_reference = lse_reference[0].transpose(0, 1).unflatten(0, (T, N))
    share = torch.sigmoid(lse_own.transpose(1, 2) - lse_reference)[..., None]
    return torch.lerp(out_reference, out_own.transpose(1, 2), share).flatten(2)


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    print("| frames, positions, channels | concatenated, ms | merged, ms | ratio |")
    print("|---" * 4 + "|")
    for T, N, C in ((24, 64, 128), (24, 256, 128), (24, 1024, 256), (4, 4096, 320)):
        own = [torch.randn(T, N, C) for _ in range(3)]
        reference = [torch.randn(1, N, C) for _ in range(2)]
        torch.testing.assert_close(merged(own, reference), concatenated(own, reference))
        spent: dict[Callable[..., Tensor], list[float]] = {concatenated: [], merged: []}
        for _ in range(20 if N < 1024 else 7):
            for way, times in spent.items():
                started = time.process_time()
                way(own, reference)
                times.append(1000 * (time.process_time() - started))
        a, b = (statistics.median(times) for times in spent.values())
        print(f"| {T}, {N}, {C} | {a:.1f} | {b:.1f} | {b / a:.2f} |", flush=True)


if __name__ == "__main__":
    main()
