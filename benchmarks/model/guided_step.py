"""A guided denoising step, compared with the plain way of Moore-AnimateAnyone and its descendants.

    python benchmarks/model/guided_step.py [--channels 64 128 256 256] [--latents 64] [--frames 8]

Both use the same weights and the same diffusers classes, and the outputs are held equal first. The
plain way, rebuilt here from diffusers' parts: the reference's features are repeated for every frame
and both rows of guidance, concatenated to the target's and projected again in every step; all rows
attend to them, then the unconditional rows are computed once more without.

Runs alternate; the figures are medians. CPU time of the process, not the clock: other work on the
machine disturbs it less. The peak of memory is of the tensors that a step and its reference's
features take, counted exactly, without and with the UNet's weights.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from aa_model.config import ModelConfig, PoseGuiderConfig
from aa_model.inference.denoise import Conditions, predict
from aa_model.inference.pose_features import PoseFeatures
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import null_tokens
from aa_model.networks.live_bytes import LiveBytes
from aa_model.networks.reference_attention import project_features
from aa_model.presets import PRESETS


@dataclass
class Bank:
    """The plain way's reference: features for each row of guidance, repeated for each frame."""

    features: dict[str, Tensor]
    unconditional: Tensor


class PlainAttention:
    """Self-attention over the target and the repeated reference, unconditional rows redone."""

    def __init__(self, layer: str) -> None:
        self.layer = layer

    def __call__(
        self, attn: Attention, hidden_states: Tensor, *unused: object,
        reference: Bank, **also_unused: object,
    ) -> Tensor:  # fmt: skip
        both = torch.cat([hidden_states, reference.features[self.layer]], dim=1)
        out = attend(attn, hidden_states, both)
        alone = hidden_states[reference.unconditional]
        out = out.clone()
        out[reference.unconditional] = attend(attn, alone, alone)
        return out


class PlainCrossAttention(AttnProcessor2_0):  # type: ignore[misc]  # diffusers is untyped
    """diffusers' own, which does not look at how many tokens there are."""

    def __call__(self, *arguments: object, reference: object = None, **more: object) -> Tensor:
        out: Tensor = super().__call__(*arguments, **more)
        return out


def attend(attn: Attention, x: Tensor, source: Tensor) -> Tensor:
    q, k, v = (
        p(y).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        for p, y in ((attn.to_q, x), (attn.to_k, source), (attn.to_v, source))
    )
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    out: Tensor = attn.to_out[1](attn.to_out[0](mixed))
    return out


def build(channels: list[int], side: int) -> AnimateAnyone:
    base = PRESETS["moore"].model
    config = dataclasses.replace(
        base,
        size_hw=(8 * side, 8 * side),
        vae=dataclasses.replace(base.vae, block_out_channels=(32, 32, 32, 32)),
        unet=dataclasses.replace(
            base.unet,
            block_out_channels=tuple(channels),
            attention=(*[True] * (len(channels) - 1), False),
        ),
        pose_guider=PoseGuiderConfig("controlnet", (8, 8, 8, 8), (2, 2, 2)),
        image_encoder=dataclasses.replace(base.image_encoder, hidden_size=64, num_layers=1),
    )
    return make_random(config)


def make_random(config: ModelConfig) -> AnimateAnyone:
    """The network with random weights, also where it starts with zeros."""
    torch.manual_seed(0)
    model = AnimateAnyone(config, temporal=True).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return model


@dataclass(frozen=True)
class Found:
    """Of ours and of the plain way: CPU seconds of a step and peaks in MiB; how outputs differ."""

    ours_s: float
    plain_s: float
    ours_mib: float
    plain_mib: float
    weights_mib: float
    difference: float


@dataclass(frozen=True)
class Ways:
    """Both ways to make a step: what each keeps of the reference, and the step with it."""

    prepare: Callable[[], Conditions]
    ours: Callable[[Conditions], Tensor]
    repeat: Callable[[], Bank]
    peers: Callable[[Bank], Tensor]
    without_reference: Callable[[], Tensor]


