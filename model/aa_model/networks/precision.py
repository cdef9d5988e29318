"""What networks compute in: memory layout, bfloat16, and autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from aa_model.errors import ModelError


def choose_device(name: str | None) -> str:
    """The device of this name; without one, a GPU where there is one, else the CPU.

    Raises:
        ModelError: torch does not know the name, or has no such device here.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"device {name!r} cannot be used here ({reason}): expected cpu"
            f"{', or cuda' if torch.cuda.is_available() else '; torch sees no CUDA device'}"
        ) from error
    return name


def dtype_of(network: nn.Module) -> torch.dtype:
    """What a network computes in; float32 where only some of its weights are halved."""
    kinds = {parameter.dtype for parameter in network.parameters()}
    return kinds.pop() if len(kinds) == 1 else torch.float32


def layout_for(device: str | torch.device) -> torch.memory_format:
    """Channels last on a CPU; on GPUs GroupNorm would copy each picture back, a tenth of a step
    (benchmarks/model/gpu.py)."""
    on_cpu = torch.device(device).type == "cpu"
    return torch.channels_last if on_cpu else torch.contiguous_format


def freeze_as_bfloat16(model: nn.Module) -> None:
    """Keep the matrices and convolutions that are not trained in bfloat16.

    Under autocast those of the UNets are cast to it for every product anyway, and the numbers are
    the same; frozen encoders are otherwise in float32, see `as_stored`.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not module.weight.requires_grad:
            module.to(torch.bfloat16)


def as_stored(module: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """Autocast only where a module's weights are halved.

    What a frozen encoder gives does not then depend on what surrounds it: on the fly under
    `autocast`, from the cache, or stored next to the shards.

    Args:
        device: where it computes, which need not be where its weights lie now (offloading).
    """
    halved = any(p.dtype == torch.bfloat16 for p in module.parameters())
    return autocast_of(device, enabled=halved)


def autocast_of(device: torch.device, *, enabled: bool) -> AbstractContextManager[object]:
    """Autocast to bfloat16, or none inside of another; and nothing on the meta device, which has
    no autocast: FLOPs are counted there."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
