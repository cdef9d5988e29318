"""How much memory a stage needs before any activation: printed before the first step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from aa_model.config import TrainConfig


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes that are held all the time; activations come on top, and depend on the batch."""

    weights: int
    gradients: int
    optimizer: int
    ema: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.ema


def layout_for(device: str | torch.device) -> torch.memory_format:
    """Channels last on a CPU; on GPUs GroupNorm would copy each picture back, a tenth of a step
    (benchmarks/model_gpu.py)."""
    on_cpu = torch.device(device).type == "cpu"
    return torch.channels_last if on_cpu else torch.contiguous_format


def training_autocast(device: torch.device, config: TrainConfig) -> torch.autocast:
    """As `config.autocast` says. Nearly every weight is cast once a pass: a cache of the casts,
    3.4 GB in stage 1 at SD-1.5 sizes, would save little."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.autocast, cache_enabled=False)


def freeze_as_bfloat16(model: nn.Module) -> None:
    """Keep the matrices and convolutions that are not trained in bfloat16.

    Under autocast those of the UNets are cast to it for every product anyway, and the numbers are
    the same; frozen encoders are otherwise in float32, see `as_stored`.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not module.weight.requires_grad:
            module.to(torch.bfloat16)


def as_stored(module: nn.Module) -> AbstractContextManager[object]:
    """Autocast only where a module's weights are halved.

    What a frozen encoder gives does not then depend on what surrounds it: on the fly under
    `autocast`, from the cache, or stored beside the shards.
    """
    parameters = list(module.parameters())
    device = parameters[0].device.type
    if not torch.amp.is_autocast_available(device):  # meta: FLOPs are counted there
        return nullcontext()
    halved = any(p.dtype == torch.bfloat16 for p in parameters)
    return torch.autocast(device, torch.bfloat16, enabled=halved)


def training_memory(model: nn.Module, config: TrainConfig) -> TrainingMemory:
    """Exact from shapes and dtypes; also of a model on the meta device."""
    trained = [p for p in model.parameters() if p.requires_grad]
    size = sum(p.numel() * p.element_size() for p in trained)
    if config.optimizer == "adamw":
        state = 2 * size
    else:  # one row and one column per matrix
        state = sum(4 * (p.numel() // p.shape[-1] + p.numel() // p.shape[-2]) if p.dim() > 1
                    else p.numel() * 4 for p in trained)  # fmt: skip
    return TrainingMemory(
        weights=sum(p.numel() * p.element_size() for p in model.parameters()),
        gradients=size,
        optimizer=state,
        ema=size if config.ema_decay else 0,
    )
