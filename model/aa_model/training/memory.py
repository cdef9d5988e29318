"""How much memory a stage needs before any activation: printed before the first step."""

from __future__ import annotations

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


def training_autocast(device: torch.device, config: TrainConfig) -> torch.autocast:
    """As `config.autocast` says. Nearly every weight is cast once a pass: a cache of the casts,
    3.4 GB in stage 1 at SD-1.5 sizes, would save little."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.autocast, cache_enabled=False)


def training_memory(model: nn.Module, config: TrainConfig) -> TrainingMemory:
    """Exact from shapes and dtypes; also of a model on the meta device."""
    trained = [p for p in model.parameters() if p.requires_grad]
    size = sum(p.numel() * p.element_size() for p in trained)
    if config.offload_optimizer:
        state = 0
    elif config.optimizer == "adamw":
        state = 2 * size
    elif config.optimizer == "adamw8bit":  # with a scale for 256 numbers; small tensors as AdamW
        state = sum(
            2 * n + 8 * -(-n // 256) if (n := p.numel()) >= 4096 else 8 * n for p in trained
        )
    else:  # one row and one column per matrix
        state = sum(4 * (p.numel() // p.shape[-1] + p.numel() // p.shape[-2]) if p.dim() > 1
                    else p.numel() * 4 for p in trained)  # fmt: skip
    return TrainingMemory(
        weights=sum(p.numel() * p.element_size() for p in model.parameters()),
        gradients=size,
        optimizer=state,
        ema=size * ((config.ema_decay > 0) + 2 * config.post_hoc_ema),
    )
