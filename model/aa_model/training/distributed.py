"""Several processes that train one network, each on its share of the batch.

`accelerate launch` or torchrun starts them (on CPUs only torchrun), and accelerate
joins them: NCCL between GPUs, gloo between CPUs. Each step then equals that of one process with
all clips in one batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from aa_model.config import TrainConfig
from aa_model.errors import ModelError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.sharded_random import ShareOfWorld
from aa_model.training.stages import StageLoss


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's place among those that train together; `world_size` is 1 when alone."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this one prints and writes."""
        return self.rank == 0


def join_processes(device: str) -> Processes:
    """Join the processes that this one was started with, or stay alone on `device`."""
    state = PartialState(cpu=torch.device(device).type == "cpu")
    if state.num_processes == 1:
        return Processes(0, 1, torch.device(device))
    return Processes(state.process_index, state.num_processes, state.device)


def refuse_mixed_precision(config: TrainConfig) -> None:
    """Hold what `accelerate launch --mixed_precision` asks for against the configuration.

    Raises:
        ModelError: it asks for a precision that this training does not have.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked != "no" and not (asked == "bf16" and config.autocast):
        raise ModelError(
            f"accelerate asks for mixed precision {asked}, and this training is in "
            f"{'bf16' if config.autocast else 'float32'}: launch with --mixed_precision "
            f"{'bf16' if config.autocast else 'no, or give --autocast for bf16'}"
        )


def wait_for_all(processes: Processes) -> None:
    if processes.world_size > 1:
        PartialState().wait_for_everyone()


def sum_over_processes(value: Tensor, processes: Processes) -> Tensor:
    """The sum of every process's `value`, in all of them; every one must call it."""
    if processes.world_size == 1:
        return value
    total = value.to(processes.device, copy=True)
    distributed.all_reduce(total)
    return total.to(value.device)


def make_generator(processes: Processes, config: TrainConfig) -> torch.Generator:
    """Its draws are this process's share of the draws of one process with the whole batch."""
    if processes.world_size == 1:
        return torch.Generator(processes.device)
    return ShareOfWorld(processes.device, processes.rank, processes.world_size, config.batch_size)


def share_loss(
    loss: Callable[..., Tensor], model: AnimateAnyone, processes: Processes, config: TrainConfig
) -> Callable[..., Tensor]:
    """`loss` whose gradients are averaged over all processes in the backward pass."""
    if processes.world_size == 1:
        return loss
    shared: Any = DistributedDataParallel(
        StageLoss(model, loss),
        device_ids=[processes.device] if processes.device.type == "cuda" else None,
        # ReferenceNet rests in a process whose clips all lost their reference.
        find_unused_parameters=config.reference_drop > 0,
        broadcast_buffers=False,
    )
    return shared  # type: ignore[no-any-return]  # a module is its forward
