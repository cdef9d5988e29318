"""The denoising loop, whatever the network says, against DDIM and the merging in plain numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from aa_model.config import GenerateConfig
from aa_model.inference import denoise as generate
from aa_model.inference.denoise import denoise, encode_conditions
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.networks.windows import make_windows

Array = NDArray[np.float64]
STEPS, WINDOW = 4, 8


def says(x: Any, t: float) -> Any:
    """A network's word on windows [W, t, ...]: it depends on the place in the window."""
    place = np.arange(1, x.shape[1] + 1).reshape(1, -1, 1, 1, 1) / x.shape[1]
    if isinstance(x, Tensor):
        return torch.sin(3 * x) * torch.from_numpy(place).to(x) + t / 1000
    return np.sin(3 * x) * place + t / 1000


def ddim(x: Array, v: Array, t: int, alphas: Array, final: float) -> Array:
    """One step of v-prediction without noise: Song et al. 2021, Eq. 12."""
    a = alphas[t]
    before = t - 1000 // STEPS
    b = alphas[before] if before >= 0 else final
    clean, noise = a**0.5 * x - (1 - a) ** 0.5 * v, a**0.5 * v + (1 - a) ** 0.5 * x
    return b**0.5 * clean + (1 - b) ** 0.5 * noise


@pytest.mark.parametrize("merge", ["edge", "mean"])
@pytest.mark.parametrize("T", [8, 16, 20])
def test_the_loop_is_ddim_over_windows_that_merge(
    make_tiny: Callable[..., AnimateAnyone], monkeypatch: pytest.MonkeyPatch, merge: str, T: int
) -> None:
    model = make_tiny(temporal=True)
    half = WINDOW // 2
    config = GenerateConfig(steps=STEPS, guidance=1, merge=merge, overlap=half, seed=3)  # type: ignore[arg-type]
    with torch.no_grad():
        conditions = encode_conditions(model, torch.zeros(3, 32, 32), torch.zeros(T, 3, 32, 32))
    noise: list[Tensor] = []

    def predict(model: AnimateAnyone, seen: Tensor, t: float, *unused: object) -> Tensor:
        noise.append(seen)
        found: Tensor = says(seen, t)
        return found

    monkeypatch.setattr(generate, "predict", predict)
    found = denoise(model, conditions, dataclasses.replace(config, window_batch=9)).numpy()
    scheduler = make_scheduler(model.config.noise)
    alphas = scheduler.alphas_cumprod.double().numpy()
    final = float(scheduler.final_alpha_cumprod)
    windows = [list(window) for window in make_windows(T, WINDOW, half)]
    own = noise[0].double().numpy()  # each window's part of one noise
    if merge == "edge":
        for t in (999, 749, 499, 249):
            own = ddim(own, says(own, t), t, alphas, final)
            for i in range(1, len(windows)):
                own[i, :half] = own[i - 1, -half:]
        expected = np.concatenate([own[0], *own[1:, half:]])  # they agree: the fade changes nothing
    else:
        video = np.zeros((T, *own.shape[2:]))
        for rows, window in zip(own, windows, strict=True):
            video[window] = rows
        for t in (999, 749, 499, 249):
            total, count = np.zeros_like(video), np.zeros((T, 1, 1, 1))
            for rows, window in zip(says(video[np.array(windows)], t), windows, strict=True):
                total[window] += rows
                count[window] += 1
            video = ddim(video, total / count, t, alphas, final)
        expected = video
    np.testing.assert_allclose(found, expected, atol=2e-5)
