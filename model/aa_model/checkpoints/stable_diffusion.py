"""Start from Stable Diffusion: a diffusers-layout folder becomes the parts of a checkpoint.

The paper initialises ReferenceNet and denoising UNet from SD and keeps its VAE and CLIP's image
encoder frozen (Sec. 3.3). Nothing is downloaded: both folders must be there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionModelWithProjection

from aa_model.checkpoints.diffusers_folders import (
    image_encoder_sizes,
    read_network,
    unet_sizes,
    vae_sizes,
)
from aa_model.checkpoints.store import copy_tensors, write_checkpoint
from aa_model.config import ModelConfig
from aa_model.errors import CheckpointError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import part_parameters


def import_stable_diffusion(
    config: ModelConfig,
    sd_folder: Path | str | None,
    image_encoder_folder: Path | str,
    out: Path | str,
    *,
    unet_folder: Path | str | None = None,
    vae_folder: Path | str | None = None,
) -> None:
    """Write a checkpoint with vae, image_encoder, reference_net and denoising_unet.

    Args:
        sd_folder: holds `unet/` and `vae/`, as diffusers saves a pipeline.
        unet_folder, vae_folder: instead of those two, such as sd-vae-ft-mse.
        image_encoder_folder: a transformers CLIPVisionModelWithProjection.

    The checkpoint is marked as untrained: size and noise schedule are of the preset that trains it.
    The autoencoder must be of kind `kl`, as SD's is.

    Raises:
        CheckpointError: a folder is missing, or its network is not the preset's.
    """
    sd_folder = None if sd_folder is None else Path(sd_folder)
    image_encoder_folder = Path(image_encoder_folder)
    out = Path(out)
    unet_folder = None if unet_folder is None else Path(unet_folder)
    vae_folder = None if vae_folder is None else Path(vae_folder)
    unet_folder = unet_folder or (sd_folder and sd_folder / "unet")
    vae_folder = vae_folder or (sd_folder and sd_folder / "vae")
    if unet_folder is None or vae_folder is None:
        raise CheckpointError("give --sd DIR with unet/ and vae/, or both --unet and --vae")
    unet = read_network(UNet2DConditionModel, unet_folder)
    vae = read_network(AutoencoderKL, vae_folder)
    clip = read_network(CLIPVisionModelWithProjection, image_encoder_folder)
    config = replace(
        config,
        untrained=True,
        vae=vae_sizes(vae),
        unet=unet_sizes(unet_folder),
        image_encoder=image_encoder_sizes(clip, config.image_encoder),
    )
    model = AnimateAnyone(config)
    weights = {name: p.detach() for name, p in unet.named_parameters()}
    copy_tensors(part_parameters(model, "denoising_unet"), weights, str(unet_folder))
    wanted = part_parameters(model, "reference_net")
    copy_tensors(wanted, {n: weights[n] for n in wanted}, str(unet_folder))
    copy_tensors(part_parameters(model, "vae"), dict(vae.named_parameters()), str(vae_folder))
    copy_tensors(
        part_parameters(model, "image_encoder"),
        {f"clip.{name}": p for name, p in clip.named_parameters()},
        str(image_encoder_folder),
    )
    made_by = dict.fromkeys(("reference_net", "denoising_unet"), _origin(unet_folder))
    made_by |= {"vae": _origin(vae_folder), "image_encoder": _origin(image_encoder_folder)}
    write_checkpoint(out, model, made_by)


def _origin(folder: Path) -> str:
    """Names a folder by its parent where its own name says only which part it is."""
    of = folder.parent if folder.name in ("unet", "vae") else folder
    return f"imported from {of.name}"
