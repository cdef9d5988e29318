"""Inference: guided denoising over windows of a video. What need not be done twice is done once.

ReferenceNet runs once per video, its keys and values are projected once, pose features are made
once while they fit; rows without a reference (for guidance) are computed apart and never see it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from aa_model.config import GenerateConfig, ModelConfig
from aa_model.errors import ModelError
from aa_model.inference.drawn_poses import PosePictures
from aa_model.inference.pose_features import PoseFeatures
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.deep_cache import DeepCache
from aa_model.networks.image_encoder import null_tokens
from aa_model.networks.noise_schedule import (
    check_schedule,
    make_scheduler,
    warn_of_few_steps,
)
from aa_model.networks.reference_attention import KeysValues, project_features
from aa_model.networks.windows import (
    average,
    copy_overlaps,
    cut,
    make_windows,
    make_wrapped_windows,
    stitch,
)

# Number of steps done and the latents; a tensor that is returned takes the latents' place.
StepCallback = Callable[[int, Tensor], object]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is computed once per video.

    Attributes:
        image_tokens: [1, S, D].
        reference: layer name -> keys and values of the one reference, [1, M, C] each; or what
            else `AnimateAnyone.reference_features` gives.
        pose: the features of all frames.
    """

    image_tokens: Tensor
    reference: dict[str, Tensor | KeysValues]
    pose: PoseFeatures


def encode_conditions(
    model: AnimateAnyone, reference: Tensor, pose: Tensor | PosePictures
) -> Conditions:
    """Run image encoder, VAE, ReferenceNet and pose guider, in the network's dtype.

    Args:
        reference: [3, H, W] in [-1, 1].
        pose: drawn skeletons [T, 3, H, W] in [-1, 1], or as they are kept of a long video.

    Raises:
        ModelError: the skeletons are of another size than the reference.
    """
    size_hw = tuple(pose.shape[-2:]) if isinstance(pose, Tensor) else pose.size_hw
    if size_hw != reference.shape[-2:]:
        raise ModelError(
            f"the reference is {tuple(reference.shape[-2:])}, the pose pictures are {size_hw}: "
            "bring both to one size"
        )
    tokens = model.image_tokens(reference[None]).to(model.dtype)
    latents = model.encode(reference[None])
    found = model.reference_features(reference[None], latents, tokens)
    features = {name: feature.to(model.dtype) for name, feature in found.items()}

    def pictures(frames: Sequence[int]) -> Tensor:
        return pose[list(frames)] if isinstance(pose, Tensor) else pose.of(frames)

    made = PoseFeatures(model, pictures, len(pose))
    # Last: with offloading, the denoising UNet then stays where it was brought to.
    projected: dict[str, Tensor | KeysValues] = {**features}
    if model.reference_net is not None:
        projected |= project_features(model.denoising_unet, features)
    return Conditions(tokens, projected, made)


def predict(
    model: AnimateAnyone,
    latents: Tensor,
    timestep: float,
    conditions: Conditions,
    windows: Sequence[Sequence[int]],
    guidance: float,
    cache: DeepCache | None = None,
    step: int = 0,
) -> Tensor:
    """The guided prediction for windows of latents [W, t, C, h, w], all of one video; float32.

    With the reference and without it in two passes: together they would take twice the memory.

    Args:
        cache: gives the network of each pass; `model` unless given.
        step: 0 for the first.
    """
    W = len(windows)
    latents = latents.to(model.dtype)
    tokens = conditions.image_tokens.expand(W, -1, -1)
    pose_features = conditions.pose.of(windows).to(model.dtype)
    timesteps = torch.full((W,), timestep, device=latents.device)
    by_frame = latents.shape[1] > 1 and not model.has_temporal_layers
    cache = cache or DeepCache(model, 1)

    def run(
        tokens: Tensor, features: Mapping[str, Tensor | KeysValues], which: int | None
    ) -> Tensor:
        with cache.network(step, (windows[0][0], which)) as network:
            call = partial(_frame_by_frame, network) if by_frame else network
            out: Tensor = call(latents, timesteps, tokens, pose_features, features, (which,) * W)
            return out.float()

    conditional = run(tokens, conditions.reference, 0)
    if guidance == 1:
        return conditional
    unconditional = run(null_tokens(tokens), {}, None)
    return unconditional + guidance * (conditional - unconditional)


