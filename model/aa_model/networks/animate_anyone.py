"""AnimateAnyone: the parts wired together (Fig. 2 of the paper).

    reference ──VAE──> latents ──ReferenceNet──> features ─┐ (spatial attention, every layer)
        └──image encoder──> tokens ────────────────────────┤ (cross-attention)
        └ ─ ─ latents, where `reference_latents` is set ─ ─ ┤ (next to the noisy ones)
    pose ──Pose Guider──> pose features ───────────────────┤ (added at or after conv_in)
    noisy latents + timestep ──────────────> denoising UNet ┴──> prediction

Pixels are float [.., 3, H, W] in [-1, 1]; latents are scaled by the VAE's scaling factor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn

from aa_model.config import ModelConfig
from aa_model.errors import ModelError, ReferenceLost
from aa_model.networks.controlnet import ReferenceControlNet
from aa_model.networks.gradient_checkpointing import recompute_in_backward
from aa_model.networks.image_encoder import ImageEncoder, null_tokens
from aa_model.networks.pose_guider import (
    install_conv_in_with_pose,
    make_pose_guider,
    widen_conv_in,
)
from aa_model.networks.precision import as_stored, dtype_of, layout_for
from aa_model.networks.reference_attention import (
    KeysValues,
    ReferenceReader,
    install_reference_attention,
)
from aa_model.networks.reference_net import ReferenceNet, make_unet2d
from aa_model.networks.sharded_random import draw_normal
from aa_model.networks.temporal import (
    add_temporal_layers,
    clean_attention_of,
    install_per_frame_norms,
    set_clean_attention,
)
from aa_model.networks.vae import decode_latents, encode_moments, make_vae

_CONTROLNET = "controlnet"  # the one feature of the variants that have a ControlNet
_LATENTS = "latents"  # the reference's, among its features
_SLICE_PX = 2**19  # that the VAE encodes at a time: two pictures of 512 x 512


class AnimateAnyone(nn.Module):
    """All networks of the method; stage 2 begins with `add_temporal_layers`.

    Attributes:
        config: sizes and noise schedule; stored with the weights.
        denoising_unet: UNet2DConditionModel, or UNetMotionModel once it has temporal layers.
    """

    denoising_unet: UNet2DConditionModel | UNetMotionModel
    reference_net: ReferenceNet | None
    controlnet: ReferenceControlNet | None
    pose_guider: nn.Module | None

    def __init__(
        self,
        config: ModelConfig,
        *,
        temporal: bool = False,
        networks: Mapping[str, Any] | None = None,
    ) -> None:
        """Args: networks: as `networks` gives them; else they are made, with random weights."""
        super().__init__()
        self.config = config
        given = networks or {}
        self.vae = given.get("vae") or make_vae(config)
        self.image_encoder = ImageEncoder(config, given.get("image_encoder"))
        self.reference_net, self.controlnet = None, None
        if config.appearance == "reference_net":
            self.reference_net = ReferenceNet(given.get("reference_net") or make_unet2d(config))
        if "controlnet" in config.appearance:
            made = given.get("controlnet") or ReferenceControlNet.like(make_unet2d(config), config)
            self.controlnet = made
        self.pose_guider = None
        if config.use_pose:
            self.pose_guider = given.get("pose_guider") or make_pose_guider(config)
        channels = config.vae.latent_channels * (2 if config.reference_latents else 1)
        self._set_denoising_unet(given.get("denoising_unet") or make_unet2d(config, channels))
        if "clean_attention" in given:
            set_clean_attention(self.denoising_unet, given["clean_attention"])
        if temporal:
            self.add_temporal_layers()

    @property
    def networks(self) -> dict[str, Any]:
        """The networks of diffusers' and transformers' classes, by the names of the parts."""
        return {
            "vae": self.vae,
            "image_encoder": self.image_encoder.clip,
            "reference_net": self.reference_net and self.reference_net.unet,
            "controlnet": self.controlnet,
            "denoising_unet": self.denoising_unet,
            "clean_attention": clean_attention_of(self.denoising_unet),
            "pose_guider": self.pose_guider,
        }

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the denoising UNet computes in; other networks may have other dtypes."""
        return dtype_of(self.denoising_unet)

    def place(self, device: str | torch.device, dtype: torch.dtype | None = None) -> None:
        """Move to where and to what it computes in, in the memory layout that is fastest there.

        See `layout_for`.
        """
        self.to(device, dtype).to(memory_format=layout_for(device))

    @property
    def has_temporal_layers(self) -> bool:
        return isinstance(self.denoising_unet, UNetMotionModel)

    def add_temporal_layers(self) -> None:
        """Turn the denoising UNet of stage 1 into that of stage 2; its output does not change."""
        if not self.has_temporal_layers:
            self._set_denoising_unet(add_temporal_layers(self.denoising_unet, self.config))

    def read_reference_latents(self) -> None:
        """Let the denoising UNet read the reference's latents, too; its output does not change."""
        if not self.config.reference_latents:
            self.config = dataclasses.replace(self.config, reference_latents=True)
            widen_conv_in(self.denoising_unet, self.config.vae.latent_channels)

    def set_network(self, name: str, network: Any) -> None:
        """Put another network in the place of one of `networks`.

        Raises:
            ModelError: it is what `torch.compile` gives.
        """
        if hasattr(network, "_orig_mod"):
            raise ModelError(
                f"torch.compile({name}) gives another module, in which layers have other names: "
                f"compile it in place, {name}.compile(...) or {name}.compile_repeated_blocks(...)"
            )
        if name == "denoising_unet":
            layer = clean_attention_of(self.denoising_unet)
            self._set_denoising_unet(network)
            set_clean_attention(network, layer)
        elif name == "clean_attention":
            set_clean_attention(self.denoising_unet, network)
        elif name == "reference_net":
            self.reference_net = network and ReferenceNet(network)
        elif name == "image_encoder":
            self.image_encoder.clip = network
        else:
            setattr(self, name, network)

    def _set_denoising_unet(self, unet: UNet2DConditionModel | UNetMotionModel) -> None:
        install_conv_in_with_pose(unet)
        install_per_frame_norms(unet)
        layers = install_reference_attention(unet)
        assert self.reference_net is None or set(layers) == set(self.reference_net.layers)
        self.denoising_unet = unet

    def set_scaling_factor(self, scaling_factor: float) -> None:
        """Set what latents are multiplied with; the autoencoder's stage measures it."""
        vae = dataclasses.replace(self.config.vae, scaling_factor=scaling_factor)
        self.config = dataclasses.replace(self.config, vae=vae)

    def set_trained_frames(self, num_frames: int | None) -> None:
        """Set how many frames the temporal layers are trained with; stored in the checkpoint."""
        temporal = dataclasses.replace(self.config.temporal, trained_frames=num_frames)
        self.config = dataclasses.replace(self.config, temporal=temporal)

    def set_distilled_guidance(self, guidance: float | None) -> None:
        """Mark the network as one of few steps, which has this guidance in it."""
        self.config = dataclasses.replace(self.config, distilled_guidance=guidance)

    def enable_gradient_checkpointing(self) -> None:
        """Trade time for memory in all UNets, temporal layers included (traps T5, T6)."""
        unets = [self.denoising_unet]
        if self.reference_net is not None:
            unets.append(self.reference_net.unet)
        if self.controlnet is not None:
            unets.append(self.controlnet.net)
        for unet in unets:
            recompute_in_backward(unet)

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images [N, 3, H, W] to latents [N, C, h, w]: the mean, or a sample with a generator.

        Few at a time: at full resolution each takes as much memory as the UNet does for all.
        Float32 under autocast, too: in bfloat16 the noise schedule's first steps would add nothing.
        """
        at_once = max(1, _SLICE_PX // (images.shape[-2] * images.shape[-1]))
        images = images.to(dtype_of(self.vae))
        with as_stored(self.vae, images.device):
            parts = [
                torch.cat(encode_moments(self.vae, p), dim=1) for p in torch.split(images, at_once)
            ]
        moments = torch.cat(parts)
        return self.draw_latents(moments.float(), generator)

    def draw_latents(self, moments: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents [N, C, h, w] of the VAE's means and deviations [N, 2C, h, w]."""
        mean, std = moments.chunk(2, dim=1)
        latents = mean
        if generator is not None:
            noise = draw_normal(mean.shape, generator)
            latents = mean + std * noise.to(mean)
        return latents * self.config.vae.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, C, h, w] to images [N, 3, H, W], clipped to [-1, 1]."""
        unscaled = (latents / self.config.vae.scaling_factor).to(dtype_of(self.vae))
        return decode_latents(self.vae, unscaled).clamp(-1, 1)

    def image_tokens(self, images: Tensor) -> Tensor:
        """Tokens [R, S, D] of reference images [R, 3, H, W]; null tokens where CLIP is left out."""
        with as_stored(self.image_encoder, images.device):
            tokens: Tensor = self.image_encoder(images.to(dtype_of(self.image_encoder))).float()
        return null_tokens(tokens) if self.config.appearance == "controlnet" else tokens

    def reference_features(
        self, images: Tensor, latents: Tensor, image_tokens: Tensor
    ) -> dict[str, Tensor]:
        """What `forward` reads of R references, once per video.

        Args:
            images: [R, 3, H, W].
            latents: of the same, without noise, [R, C, h, w].
            image_tokens: of the same, [R, S, D].

        Returns:
            ReferenceNet's features by layer, and the latents where the denoising UNet reads them;
            or the ControlNet's embedding; nothing for `clip`.
        """
        if self.reference_net is not None:
            kind = dtype_of(self.reference_net)
            features: dict[str, Tensor] = self.reference_net(
                latents.to(kind), image_tokens.to(kind)
            )
            return {**features, _LATENTS: latents} if self.config.reference_latents else features
        if self.controlnet is not None:
            return {_CONTROLNET: self.controlnet.embed(images.to(dtype_of(self.controlnet)))}
        return {}

    def pose_features(self, pose: Tensor) -> Tensor:
        """Pose images [B, T, 3, H, W] in [-1, 1] to what the UNet adds, [B, T, C', h, w].

        A network without a Pose Guider has nothing to add: C' is 0.
        """
        if self.pose_guider is None:
            h, w = (side // self.config.vae.downscale for side in pose.shape[-2:])
            return pose.new_empty(*pose.shape[:2], 0, h, w)
        pixels = (pose + 1) / 2 if self.config.pose_guider.unit_range else pose
        pixels = pixels.to(dtype_of(self.pose_guider))
        features: Tensor = self.pose_guider(pixels.flatten(0, 1))
        return torch.unflatten(features, 0, pose.shape[:2])

    def forward(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        image_tokens: Tensor,
        pose_features: Tensor | None,
        reference_features: Mapping[str, Tensor | KeysValues],
        reference_of_video: tuple[int | None, ...],
    ) -> Tensor:
        """One denoising pass.

        Args:
            noisy_latents: [B, T, C, h, w].
            timesteps: int64 [B].
            image_tokens: [B, S, D], null tokens for videos without a reference.
            pose_features: [B, T, C', h, w], from `pose_features`; None turns the guider off.
            reference_features: of R images, from `reference_features` (or keys and values).
            reference_of_video: for each of the B videos the index of its reference, or None.

        Returns:
            The prediction (noise or velocity), [B, T, C, h, w].

        Raises:
            ReferenceLost: a spatial attention layer did not read the reference, or the latents that
                the network reads are not among its features.
        """
        B, T = noisy_latents.shape[:2]
        if len(reference_of_video) != B:
            raise ModelError(f"{len(reference_of_video)} references were named for {B} videos")
        if T > 1 and not self.has_temporal_layers:
            raise ModelError(
                f"{T} frames were given to a network without temporal layers (stage 1): "
                "give single frames as [B*T, 1, C, h, w], or train stage 2"
            )
        inputs = [noisy_latents]
        if self.config.reference_latents:
            inputs.append(_latents_shown(noisy_latents, reference_features, reference_of_video))
        if pose_features is not None and self.pose_guider is not None:
            if self.config.pose_guider.layout == "paper":
                inputs[0] = noisy_latents + pose_features
            else:
                inputs.append(pose_features)
        unet_input = torch.cat(inputs, dim=2)
        reader, skips, middle = None, None, None
        has_reference = any(r is not None for r in reference_of_video)
        if has_reference and self.controlnet is not None:
            embeddings = reference_features[_CONTROLNET]
            assert isinstance(embeddings, Tensor)
            skips, middle = self.controlnet(
                noisy_latents, timesteps, image_tokens, embeddings, reference_of_video
            )
        if has_reference and self.reference_net is not None:
            reader = ReferenceReader(reference_features, reference_of_video, num_frames=T)
        arguments = {
            "cross_attention_kwargs": {"reference": reader},
            "down_block_additional_residuals": skips,
            "mid_block_additional_residual": middle,
        }
        if self.has_temporal_layers:
            # UNetMotionModel repeats the timestep for each frame, but not the tokens (trap T8).
            tokens = image_tokens.repeat_interleave(T, dim=0)
            prediction = self.denoising_unet(
                unet_input.transpose(1, 2), timesteps, tokens, **arguments
            ).sample.transpose(1, 2)
            if (agree := clean_attention_of(self.denoising_unet)) is not None:
                prediction = agree(prediction, noisy_latents, timesteps)
        else:
            prediction = self.denoising_unet(
                unet_input[:, 0], timesteps, image_tokens, **arguments
            ).sample[:, None]
        if reader is not None and self.reference_net is not None:
            reader.check_all_read(self.reference_net.layers)
        out: Tensor = prediction
        return out


def _latents_shown(
    like: Tensor,
    reference_features: Mapping[str, Tensor | KeysValues],
    reference_of_video: tuple[int | None, ...],
) -> Tensor:
    """[B, T, C, h, w]: each video's reference for every frame, zeros where it has none."""
    rows = [like.new_zeros(like.shape[2:])] * len(reference_of_video)
    for row, which in enumerate(reference_of_video):
        if which is not None:
            found = reference_features.get(_LATENTS)
            if not isinstance(found, Tensor):
                raise ReferenceLost("the reference's features lack its latents")
            rows[row] = found[which].to(like)
    return torch.stack(rows)[:, None].expand(like.shape)
