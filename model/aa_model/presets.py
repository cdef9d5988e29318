"""PRESETS: the values. `tiny` is for tests, `small` and `medium` for a CPU, `wide` for minutes of a
GPU, the others are of SD-1.5 sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from aa_model.config import (
    ImageEncoderConfig,
    ModelConfig,
    NoiseConfig,
    PoseGuiderConfig,
    Preset,
    TemporalConfig,
    TrainConfig,
    UNetConfig,
    VaeConfig,
)

PresetName: TypeAlias = Literal[
    "tiny", "small", "medium", "wide", "paper", "moore", "musepose", "base-24gb", "base-12gb"
]
_HALF = (0.5, 0.5, 0.5)
# Zero terminal SNR, v-prediction and trailing steps belong together (Lin et al. 2023).
_V_ZERO_SNR = NoiseConfig("v_prediction", zero_terminal_snr=True, timestep_spacing="trailing")

TINY = Preset(
    model=ModelConfig(
        preset="tiny",
        size_hw=(32, 32),
        vae=VaeConfig("kl", (8, 8, 16), 1, latent_channels=4, norm_num_groups=4,
                      scaling_factor=1.0),
        unet=UNetConfig((16, 32), (True, True), 1, norm_num_groups=8, num_heads=2,
                        cross_attention_dim=16),
        temporal=TemporalConfig(max_frames=8, num_heads=2, mid_block=True),
        pose_guider=PoseGuiderConfig("controlnet", (8, 8, 16), (2, 2)),
        image_encoder=ImageEncoderConfig(16, 8, hidden_size=16, num_layers=1, num_heads=2,
                                         hidden_act="gelu", tokens="pooled", mean=_HALF, std=_HALF),
        noise=_V_ZERO_SNR,
    ),
    training={
        "autoencoder": TrainConfig(steps=4, batch_size=2, lr=1e-3),
        "image-encoder": TrainConfig(steps=4, batch_size=4, lr=1e-3),
        "1": TrainConfig(steps=4, batch_size=2, lr=1e-3),
        "2": TrainConfig(steps=4, batch_size=1, lr=1e-3, num_frames=4),
        "personalize": TrainConfig(steps=4, batch_size=1, lr=1e-3, num_frames=4),
    },
)  # fmt: skip

SMALL = Preset(
    model=ModelConfig(
        preset="small",
        size_hw=(64, 64),
        vae=VaeConfig("dc", (32, 64, 64), 1, latent_channels=8, norm_num_groups=8,
                      scaling_factor=1.0),
        unet=UNetConfig((48, 64, 80), (True, True, True), 1, norm_num_groups=16, num_heads=2,
                        cross_attention_dim=64),
        temporal=TemporalConfig(max_frames=24, num_heads=4, mid_block=True, clean_attention=True),
        pose_guider=PoseGuiderConfig("controlnet", (16, 32, 48), (2, 2)),
        image_encoder=ImageEncoderConfig(64, 8, hidden_size=64, num_layers=2, num_heads=4,
                                         hidden_act="gelu", tokens="pooled", mean=_HALF, std=_HALF),
        noise=replace(_V_ZERO_SNR, final_alpha_one=True),
    ),
    # bfloat16 (autocast) is off: on processors without it a step takes ten times as long.
    training={
        "autoencoder": TrainConfig(steps=4000, batch_size=8, lr=1e-3, warmup_steps=100,
                                   lr_schedule="cosine", gradient_weight=0.3, latent_noise=0.05,
                                   crop_px=32, weight_decay=0.0),
        "image-encoder": TrainConfig(steps=1000, batch_size=32, lr=5e-4, warmup_steps=50,
                                     lr_schedule="cosine"),
        "1": TrainConfig(steps=6000, batch_size=4, lr=1e-3, num_frames=4, warmup_steps=200,
                         lr_schedule="cosine", ema_decay=0.999, timestep_shift=3.0,
                         cache_latents=True),
        "2": TrainConfig(steps=1000, batch_size=2, lr=5e-4, num_frames=12, warmup_steps=50,
                         lr_schedule="cosine", ema_decay=0.99, timestep_shift=3.0,
                         cache_latents=True),
        "personalize": TrainConfig(steps=400, batch_size=1, lr=5e-4, num_frames=12,
                                   warmup_steps=20, lr_schedule="cosine", timestep_shift=3.0,
                                   cache_latents=True),
    },
)  # fmt: skip

# `small` with wider UNets, and twice the latent channels of an autoencoder that was trained with a
# perceptual term: see demo/learn/README.md. 23 MB in float16; `wide` has 49 MB.
MEDIUM = Preset(
    model=replace(
        SMALL.model,
        preset="medium",
        vae=replace(SMALL.model.vae, latent_channels=16),
        unet=replace(SMALL.model.unet, block_out_channels=(64, 80, 112)),
    ),
    training={
        **SMALL.training,
        "autoencoder": replace(SMALL.training["autoencoder"], perceptual_weight=0.5),
        "1": replace(SMALL.training["1"], num_frames=16, early_num_frames=4),
        "2": replace(SMALL.training["2"], batch_size=1, num_frames=24),
    },
)

# For a GPU, where narrow networks wait for their kernels' launches, so that width costs little.
WIDE = Preset(
    model=replace(
        MEDIUM.model,
        preset="wide",
        unet=replace(MEDIUM.model.unet, block_out_channels=(96, 128, 160), norm_num_groups=32,
                     num_heads=4),
    ),
    training={
        **MEDIUM.training,
        "1": replace(MEDIUM.training["1"], batch_size=32, autocast=True, cache_latents=False),
        "2": replace(MEDIUM.training["2"], batch_size=16, autocast=True, cache_latents=False),
    },
)  # fmt: skip

# Sizes of Stable Diffusion 1.5 and CLIP ViT-L/14 as in sd-image-variations; Sec. 3.3 and 4.1.
PAPER = Preset(
    model=ModelConfig(
        preset="paper",
        size_hw=(768, 768),
        vae=VaeConfig("kl", (128, 256, 512, 512), 2, latent_channels=4, norm_num_groups=32,
                      scaling_factor=0.18215),
        unet=UNetConfig((320, 640, 1280, 1280), (True, True, True, False), 2, norm_num_groups=32,
                        num_heads=8, cross_attention_dim=768),
        temporal=TemporalConfig(max_frames=24, num_heads=8, mid_block=False),
        pose_guider=PoseGuiderConfig("paper", (16, 32, 64, 128), (2, 2, 2, 1)),
        image_encoder=ImageEncoderConfig(224, 14, hidden_size=1024, num_layers=24, num_heads=16,
                                         hidden_act="quick_gelu", tokens="pooled",
                                         mean=(0.48145466, 0.4578275, 0.40821073),
                                         std=(0.26862954, 0.26130258, 0.27577711)),
        noise=NoiseConfig("epsilon", zero_terminal_snr=False, timestep_spacing="leading"),
    ),
    training={
        "1": TrainConfig(steps=30_000, batch_size=64, lr=1e-5, autocast=True,
                         gradient_checkpointing=True),
        "2": TrainConfig(steps=10_000, batch_size=4, lr=1e-5, num_frames=24, autocast=True,
                         gradient_checkpointing=True),
    },
)  # fmt: skip

# Moore-AnimateAnyone a914ef3: configs/train/stage1.yaml, stage2.yaml. Its stage 2 is at 512 x 512;
# a checkpoint here has one size, so it is stage 1's. It trained with scaled_linear, whatever the
# yaml says, which its published inference settings contradict.
MOORE = Preset(
    model=replace(
        PAPER.model,
        preset="moore",
        temporal=TemporalConfig(max_frames=32, num_heads=8, mid_block=True, trained_frames=24),
        pose_guider=PoseGuiderConfig("controlnet", (16, 32, 96, 256), (2, 2, 2),
                                     unit_range=True, face=True),
        noise=replace(_V_ZERO_SNR, final_alpha_one=True),
    ),
    training={
        "1": TrainConfig(steps=30_000, batch_size=4, lr=1e-5, warmup_steps=1, noise_offset=0.05,
                         min_snr_gamma=5.0, autocast=True),
        "2": TrainConfig(steps=10_000, batch_size=1, lr=1e-5, num_frames=24, warmup_steps=1,
                         noise_offset=0.05, min_snr_gamma=5.0, autocast=True,
                         gradient_checkpointing=True),
    },
)  # fmt: skip

_WITHOUT_FACE = replace(MOORE.model.pose_guider, face=False)

# MusePose 61c52bd: Moore's network with a longer table of positions and longer training.
MUSEPOSE = Preset(
    model=replace(
        MOORE.model,
        preset="musepose",
        temporal=TemporalConfig(max_frames=128, num_heads=8, mid_block=True, trained_frames=48),
        pose_guider=_WITHOUT_FACE,
    ),
    training={
        "1": replace(MOORE.training["1"], steps=400_000, batch_size=8),
        "2": replace(MOORE.training["2"], steps=2_000_000, num_frames=48),
    },
)

# SD-1.5 sizes for one GPU of 24 or 12 GB: 18.9 and 10.2 GiB at a step's peak, counted by
# benchmarks/model/training_memory.py; what ran on a GPU: docs/model_performance.md. Adafactor
# instead of AdamW, whose state alone is 13.7 GB in stage 1; its rate is a share of a tensor's RMS,
# about 0.03 here, so 3e-4 moves weights as far as AdamW's 1e-5. 12 GB are for stage 2, with half of
# the paper's frames: stage 1 holds 18.2 GB even so, most of it weights and gradients.
_LEAN = TrainConfig(steps=30_000, batch_size=1, lr=3e-4, warmup_steps=500, noise_offset=0.05,
                    min_snr_gamma=5.0, accumulate=16, optimizer="adafactor", frozen_bfloat16=True,
                    autocast=True, gradient_checkpointing=True)  # fmt: skip
BASE_24GB = Preset(
    model=replace(MOORE.model, preset="base-24gb", size_hw=(512, 512), pose_guider=_WITHOUT_FACE),
    training={
        "1": replace(_LEAN, batch_size=4, accumulate=4),
        "2": replace(_LEAN, steps=10_000, num_frames=24, accumulate=4),
    },
)
BASE_12GB = Preset(
    model=replace(BASE_24GB.model, preset="base-12gb"),
    training={"2": replace(_LEAN, steps=10_000, num_frames=12, accumulate=4)},
)

PRESETS: dict[str, Preset] = {
    preset.model.preset: preset
    for preset in (TINY, SMALL, MEDIUM, WIDE, PAPER, MOORE, MUSEPOSE, BASE_24GB, BASE_12GB)
}
