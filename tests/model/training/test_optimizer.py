"""Optimizers: state in 8 bits and in main memory; blocks that are compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from aa_datasets.loader.batch import Batch
from aa_model.config import TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.compile_blocks import compile_blocks
from aa_model.presets import TINY
from aa_model.training.loop import Step, TrainingState, train
from aa_model.training.memory import training_memory
from aa_model.training.stages import STAGES, make_loss, trained_parameters

CONFIG = TrainConfig(steps=6, batch_size=1, lr=0.05, ema_decay=0.5)


def fit(config: TrainConfig, steps: int, before: TrainingState | None = None) -> TrainingState:
    """Minimise a sum of squares; the state after so many steps, resumed from another's if given."""
    torch.manual_seed(0)
    weights = {"matrix": nn.Parameter(torch.randn(80, 64)), "bias": nn.Parameter(torch.randn(5))}
    state = TrainingState(weights, config)
    if before is not None:
        state.load_state_dict(before.state_dict())

    def loss(batch: object, generator: torch.Generator) -> torch.Tensor:
        return sum(w.square().mean() for w in weights.values())  # type: ignore[return-value]

    list(train(state, loss, iter(lambda: None, 0), replace(config, steps=steps)))
    return state


def weights_of(state: TrainingState) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for w in state.trained.values()])


def test_state_in_main_memory_gives_the_same_numbers_and_resumes() -> None:
    plain = fit(CONFIG, 6)
    config = replace(CONFIG, offload_optimizer=True)
    assert torch.equal(weights_of(fit(config, 6)), weights_of(plain))
    assert torch.equal(weights_of(fit(config, 6, before=fit(config, 3))), weights_of(plain))
    assert torch.equal(weights_of(fit(config, 6, before=fit(CONFIG, 3))), weights_of(plain))
    assert training_memory(nn.Linear(9, 9), config).optimizer == 0


def test_8_bit_state_takes_a_quarter_of_the_memory_and_the_same_way_down() -> None:
    pytest.importorskip("bitsandbytes")
    config = replace(CONFIG, optimizer="adamw8bit")
    state, plain = fit(config, 6), fit(CONFIG, 6)
    assert torch.allclose(weights_of(state), weights_of(plain), atol=0.02)
    assert torch.equal(weights_of(fit(config, 6, before=fit(config, 3))), weights_of(state))
    (moments, *_) = state.optimizer.state.values()
    held = sum(
        t.nbytes for k, t in moments.items() if k in ("state1", "state2", "absmax1", "absmax2")
    )
    layer = nn.Linear(64, 80, bias=False)
    assert training_memory(layer, config).optimizer == held


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes.optim", None)
    with pytest.raises(Exception, match=r"pip install 'animate-anyone-toolkit\[adamw8bit\]'"):
        fit(replace(CONFIG, optimizer="adamw8bit"), 1)


def test_compiled_blocks_train_as_plain_ones_and_without_a_break(
    make_tiny: Callable[..., AnimateAnyone], make_batch: Callable[..., Batch]
) -> None:
    """By dynamo's graphs, which PyTorch itself runs: inductor's code is another matter."""
    config = replace(TINY.training["2"], steps=2)
    curves: list[list[Step]] = []
    for compiled in (False, True):
        model, stage = make_tiny(temporal=True), STAGES["2"]
        names = list(dict(model.named_parameters()))
        trained = trained_parameters(model, stage)
        if compiled:
            assert compile_blocks(model.denoising_unet, backend="eager", fullgraph=True) > 8
            assert list(dict(model.named_parameters())) == names
        state = TrainingState(trained, config)
        batches = iter([make_batch(T=4, seed=1), make_batch(T=4, seed=2)])
        curves.append(list(train(state, make_loss(model, stage, config), batches, config)))
    assert [s.loss for s in curves[1]] == pytest.approx([s.loss for s in curves[0]], rel=1e-5)
    assert curves[1][1].grad_norm == pytest.approx(curves[0][1].grad_norm, rel=1e-3)
