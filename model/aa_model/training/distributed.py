"""Several processes that train one network, each on its share of the batch.

`accelerate launch` or torchrun starts them (on CPUs torchrun, or accelerate with FSDP), and
accelerate joins them: NCCL between GPUs, gloo between CPUs. Each step then equals that of one
process with all clips in one batch. What the launcher asks for beyond that is heeded or refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, fully_shard
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


def refuse_launcher_options(config: TrainConfig) -> None:
    """Hold what a configuration of `accelerate launch` asks for against what is done here.

    Raises:
        ModelError: it asks for what this training does not do, or does by an option of its own.
    """
    environment = os.environ
    asked = {
        "DeepSpeed, which is not used here: take FSDP of version 2": _is_on(
            "ACCELERATE_USE_DEEPSPEED"
        ),
        "FSDP of version 1: set fsdp_version to 2": wants_sharding()
        and environment.get("FSDP_VERSION", "1") != "2",
        "fsdp_activation_checkpointing: give --gradient-checkpointing instead": _is_on(
            "FSDP_ACTIVATION_CHECKPOINTING"
        ),
        "a dynamo backend: give --compile instead": environment.get(
            "ACCELERATE_DYNAMO_BACKEND", "no"
        ).lower()
        != "no",
        "gradient_accumulation_steps: give --accumulate instead": environment.get(
            "ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1"
        )
        not in ("1", "auto", str(config.accumulate)),
    }
    for what, found in asked.items():
        if found:
            raise ModelError(f"accelerate asks for {what}")
    if wants_sharding() and (config.optimizer != "adamw" or config.offload_optimizer):
        raise ModelError(
            "FSDP shards the state of AdamW alone: give --optimizer adamw, and "
            "fsdp_offload_params in accelerate's configuration instead of --offload-optimizer"
        )


def wants_sharding() -> bool:
    """Whether `accelerate launch` was told to shard the weights (FSDP)."""
    return _is_on("ACCELERATE_USE_FSDP")


def _is_on(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1")


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


def shard_weights(
    model: AnimateAnyone, trained: dict[str, nn.Parameter], processes: Processes
) -> tuple[StageLoss, dict[str, nn.Parameter]]:
    """Leave each process its share of the trained weights, and of all that belongs to them.

    FSDP2 gathers a block of the denoising UNet when it is its turn, in both directions; the other
    trained parts are gathered for the whole step. Frozen weights stay whole in every process.

    Returns:
        The module whose forward is the loss, which `share_loss` gives it; and `trained` again, now
        DTensors.
    """
    model.to(memory_format=torch.contiguous_format)  # FSDP splits no other layout
    module = StageLoss(model, lambda batch, generator: torch.zeros(()))
    keys = {id(p): key for key, p in trained.items()}
    places = {name: keys[id(p)] for name, p in module.named_parameters() if id(p) in keys}
    more: dict[str, Any] = {
        "mesh": init_device_mesh(processes.device.type, (processes.world_size,)),
        "ignored_params": {p for p in module.parameters() if not p.requires_grad},
    }
    if _is_on("FSDP_OFFLOAD_PARAMS"):
        more["offload_policy"] = CPUOffloadPolicy()
    unet = model.denoising_unet
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        if any(p.requires_grad for p in block.parameters()):
            fully_shard(block, **more)
    root: Any = fully_shard(module, **more)
    found = {places[n]: p for n, p in module.named_parameters() if n in places}
    with torch.no_grad():  # the first forward pass makes it the root of all
        root(None, None)
    root.reshard()
    return module, {key: found[key] for key in trained}


@contextmanager
def whole_weights(shared: object) -> Iterator[None]:
    """Inside, sharded weights are whole, in every process; all must enter it."""
    every = shared.modules() if isinstance(shared, nn.Module) else ()
    modules = [module for module in every if isinstance(module, FSDPModule)]
    for module in modules:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in modules:
            module.reshard()
            module.set_reshard_after_forward(module is not shared, recurse=False)


def share_loss(
    loss: Callable[..., Tensor],
    model: AnimateAnyone,
    processes: Processes,
    config: TrainConfig,
    sharded: StageLoss | None = None,
) -> Callable[..., Tensor]:
    """`loss` whose gradients are averaged over all processes in the backward pass.

    Args:
        sharded: of `shard_weights`, if the weights are.
    """
    if sharded is not None:
        sharded.loss = loss
        return sharded
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
