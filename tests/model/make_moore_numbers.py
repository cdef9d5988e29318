"""Numbers of Moore-AnimateAnyone's own code, printed as moore_numbers.json.

Run it from a checkout of that project (commit a914ef3) in an environment with its requirements
(diffusers 0.24.0, transformers, einops; no GPU):

    PYTHONPATH=. python make_moore_numbers.py > moore_numbers.json

Nothing of the checkout is changed but the dtype of the reference's features, float16 there whatever
the network's. Weights and inputs come from `wave`, so that `test_moore_numbers.py` has the same.
"""

from __future__ import annotations

import json
import math
import tempfile
import zlib
from pathlib import Path

import src.pipelines.pipeline_pose2vid_long as long_pipeline
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler
from diffusers import UNet2DConditionModel as PlainUNet
from PIL import Image
from src.models.mutual_self_attention import ReferenceAttentionControl
from src.models.pose_guider import PoseGuider
from src.models.unet_2d_condition import UNet2DConditionModel
from src.models.unet_3d import UNet3DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

UNET = {
    "sample_size": 8,
    "block_out_channels": (32, 32, 64, 64),
    "layers_per_block": 1,
    "attention_head_dim": 8,
    "cross_attention_dim": 16,
}
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (8, 8, 8, 8),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
}
CLIP = {
    "image_size": 224,
    "patch_size": 56,
    "hidden_size": 16,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "projection_dim": 16,
    "hidden_act": "quick_gelu",
}
GUIDER = (4, 8, 8, 12)
H, W = 72, 104  # latents of 9 x 13: not even, and 2 x 2 for the coarsest norms, which 1 x 1 upset
MOTION = {
    "use_inflated_groupnorm": True,
    "unet_use_cross_frame_attention": False,
    "unet_use_temporal_attention": False,
    "use_motion_module": True,
    "motion_module_resolutions": [1, 2, 4, 8],
    "motion_module_mid_block": True,
    "motion_module_decoder_only": False,
    "motion_module_type": "Vanilla",
    "motion_module_kwargs": {
        "num_attention_heads": 8,
        "num_transformer_block": 1,
        "attention_block_types": ["Temporal_Self", "Temporal_Self"],
        "temporal_position_encoding": True,
        "temporal_position_encoding_max_len": 32,
        "temporal_attention_dim_div": 1,
    },
}
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def wave(name: str, *shape: int) -> torch.Tensor:
    """Numbers in [-1, 1) that `name` and place decide, in any version of torch."""
    place = torch.arange(math.prod(shape), dtype=torch.float64)
    mixed = torch.sin(place * 12.9898 + zlib.crc32(name.encode()) % 1000) * 43758.5453
    return (2 * (mixed - mixed.floor()) - 1).float().reshape(shape)


def weight(name: str, *shape: int) -> torch.Tensor:
    """As torch initialises: larger ones make four steps chaotic, 1e-5 in a token moves 1.0."""
    if len(shape) == 1:
        return 0.1 * wave(name, *shape) + float(name.endswith("weight"))
    return wave(name, *shape) * math.sqrt(1 / math.prod(shape[1:]))


@torch.no_grad()
def fill(module: torch.nn.Module, file: str) -> torch.nn.Module:
    for name, parameter in module.named_parameters():
        parameter.copy_(weight(f"{file}.{name}", *parameter.shape))
    return module.eval()