def make_ways(model: AnimateAnyone, frames: int) -> Ways:
    """Both ways over random latents, on the model's device and in its dtype; no gradients."""
    h, w = model.config.latent_hw
    place = {"device": model.device, "dtype": model.dtype}
    channels, factor = model.config.vae.latent_channels, model.config.vae.downscale
    latents = torch.randn(1, frames, channels, h, w, **place)
    tokens = torch.randn(1, 1, model.config.unet.cross_attention_dim, **place)
    picture = torch.zeros(1, 3, 8, 8, **place)
    of_reference = torch.randn(1, channels, h, w, **place)
    features = model.reference_features(picture, of_reference, tokens)
    pictures = torch.rand(frames, 3, factor * h, factor * w, **place)
    made = PoseFeatures(model, lambda chosen: pictures[list(chosen)], frames)
    pose = made.of([range(frames)])[0]
    timesteps = torch.tensor([500, 500], device=model.device)

    def prepare() -> Conditions:
        return Conditions(tokens, dict(project_features(model.denoising_unet, features)), made)

    def ours(conditions: Conditions) -> Tensor:
        return predict(model, latents, 500, conditions, (range(frames),), guidance=3.5)

    @functools.cache  # made when it is first needed: ours is measured without it
    def plain() -> nn.Module:
        copied = copy.deepcopy(model.denoising_unet)
        for name, module in copied.named_modules():
            if isinstance(module, Attention) and name.endswith(".attn2") and ".attentions." in name:
                module.set_processor(PlainCrossAttention())
        for name in features:
            copied.get_submodule(name).set_processor(PlainAttention(name))
        return copied

    def repeat() -> Bank:
        return Bank(
            {name: f.repeat_interleave(2 * frames, dim=0) for name, f in features.items()},
            torch.arange(2 * frames, device=model.device) >= frames,
        )

    def peers(bank: Bank) -> Tensor:
        x = torch.cat([latents, pose[None]], dim=2).repeat(2, 1, 1, 1, 1).transpose(1, 2)
        both = torch.cat([tokens, null_tokens(tokens)]).repeat_interleave(frames, dim=0)
        prediction = plain()(
            x, timesteps, both, cross_attention_kwargs={"reference": bank}
        ).sample.transpose(1, 2)
        conditional, unconditional = prediction.float().chunk(2)
        return unconditional + 3.5 * (conditional - unconditional)

    def without_reference() -> Tensor:
        return model(latents, timesteps[:1], tokens, pose[None], {}, (None,))

    return Ways(prepare, ours, repeat, peers, without_reference)


@torch.no_grad()
def compare(model: AnimateAnyone, frames: int, repeats: int) -> Found:
    ways = make_ways(model, frames)
    conditions, bank = ways.prepare(), ways.repeat()
    expected = ways.peers(bank)
    difference = (ways.ours(conditions) - expected).abs().max().item()
    ignored = (ways.without_reference() - expected).abs().max() < 1e-2
    if difference > 1e-3 or ignored:
        raise SystemExit(f"not comparable: outputs differ by {difference}, or ignore the reference")
    spent: dict[str, list[float]] = {"ours": [], "peers": []}
    runs: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: ways.ours(conditions),
        "peers": lambda: ways.peers(bank),
    }
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.process_time()
            run()
            spent[name].append(time.process_time() - started)
    return Found(
        statistics.median(spent["ours"]),
        statistics.median(spent["peers"]),
        peak_mib(lambda: ways.ours(ways.prepare())),
        peak_mib(lambda: ways.peers(ways.repeat())),
        sum(p.nbytes for p in model.denoising_unet.parameters()) / 2**20,
        difference,
    )


def peak_mib(step: Callable[[], Tensor]) -> float:
    with LiveBytes() as live:
        step()
    return live.peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128, 256, 256])
    parser.add_argument("--latents", type=int, default=64, help="side, in latents")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    model = build(args.channels, args.latents)
    found = compare(model, args.frames, args.repeats)
    print(
        f"guided step, channels {args.channels}, {args.latents}x{args.latents} latents, "
        f"{args.frames} frames; outputs differ by {found.difference:.1e} at most"
    )
    print(
        f"CPU time, median of {args.repeats}: ours {found.ours_s:.2f} s, the plain way "
        f"{found.plain_s:.2f} s: {found.ours_s / found.plain_s:.2f}x"
    )
    with_weights = (found.ours_mib + found.weights_mib) / (found.plain_mib + found.weights_mib)
    print(
        f"peak of tensors: ours {found.ours_mib:.0f} MiB, the plain way {found.plain_mib:.0f} MiB: "
        f"{found.ours_mib / found.plain_mib:.2f}x; with {found.weights_mib:.0f} MiB of weights "
        f"{with_weights:.2f}x"
    )


if __name__ == "__main__":
    main()