@torch.no_grad()
def denoise(
    model: AnimateAnyone,
    conditions: Conditions,
    config: GenerateConfig,
    *,
    scheduler: SchedulerMixin | None = None,
    on_step: StepCallback | None = None,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Latents [T, C, h, w] of the video, from noise.

    Args:
        scheduler: any of diffusers', of the checkpoint's schedule (`check_schedule`); its own DDIM
            unless given. One that remembers earlier predictions remembers each window's own.
        on_step: called with the number of steps done and the current latents: [W, t, C, h, w] of
            the windows with `edge`, else [T, C, h, w]; may return others.
        generator: of the noise; one of `config.seed` unless given.
        noise: where to start, [T, C, h, w] of standard deviation 1; drawn unless given.
        is_interrupted: asked after each step; True ends the denoising.

    Raises:
        ModelError: the scheduler is of another schedule than the network was trained with, or
            cannot take that many steps.
    """
    _refuse_caches(model.denoising_unet)
    if scheduler is None:
        scheduler = make_scheduler(model.config.noise)
    check_schedule(model.config.noise, scheduler)
    warn_of_few_steps(model.config, scheduler, config.guidance)
    device, T = conditions.pose.device, conditions.pose.num_frames
    trained = model.config.noise.num_train_timesteps
    if not 1 <= config.steps <= trained:
        raise ModelError(f"{config.steps} denoising steps: expected 1 to {trained}")
    try:
        scheduler.set_timesteps(config.steps, device=device)
    except ValueError as error:
        name = type(scheduler).__name__
        raise ModelError(f"{name} cannot take {config.steps} steps: {error}") from error
    window = window_of(model.config, config, temporal=model.has_temporal_layers)
    ranges = make_windows(T, window, config.overlap)
    windows = windows_of(T, window, config)
    generator = generator or torch.Generator("cpu").manual_seed(config.seed)
    shape = (T, model.config.vae.latent_channels, *conditions.pose.latent_hw)
    if noise is None:
        noise = torch.randn(shape, generator=generator, device=generator.device)
    if noise.shape != shape:
        raise ModelError(f"latents are {tuple(noise.shape)}: expected {shape} for this video")
    noise = noise.to(device, torch.float32) * scheduler.init_noise_sigma
    drawn = {}  # what schedulers that add noise in each step draw with
    if "generator" in inspect.signature(scheduler.step).parameters:
        drawn["generator"] = generator
    cache = DeepCache(model, config.deep_cache)
    own = config.merge == "edge"
    first, last = config.guidance_interval
    latents = cut(noise, windows) if own else noise
    timesteps = scheduler.timesteps.tolist()
    for done, timestep in enumerate(timesteps, start=1):
        seen = scheduler.scale_model_input(latents if own else cut(latents, windows), timestep)
        guidance = config.guidance if first <= (done - 0.5) / len(timesteps) <= last else 1.0
        with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
            parts = [
                predict(model, seen[r], timestep, conditions, windows[r], guidance, cache, done - 1)
                for r in _slices(len(windows), config.window_batch)
            ]
        prediction = torch.cat(parts)
        if not own:
            prediction = average(prediction, windows)
        latents = scheduler.step(prediction, timestep, latents, **drawn).prev_sample
        if own:
            latents = copy_overlaps(latents, ranges)
        if on_step is not None:
            returned = on_step(done, latents)
            latents = returned if isinstance(returned, Tensor) else latents
        if is_interrupted():
            break
    return stitch(latents, ranges) if own else latents


@torch.no_grad()
def decode_frames(
    model: AnimateAnyone, latents: Tensor, batch: int, *, autocast: bool = False
) -> Iterator[Tensor]:
    """Decode latents [T, C, h, w] to frames uint8 [n, H, W, 3], n at a time."""
    for part in torch.split(latents, batch):
        # Entered for each part: between two of them the caller has the thread.
        with torch.autocast(part.device.type, torch.bfloat16, enabled=autocast):
            images = model.decode(part).float()
        yield ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()


# diffusers' hooks that reuse a layer's output of the step before. A guided step runs the UNet with
# and without the reference, window by window: such a hook would hand one pass the other's output.
_CACHES = ("faster_cache", "fbc", "mag_cache", "pyramid_attention_broadcast", "sea_cache",
           "taylorseer_cache", "text_kv_cache")  # fmt: skip


def _refuse_caches(unet: torch.nn.Module) -> None:
    for module in unet.modules():
        registry = getattr(module, "_diffusers_hook", None)
        found = [name for name in getattr(registry, "hooks", {}) if name.startswith(_CACHES)]
        if found:
            raise ModelError(
                f"the denoising UNet has diffusers' cache hook {found[0]!r}, which would mix "
                "passes with and without the reference: remove it (disable_cache), or take "
                "--guidance-interval, which saves as much"
            )


def window_of(network: ModelConfig, config: GenerateConfig, *, temporal: bool) -> int:
    """Frames that are denoised together.

    Raises:
        ModelError: the temporal layers have no positions for so many.
    """
    longest = network.temporal.max_frames
    window = network.temporal.window if config.window is None else config.window
    if window > longest and temporal:
        raise ModelError(f"a window of {window} frames: the temporal layers see at most {longest}")
    return window


def windows_of(num_frames: int, window: int, config: GenerateConfig) -> Sequence[Sequence[int]]:
    """The windows of a video, as the config lays them."""
    lay = make_wrapped_windows if config.merge == "wrapped" else make_windows
    return lay(num_frames, window, config.overlap)


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _frame_by_frame(
    model: AnimateAnyone,
    latents: Tensor,
    timesteps: Tensor,
    tokens: Tensor,
    pose_features: Tensor,
    reference: Mapping[str, Tensor | KeysValues],
    which: tuple[int | None, ...],
) -> Tensor:
    """A stage-1 network knows no time: every frame is a video of its own."""
    T = latents.shape[1]
    prediction = model(
        latents.flatten(0, 1)[:, None],
        timesteps.repeat_interleave(T),
        tokens.repeat_interleave(T, dim=0),
        pose_features.flatten(0, 1)[:, None],
        reference,
        tuple(r for r in which for _ in range(T)),
    )
    return torch.unflatten(prediction[:, 0], 0, (-1, T))
