"""torch.compile, block by block: each kind of block is compiled once, not the whole network."""

from __future__ import annotations

import torch
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from aa_model.networks.temporal import is_temporal

_TRACES = 256  # of one kind of block: one for each size that it is given


def compile_blocks(model: nn.Module, **options: object) -> int:
    """Compile ResNets, feed-forward layers and temporal blocks in place; weights keep their names.

    Spatial blocks as a whole are left out: which videos read a reference is decided in Python, and
    each pattern of them would be compiled for itself. Their attention is one kernel anyway.

    Args:
        options: of torch.compile.

    Returns:
        How many blocks are compiled, at their first use.
    """
    blocks = [
        module
        for name, module in model.named_modules()
        if isinstance(module, ResnetBlock2D | FeedForward)
        or (isinstance(module, BasicTransformerBlock) and is_temporal(f"{name}."))
    ]
    inside = {id(part) for b in blocks for part in b.modules() if part is not b}
    outermost = [block for block in blocks if id(block) not in inside]
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, _TRACES)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, 4 * _TRACES)
    for block in outermost:
        block.compile(**options)
    return len(outermost)
