"""The diffusion loss of stages 1 and 2: what is encoded, dropped, noised and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor

from aa_datasets.loader.batch import Batch, EncodedFrames
from aa_model.config import TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import null_tokens
from aa_model.networks.noise_schedule import (
    draw_timesteps,
    loss_weights,
    make_noise,
    prediction_target,
)
from aa_model.networks.sharded_random import draw_uniform

Encode = Callable[..., Tensor]
Observe = Callable[[Tensor, Tensor], object]


@dataclass(frozen=True, slots=True)
class Videos:
    """What one diffusion step learns from: V videos of T frames, and the R references they share.

    Attributes:
        target, pose: [V, T, 3, H, W] in [-1, 1].
        reference: [R, 3, H, W] in [-1, 1]; the first V / R videos read the first one, and so on.
        latents: of target and reference, if they were made before; these then have no channels.
        loss_mask: bool [V, 1, H, W], False where the error does not count; None counts all of it.
    """

    target: Tensor
    pose: Tensor
    reference: Tensor
    latents: EncodedFrames | None = None
    loss_mask: Tensor | None = None


def as_videos(batch: Batch, *, single_frames: bool) -> Videos:
    """A batch as it is, or its frames as videos of one frame each: stage 1 knows no time.

    Frames of a clip then share ReferenceNet's pass.
    """
    target, pose, latents, mask = batch.target, batch.pose, batch.latents, batch.loss_mask
    if single_frames:
        if mask is not None:
            mask = mask.repeat_interleave(target.shape[1], dim=0)
        target, pose = (x.flatten(0, 1)[:, None] for x in (target, pose))
        if latents is not None:
            moments = latents.target_moments.flatten(0, 1)[:, None]
            latents = replace(latents, target_moments=moments)
    return Videos(target, pose, batch.reference, latents, mask)


def diffusion_loss(
    model: AnimateAnyone,
    scheduler: DDIMScheduler,
    encode: Encode,
    config: TrainConfig,
    videos: Videos,
    generator: torch.Generator,
    observe: Observe | None = None,
    timesteps: Tensor | None = None,
) -> Tensor:
    """Mean squared error of the predicted noise or velocity (Eq. 1), for both stages.

    A clip is trained without its reference with probability `reference_drop`: no features, null
    tokens, the pose kept; exactly what `generate` feeds for the unconditional rows.

    `person_weight` makes errors in the person's box count more: background, which is copied, is
    most of a picture, and most of the error lies on the figure.

    Under `videos.loss_mask` errors do not count and give no gradient; each video's error is the
    mean of what counts, so that every video weighs the same, in any process.

    Args:
        timesteps: int64 [V]; drawn unless given.
    """
    V, device = len(videos.target), videos.target.device
    kept, which = _kept_references(len(videos.reference), config.reference_drop, generator)
    with torch.no_grad():
        latents, reference_latents, tokens = encode_videos(model, encode, videos, kept, generator)
    dropped = torch.tensor([r is None for r in which], device=device)[:, None, None]
    tokens = torch.where(dropped, null_tokens(tokens), tokens)
    features = {}
    if kept:
        features = model.reference_features(videos.reference[kept], reference_latents, tokens[kept])
    if timesteps is None:
        timesteps = draw_timesteps(scheduler, V, config.timestep_shift, generator).to(device)
    noise = make_noise(latents, config.noise_offset, generator)
    repeats = V // len(videos.reference)
    prediction = model(
        scheduler.add_noise(latents, noise, timesteps),
        timesteps,
        tokens.repeat_interleave(repeats, dim=0),
        model.pose_features(videos.pose),
        features,
        tuple(r for r in which for _ in range(repeats)),
    )
    target = prediction_target(scheduler, latents, noise, timesteps)
    error = F.mse_loss(prediction.float(), target.float(), reduction="none")
    if config.person_weight != 1:
        h, w = error.shape[-2:]
        error = error * person_weights(videos.pose, config.person_weight, (h, w))
    error = (
        error.flatten(1).mean(1)
        if videos.loss_mask is None
        else mean_of_counted(error, videos.loss_mask)
    )
    if observe is not None:
        observe(timesteps, error.detach())
    loss = (loss_weights(scheduler, timesteps, config.min_snr_gamma) * error).mean()
    if torch.is_grad_enabled() and not loss.requires_grad:
        # Every reference was dropped, and only what reads references is trained: a gradient of 0.
        loss = loss + 0 * sum(p.sum() for p in model.parameters() if p.requires_grad)
    return loss


def person_weights(pose: Tensor, weight: float, latent_hw: tuple[int, int]) -> Tensor:
    """What an error counts at each latent: `weight` times as much in the person's box as outside.

    The box is that of the drawn skeleton, and a sixteenth of the picture further on every side, for
    skeletons end at the ankles and below the hair. Where nothing is drawn every place counts alike.

    Args:
        pose: [V, T, 3, H, W] in [-1, 1], black where nothing is drawn.
        latent_hw: h and w, whose multiples H and W are.

    Returns:
        [V, T, 1, h, w], of mean 1 in each video, so that losses stay comparable.
    """
    V, T, _, H, W = pose.shape
    drawn = (pose > pose.new_tensor(-1 + 1 / 255)).any(dim=2)  # [V, T, H, W]
    rows, columns = _between_first_and_last(drawn.any(-1)), _between_first_and_last(drawn.any(-2))
    box = (rows[..., :, None] & columns[..., None, :]).float().flatten(0, 1)[:, None]
    margin_px = max(H, W) // 16
    wider = F.max_pool2d(box, 2 * margin_px + 1, stride=1, padding=margin_px)
    share = torch.unflatten(F.adaptive_avg_pool2d(wider, latent_hw), 0, (V, T))
    weights = 1 + (weight - 1) * share
    mean: Tensor = weights.mean(dim=(1, 2, 3, 4), keepdim=True)
    return weights / mean


def _between_first_and_last(marked: Tensor) -> Tensor:
    """True from the first True of the last axis to its last one."""
    forward = marked.int().cummax(-1).values
    backward = marked.int().flip(-1).cummax(-1).values.flip(-1)
    return (forward & backward).bool()


def mean_of_counted(error: Tensor, loss_mask: Tensor) -> Tensor:
    """Mean error of each video over the latents that show no masked pixel; 0 if there are none.

    (A VAE looks further than its cell: latents next to a text know a little of it.)

    Args:
        error: [V, T, C, h, w].
        loss_mask: bool [V, 1, H, W], H and W multiples of h and w.

    Returns:
        [V].
    """
    T, C, h, w = error.shape[1:]
    cell = loss_mask.shape[-2] // h, loss_mask.shape[-1] // w
    touched = F.max_pool2d((~loss_mask).to(error.dtype), cell)
    counted = 1 - touched  # [V, 1, h, w]
    number = counted.flatten(1).sum(1) * T * C
    return (error * counted[:, None]).flatten(1).sum(1) / number.clamp(min=1)


def encode_videos(
    model: AnimateAnyone,
    encode: Encode,
    videos: Videos,
    kept: list[int],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sampled latents of the targets, mean latents of the kept references, tokens of all."""
    stored = videos.latents
    if stored is not None:
        latents = model.draw_latents(stored.target_moments.flatten(0, 1), generator)
        reference_latents = model.draw_latents(stored.reference_moments[kept])
        tokens = stored.reference_tokens
    else:
        latents = encode(videos.target.flatten(0, 1), generator)
        reference = videos.reference
        reference_latents = encode(reference[kept]) if kept else latents[:0]
        tokens = model.image_tokens(reference)
    return torch.unflatten(latents, 0, videos.target.shape[:2]), reference_latents, tokens


def _kept_references(
    R: int, drop: float, generator: torch.Generator
) -> tuple[list[int], tuple[int | None, ...]]:
    """Which clips keep their reference, and for every clip its place among those."""
    drawn = draw_uniform((R,), generator)
    if not drop:  # also of tensors without content, which no list can be made of
        return list(range(R)), tuple(range(R))
    dropped = (drawn < drop).tolist()
    kept = [i for i in range(R) if not dropped[i]]
    return kept, tuple(None if gone else kept.index(i) for i, gone in enumerate(dropped))
