"""The optimizers: AdamW, AdamW with 8-bit state, Adafactor; their state on the CPU if asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from aa_model.config import TrainConfig
from aa_model.errors import ModelError


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: TrainConfig
) -> torch.optim.Optimizer | CpuOptimizer:
    """The optimizer that the configuration names.

    Raises:
        ModelError: the package of adamw8bit is missing.
    """
    parameters = list(parameters)
    if config.offload_optimizer:
        return CpuOptimizer(parameters, config)
    return _make(parameters, config)


def _make(parameters: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adafactor":
        return torch.optim.Adafactor(parameters, lr=config.lr, weight_decay=config.weight_decay)
    if config.optimizer == "adamw8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise ModelError(
                "--optimizer adamw8bit needs the package bitsandbytes: pip install "
                "'animate-anyone-toolkit[adamw8bit]'"
            ) from error
        made: torch.optim.Optimizer = AdamW8bit(
            parameters, lr=config.lr, weight_decay=config.weight_decay
        )
        return made
    return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)


class CpuOptimizer:
    """An optimizer whose state lies in main memory, with a copy of the weights that it updates.

    A step moves the gradients there, and the weights back; the numbers are those of the same
    optimizer on a CPU.
    """

    def __init__(self, parameters: list[nn.Parameter], config: TrainConfig) -> None:
        self.parameters = parameters
        self.copies = [nn.Parameter(p.detach().to("cpu", copy=True)) for p in parameters]
        self.optimizer = _make(self.copies, config)
        self.param_groups = self.optimizer.param_groups

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for parameter, copy in zip(self.parameters, self.copies, strict=True):
            copy.grad = None if parameter.grad is None else parameter.grad.to("cpu")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for parameter, copy in zip(self.parameters, self.copies, strict=True):
            parameter.copy_(copy)

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The weights are the parameters' own, which were loaded before."""
        for parameter, copy in zip(self.parameters, self.copies, strict=True):
            copy.copy_(parameter)
        self.optimizer.load_state_dict(state)
        self.param_groups = self.optimizer.param_groups