def digest(x: torch.Tensor) -> list[float]:
    """Mean, deviation, and four of the numbers."""
    x = x.detach().flatten()
    return [float(v) for v in (x.mean(), x.std(), *x[:: len(x) // 4][:4])]


def snr_weights(scheduler: DDIMScheduler, timesteps: torch.Tensor) -> torch.Tensor:
    """As in train_stage_1.py with snr_gamma 5 and v-prediction."""
    alphas = scheduler.alphas_cumprod[timesteps]
    snr = alphas / (1 - alphas) + 1
    return torch.minimum(snr, torch.full_like(snr, 5.0)) / snr


def controls(reference, denoising, *, guided: bool = False):
    both = {"do_classifier_free_guidance": guided, "fusion_blocks": "full"}
    return (
        ReferenceAttentionControl(reference, mode="write", **both),
        ReferenceAttentionControl(denoising, mode="read", **both),
    )


def train(reference, denoising, guider, names: list[str], T: int) -> dict[str, object]:
    """Loss and gradient norms of one step: train_stage_1.py's for T = 1, train_stage_2.py's."""
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", **SCHEDULE)
    latents, tokens = wave("train latents", 2, 4, T, 9, 13), wave("train tokens", 2, 1, 16)
    noise = 2 * wave("train noise", 2, 4, T, 9, 13) + 0.05 * wave("offset", 2, 4, 1, 1, 1)
    timesteps = torch.tensor([999, 400])
    writer, reader = controls(reference, denoising)
    features = wave("train reference", 2, 4, 9, 13)
    reference(features, 0 * timesteps, encoder_hidden_states=tokens, return_dict=False)
    reader.update(writer)
    pose = guider((wave("train pose", 2, 3, T, H, W) + 1) / 2)
    found = denoising(
        scheduler.add_noise(latents, noise, timesteps),
        timesteps,
        pose_cond_fea=pose,
        encoder_hidden_states=tokens,
    ).sample
    target = scheduler.get_velocity(latents, noise, timesteps)
    error = F.mse_loss(found, target, reduction="none").flatten(1).mean(1)
    loss = (error * snr_weights(scheduler, timesteps)).mean()
    loss.backward()
    of = {
        "reference_unet": reference,
        "denoising_unet": denoising,
        "pose_guider": guider,
        "motion_module": denoising,
    }
    norms = {}
    for name in names:
        file, _, parameter = name.partition(".")
        norms[name] = float(dict(of[file].named_parameters())[parameter].grad.norm())
    return {"loss": float(loss), "grad_norms": norms}


def main() -> None:
    ReferenceAttentionControl.update.__defaults__ = (torch.float32,)
    with tempfile.TemporaryDirectory() as folder:
        PlainUNet(**UNET).save_pretrained(Path(folder) / "unet")
        reference = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
        stage_1 = UNet3DConditionModel.from_pretrained_2d(
            folder, "", "unet", {"use_motion_module": False, "unet_use_temporal_attention": False}
        )
        denoising = UNet3DConditionModel.from_pretrained_2d(folder, "", "unet", MOTION)
    fill(reference, "reference_unet")
    fill(stage_1, "denoising_unet")
    fill(denoising, "motion_module")
    denoising.load_state_dict(stage_1.state_dict(), strict=False)
    guider = fill(PoseGuider(32, block_out_channels=GUIDER), "pose_guider")
    vae = fill(AutoencoderKL(**VAE), "vae")
    clip = fill(CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)), "image_encoder")
    numbers: dict[str, object] = {}

    tokens, timesteps = wave("tokens", 2, 1, 16), torch.tensor([981, 401])
    latents, pose = wave("latents", 2, 4, 5, 9, 13), wave("pose features", 2, 32, 5, 9, 13)
    with torch.no_grad():
        writer, reader = controls(reference, denoising)
        reference(
            wave("reference", 2, 4, 9, 13),
            0 * timesteps,
            encoder_hidden_states=tokens,
            return_dict=False,
        )
        numbers["features"] = {
            name: digest(module.bank[0])
            for name, module in reference.named_modules()
            if getattr(module, "bank", None)
        }
        pictures = (wave("pose", 1, 3, 2, H, W) + 1) / 2
        numbers["pose guider"] = digest(guider(pictures).transpose(1, 2))
        rows = {"encoder_hidden_states": tokens, "pose_cond_fea": pose}
        plain = denoising(latents, timesteps, **rows).sample
        numbers["no reference"] = digest(plain.transpose(1, 2))
        reader.update(writer)
        numbers["all"] = digest(denoising(latents, timesteps, **rows).sample.transpose(1, 2))
        alone = denoising(latents, timesteps, encoder_hidden_states=tokens).sample
        numbers["no pose"] = digest(alone.transpose(1, 2))
        reader.clear()
        writer.clear()

    scheduler = DDIMScheduler(beta_schedule="linear", **SCHEDULE)
    pipeline = long_pipeline.Pose2VideoPipeline(vae, clip, reference, denoising, guider, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    numbers["latents"] = {}
    for T, window, overlap, guidance in ((8, 24, 4, 3.5), (8, 24, 4, 1.0), (10, 6, 2, 3.5)):
        frames = ((wave("pictures", T + 1, H, W, 3) + 1) * 127.5).round().to(torch.uint8).numpy()
        noise = torch.randn(T, 4, 9, 13, generator=torch.Generator().manual_seed(0))
        long_pipeline.randn_tensor = lambda *a, n=noise, **k: n.transpose(0, 1)[None]
        seen: list[torch.Tensor] = []
        pipeline(
            Image.fromarray(frames[0]),
            [Image.fromarray(f) for f in frames[1:]],
            W,
            H,
            T,
            4,
            guidance,
            callback=lambda i, t, x, s=seen: s.append(x),
            context_frames=window,
            context_overlap=overlap,
        )
        numbers["latents"][f"{T} {window} {overlap} {guidance}"] = digest(
            seen[-1][0].transpose(0, 1)
        )
    block = "down_blocks.0.{}.0.{}transformer_blocks.0."
    inside = block.format("attentions", "")
    motion = block.format("motion_modules", "temporal_transformer.")
    numbers["stage 1"] = train(
        reference,
        stage_1,
        guider,
        [
            f"reference_unet.{inside}attn1.to_k.weight",
            f"denoising_unet.{inside}attn1.to_k.weight",
            "denoising_unet.conv_out.bias",
            "pose_guider.blocks.1.weight",
        ],
        1,
    )
    numbers["stage 2"] = train(
        reference,
        denoising,
        guider,
        [
            f"motion_module.{motion}attention_blocks.1.to_q.weight",
            "motion_module.mid_block.motion_modules.0.temporal_transformer.norm.weight",
        ],
        4,
    )
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
