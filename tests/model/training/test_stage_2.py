"""Stage 2 makes a difference: after a short real training its layers calm a still background.

Flicker is what temporal layers are for (Sec. 3.2). No other test notices a stage 2 that trains
without effect: its loss falls by less than single losses vary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aa_datasets.loader.batch import Batch, Sample, stack_samples
from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.pose import Pose
from aa_datasets.puppets.render import render_puppet
from aa_model.inference.denoise import GenerateConfig
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.temporal import is_temporal, without_temporal_layers
from aa_model.presets import TINY
from aa_model.training.loop import TrainingState, train
from aa_model.training.samples import background_flicker
from aa_model.training.stages import STAGES, finish_stage, make_loss, trained_parameters

Clip = tuple[NDArray[np.uint8], Pose]
CLIP_FRAMES, WINDOW = 16, 8


@pytest.fixture(scope="module")
def puppets() -> list[Clip]:
    """Ten puppets at the tiny preset's size; the last three are held out."""
    size_hw = TINY.model.size_hw
    rendered = [render_puppet(i, i, num_frames=CLIP_FRAMES, size_hw=(64, 64)) for i in range(10)]
    return [(resize_frames(p.frames, size_hw), resize_pose(p.pose, size_hw)) for p in rendered]


def read_batches(clips: list[Clip], B: int, T: int, *, windows: bool) -> Iterator[Batch]:
    rng = np.random.default_rng(0)
    while True:
        samples = []
        for clip in rng.integers(len(clips), size=B):
            frames, pose = clips[clip]
            start = int(rng.integers(CLIP_FRAMES - T + 1))
            chosen = start + np.arange(T) if windows else rng.integers(CLIP_FRAMES, size=T)
            reference, target = (
                torch.from_numpy(frames[i]) for i in (rng.integers(CLIP_FRAMES), chosen)
            )
            samples.append(Sample(reference, target, pose.at_frames(chosen), f"puppet_{clip}"))
        yield stack_samples(samples).to(torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(puppets: list[Clip]) -> AnimateAnyone:
    """Autoencoder, stage 1 and stage 2, of the tiny preset and some seconds each."""
    torch.manual_seed(0)
    model = AnimateAnyone(TINY.model)
    model.place("cpu")
    for name, steps, B, T, lr in (
        ("autoencoder", 60, 8, 1, 3e-3),
        ("1", 40, 4, 4, 5e-3),
        ("2", 60, 2, WINDOW, 5e-3),
    ):
        stage = STAGES[name]
        config = dataclasses.replace(
            TINY.training[name], steps=steps, batch_size=B, num_frames=T, lr=lr, warmup_steps=10,
            lr_schedule="cosine", timestep_shift=3.0,
        )  # fmt: skip
        state = TrainingState(trained_parameters(model, stage), config)
        batches = read_batches(puppets[:-3], B, T, windows=name == "2")
        list(train(state, make_loss(model, stage, config), batches, config))
        if name == "autoencoder":
            finish_stage(model, stage, next(batches))
    return model


def test_temporal_layers_calm_the_still_background_of_held_out_puppets(
    trained: AnimateAnyone, puppets: list[Clip]
) -> None:
    pipeline, config = AnimatePipeline.from_model(trained), GenerateConfig(steps=6, guidance=1)

    def flicker() -> NDArray[np.float64]:
        found = []
        for frames, pose in puppets[-3:]:
            poses = pose.at_frames(np.arange(WINDOW))
            video = np.stack(list(pipeline.stream(frames[0], poses, config)))
            found.append(background_flicker(video, frames[:WINDOW]))
        return np.array(found)

    on = flicker()
    with without_temporal_layers(trained.denoising_unet):
        off = flicker()
    assert (on < off).all()
    assert on.mean() < 0.85 * off.mean(), f"{on} with the temporal layers, {off} without"
    assert np.array_equal(flicker(), on)  # and they are back


def test_without_temporal_layers_the_network_is_that_of_stage_1() -> None:
    torch.manual_seed(0)
    model = AnimateAnyone(TINY.model)
    h, w = model.config.latent_hw
    latents, tokens = torch.randn(1, 3, 4, h, w), torch.randn(1, 1, 16)

    def predict() -> torch.Tensor:
        with torch.no_grad():
            rows = latents if model.has_temporal_layers else latents[0][:, None]
            n = len(rows)
            found = model(rows, torch.full((n,), 500), tokens.expand(n, -1, -1), None, {},
                          (None,) * n)  # fmt: skip
        return found.flatten(0, 1)

    expected = predict()
    model.add_temporal_layers()
    with torch.no_grad():
        for name, parameter in model.denoising_unet.named_parameters():
            if is_temporal(name):
                parameter.normal_(std=0.1)
    assert not torch.allclose(predict(), expected, atol=1e-2)
    with without_temporal_layers(model.denoising_unet):
        assert torch.allclose(predict(), expected, atol=1e-5)


def test_flicker_is_counted_where_the_true_video_stands_still() -> None:
    true = np.full((4, 8, 8, 3), 100, np.uint8)
    true[:, :, 4:] += np.arange(4, dtype=np.uint8)[:, None, None, None] * 20  # moves
    video = true.copy()
    assert background_flicker(video, true) == 0
    video[1::2, :, :4] += 3
    video[:, :, 4:] = 0
    assert background_flicker(video, true) == pytest.approx(3)
    assert np.isnan(background_flicker(video[:1], true[:1]))
    assert np.isnan(background_flicker(video[..., 4:, :], true[..., 4:, :]))  # nothing is still
