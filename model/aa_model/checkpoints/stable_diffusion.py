"""Start from Stable Diffusion: a diffusers-layout folder becomes the parts of a checkpoint.

The paper initialises ReferenceNet and denoising UNet from SD and keeps its VAE and CLIP's image
encoder frozen (Sec. 3.3). Nothing is downloaded: both folders must be there.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionModelWithProjection

from aa_model.checkpoints.diffusers_folders import read_network
from aa_model.checkpoints.store import copy_tensors, write_checkpoint
from aa_model.config import ModelConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import part_parameters


def import_stable_diffusion(
    config: ModelConfig, sd_folder: Path, image_encoder_folder: Path, out: Path
) -> None:
    """Write a checkpoint with vae, image_encoder, reference_net and denoising_unet.

    Args:
        sd_folder: holds `unet/` and `vae/`, as diffusers saves a pipeline.
        image_encoder_folder: a transformers CLIPVisionModelWithProjection.

    The preset's autoencoder must be of kind `kl`, as SD's is.

    Raises:
        CheckpointError: a folder is missing, or its network is not the preset's.
    """
    unet = read_network(UNet2DConditionModel, sd_folder / "unet")
    vae = read_network(AutoencoderKL, sd_folder / "vae")
    clip = read_network(CLIPVisionModelWithProjection, image_encoder_folder)
    model = AnimateAnyone(config)
    weights = {name: p.detach() for name, p in unet.named_parameters()}
    copy_tensors(part_parameters(model, "denoising_unet"), weights, str(sd_folder / "unet"))
    wanted = part_parameters(model, "reference_net")
    copy_tensors(wanted, {n: weights[n] for n in wanted}, str(sd_folder / "unet"))
    copy_tensors(
        part_parameters(model, "vae"), dict(vae.named_parameters()), str(sd_folder / "vae")
    )
    copy_tensors(
        part_parameters(model, "image_encoder"),
        {f"clip.{name}": p for name, p in clip.named_parameters()},
        str(image_encoder_folder),
    )
    model.set_scaling_factor(float(vae.config.scaling_factor))
    made_by = dict.fromkeys(
        ("vae", "reference_net", "denoising_unet"), f"imported from {sd_folder.name}"
    )
    made_by["image_encoder"] = f"imported from {image_encoder_folder.name}"
    write_checkpoint(out, model, made_by)
