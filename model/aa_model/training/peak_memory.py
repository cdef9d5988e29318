"""What a training step holds at its peak on a GPU, counted without one."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from aa_model.config import TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.live_bytes import LiveBytes, autocast_as_on_cuda, drop_content
from aa_model.training.distillation_loss import Teacher
from aa_model.training.memory import training_autocast, training_memory
from aa_model.training.stages import Stage, make_loss
from aa_model.training.step_time import random_batch


@dataclasses.dataclass(frozen=True, slots=True)
class PeakMemory:
    """Bytes of one process: `held` before the forward pass, and what the passes add to it.

    `forward` is the peak until the loss is there, `passes` that of both passes, with the gradients
    that the backward pass makes.
    """

    held: int
    forward: int
    passes: int

    @property
    def total(self) -> int:
        return self.held + self.passes


def count_peak_memory(
    model: AnimateAnyone, stage: Stage, config: TrainConfig, teacher: Teacher | None = None
) -> PeakMemory:
    """Count a step in which every clip keeps its reference.

    Weights, gradients and optimizer state are arithmetic. Activations are counted operation by
    operation, in the precision that autocast takes on CUDA. What a kernel takes inside, and what
    the allocator cannot use, is not in it.

    Args:
        model: as it is trained: frozen, cast, with checkpointing or without. Its tensors are
            replaced by fake ones, without content: it is of no use for anything else afterwards.
    """
    config = dataclasses.replace(config, cache_latents=False, reference_drop=0.0)
    memory = training_memory(model, config)
    of_teacher = nn.Module() if teacher is None or teacher.unet is None else teacher.unet
    with FakeTensorMode(allow_non_fake_inputs=True):
        drop_content(model)
        drop_content(of_teacher)
        for parameter in model.parameters():
            if parameter.requires_grad and config.accumulate > 1:
                parameter.grad = torch.empty_like(parameter)  # held, of the batch before
        batch = random_batch(model.config, config, torch.device("cpu"))
        loss = make_loss(model, stage, config, teacher=teacher)
        with autocast_as_on_cuda(), LiveBytes() as live:
            with training_autocast(torch.device("cpu"), config):
                value = loss(batch, torch.Generator())
            forward = live.peak
            torch.autograd.backward(value)
    # With one batch a step there are none before the backward pass, which then counts them.
    held = memory.total - (memory.gradients if config.accumulate == 1 else 0)
    held += sum(p.numel() * p.element_size() for p in of_teacher.parameters())
    return PeakMemory(held, forward, live.peak)
