"""train(): one loop for every stage, a generator of steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map

from aa_model.config import TrainConfig
from aa_model.errors import ModelError, TrainingDiverged
from aa_model.training.memory import training_autocast
from aa_model.training.optimizer import make_optimizer
from aa_model.training.post_hoc_ema import PowerAverages

BatchT = TypeVar("BatchT")


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimiser step did.

    Attributes:
        step: 1 for the first.
        loss: of this step's batches, of all processes, before the update.
        grad_norm: of all trained weights together, before clipping.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float


class TrainingState:
    """Everything that changes while training: weights, optimiser, average, randomness, step.

    Saving it, and the loader's own state, is all that an exact resume needs.
    """

    def __init__(
        self,
        trained: dict[str, nn.Parameter],
        config: TrainConfig,
        generator: torch.Generator | None = None,
    ) -> None:
        if not trained:
            raise ModelError("nothing is to be trained: the stage and the network do not fit")
        self.trained, self.config = trained, config
        device = next(iter(trained.values())).device
        self.optimizer = make_optimizer(trained.values(), config)
        self.ema = (
            EMAModel(
                trained.values(),
                decay=config.ema_decay,
                use_ema_warmup=True,
                power=3 / 4,
                foreach=not any(isinstance(p, DTensor) for p in trained.values()),
            )
            if config.ema_decay
            else None
        )
        self.averages = PowerAverages(trained.values()) if config.post_hoc_ema else None
        self.generator = generator or torch.Generator(device)
        self.generator.manual_seed(config.seed)
        self.step = 0
        self.seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Sharded weights are gathered: every process must call it."""
        changing = {
            "weights": {name: p.detach() for name, p in self.trained.items()},
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "averages": self.averages.values if self.averages else None,
        }
        return {
            **tree_map(_gathered, changing),
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was taken.

        Raises:
            ModelError: the state is of other weights.
        """
        if set(state["weights"]) != set(self.trained):
            odd = sorted(set(state["weights"]) ^ set(self.trained))
            raise ModelError(f"the saved run trains other weights than this one, e.g. {odd[:3]}")
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(_like(parameter, state["weights"][name]))
        parameters = list(self.trained.values())
        optimizer = state["optimizer"]
        moments = {
            i: {name: _like(parameters[i], value) for name, value in of.items()}
            for i, of in optimizer["state"].items()
        }
        self.optimizer.load_state_dict({**optimizer, "state": moments})
        if (self.ema is None) != (state["ema"] is None):
            raise ModelError("the saved run and this one differ in ema_decay")
        if self.ema:
            averages = [
                _like(p, a) for p, a in zip(parameters, state["ema"]["shadow_params"], strict=True)
            ]
            self.ema.load_state_dict({**state["ema"], "shadow_params": averages})
            self.ema.to(next(iter(self.trained.values())).device)  # it stays where it was loaded
        if self.averages:
            self.averages.values = [
                [_like(p, a).to(p.device) for p, a in zip(parameters, values, strict=True)]
                for values in state["averages"]
            ]
        self.generator.set_state(state["generator"])
        self.step, self.seconds = state["step"], state["seconds"]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the weights are their moving average, if one is kept."""
        if self.ema is None:
            yield
            return
        self.ema.store(self.trained.values())
        self.ema.copy_to(self.trained.values())
        try:
            yield
        finally:
            self.ema.restore(self.trained.values())


def train(
    state: TrainingState,
    loss: Callable[[BatchT, torch.Generator], Tensor],
    batches: Iterator[BatchT],
    config: TrainConfig,
    *,
    time_limit_s: float = math.inf,
) -> Iterator[Step]:
    """Train until `config.steps` or the time limit, whichever comes first.

    The time limit counts the seconds of the run before a resume too, and the learning rate falls
    with whichever limit is nearer; a run with a time limit is therefore not reproducible.

    Raises:
        TrainingDiverged: loss or gradient is NaN or infinite; the weights are of the step before.
    """
    parameters = list(state.trained.values())
    device = parameters[0].device
    while state.step < config.steps and state.seconds < time_limit_s:
        started = time.monotonic()
        progress = max(state.step / config.steps, state.seconds / time_limit_s)
        lr = learning_rate(config, state.step, progress)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        state.optimizer.zero_grad(set_to_none=True)
        value = torch.zeros((), device=device)
        for i in range(config.accumulate):
            with _exchange_gradients(loss, now=i + 1 == config.accumulate):
                with training_autocast(device, config):
                    share = loss(next(batches), state.generator) / config.accumulate
                torch.autograd.backward(share)
            value += share.detach()
        if isinstance(loss, DistributedDataParallel | FSDPModule):
            distributed.all_reduce(value)
            value /= distributed.get_world_size()
        grad_norm = _gathered(nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
        if not (torch.isfinite(value) and torch.isfinite(grad_norm)):
            raise TrainingDiverged(
                f"step {state.step + 1}: loss {value.item():.4g}, gradient norm "
                f"{grad_norm.item():.4g}; lower --lr, or raise --warmup-steps"
            )
        state.optimizer.step()
        if state.ema:
            state.ema.step(parameters)
        state.step += 1
        if state.averages:
            state.averages.update(parameters, state.step)
        state.seconds += time.monotonic() - started
        yield Step(state.step, value.item(), lr, grad_norm.item())


def _exchange_gradients(loss: object, *, now: bool) -> AbstractContextManager[None]:
    """Between processes gradients are averaged once a step, with its last batch."""
    if isinstance(loss, FSDPModule):
        loss.set_requires_gradient_sync(now)
    if isinstance(loss, DistributedDataParallel) and not now:
        return loss.no_sync()
    return nullcontext()


def _gathered(value: Any) -> Any:
    """A sharded tensor as a whole one; anything else as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _like(parameter: nn.Parameter, value: Any) -> Any:
    """A whole tensor sharded as the parameter is, if it is, and if the tensor is of its shape."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape:
        return value
    whole = value.to(parameter.device)
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements)


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Rate of the step after `step` steps; `progress` in [0, 1] is the share of the run done."""
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.lr_schedule == "constant":
        return config.lr * warmup
    return config.lr * warmup * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
