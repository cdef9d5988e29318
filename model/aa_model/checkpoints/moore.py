"""The four-file format of Moore-AnimateAnyone, which MusePose shares: read it and write it.

    DIR/reference_unet.pth    SD-1.5's UNet without conv_norm_out and conv_out (682 tensors)
    DIR/denoising_unet.pth    SD-1.5's UNet, diffusers' names (686)
    DIR/pose_guider.pth       conv_in, blocks.0-5, conv_out (16)
    DIR/motion_module.pth     AnimateDiff's names, tables of positions included (588)
    DIR/stable-diffusion-v1-5/unet, DIR/sd-vae-ft-mse, DIR/image_encoder    as diffusers saves them

Sizes are read from these files; the schedule is in none of them, and comes from the preset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from aa_datasets.atomic_file import replace_file
from aa_model.checkpoints.animatediff import from_animatediff, tables_of, to_animatediff
from aa_model.checkpoints.diffusers_folders import (
    first_folder,
    image_encoder_sizes,
    read_network,
    unet_sizes,
    vae_sizes,
)
from aa_model.checkpoints.safe_load import read_weights
from aa_model.checkpoints.store import (
    check_tensors,
    read_checkpoint,
    read_model,
    read_part,
    write_parts,
)
from aa_model.config import ModelConfig, PoseGuiderConfig
from aa_model.errors import CheckpointError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.networks.parts import part_parameters
from aa_model.networks.reference_net import make_unet2d

REFERENCE, DENOISING = "reference_unet.pth", "denoising_unet.pth"
POSE, MOTION = "pose_guider.pth", "motion_module.pth"
BASE, VAE, IMAGE_ENCODER = "stable-diffusion-v1-5/unet", "sd-vae-ft-mse", "image_encoder"
UNUSED = "moore_unused.safetensors"  # in a checkpoint: see `import_moore`
_NO_REFERENCE = ("conv_norm_out.", "conv_out.")  # Moore's ReferenceNet ends before them


@dataclass(frozen=True, slots=True)
class Companions:
    """The folders that the four files need as well; None looks in the usual places."""

    base: Path | None = None
    vae: Path | None = None
    image_encoder: Path | None = None


def import_moore(
    config: ModelConfig, folder: Path | str, out: Path | str, companions: Companions | None = None
) -> None:
    """Write a checkpoint of all six parts from a folder of the format.

    Args:
        config: a preset; gives the schedule, the picture size and the temporal layers' heads.

    ReferenceNet's tensors behind its last feature change no output (trap T4), and the tables of
    positions are a sinusoid that is computed. They are not part of the checkpoint, and lie in its
    folder so that an export gives the same files back.

    Raises:
        CheckpointError: a file or folder is absent, is more than weights, or its tensors are not
            those of the network that the other files describe; they are named.
    """
    folder = Path(folder)
    out = Path(out)
    found = companions or Companions()
    base = found.base or first_folder(
        folder, (BASE, "sd-image-variations-diffusers/unet", "base/unet", "unet")
    )
    vae_folder = found.vae or first_folder(folder, (VAE, "stable-diffusion-v1-5/vae", "vae"))
    encoder_folder = found.image_encoder or first_folder(
        folder, (IMAGE_ENCODER, "sd-image-variations-diffusers/image_encoder")
    )
    vae = read_network(AutoencoderKL, vae_folder or folder / VAE)
    clip = read_network(CLIPVisionModelWithProjection, encoder_folder or folder / IMAGE_ENCODER)
    pose = read_weights(folder / POSE)
    motion_file = read_weights(folder / MOTION)
    motion, temporal = from_animatediff(motion_file, config.temporal, str(folder / MOTION))
    config = replace(
        config,
        appearance="reference_net",
        vae=vae_sizes(vae),
        unet=config.unet if base is None else unet_sizes(base),
        temporal=temporal,
        pose_guider=replace(_pose_guider_sizes(pose, folder / POSE), face=config.pose_guider.face),
        image_encoder=image_encoder_sizes(clip, config.image_encoder),
    )
    with torch.device("meta"):
        model = AnimateAnyone(config, temporal=True)
    reference = read_weights(folder / REFERENCE)
    tensors: dict[str, Mapping[str, Tensor]] = {
        "vae": dict(vae.named_parameters()),
        "image_encoder": {f"clip.{name}": p for name, p in clip.named_parameters()},
        "reference_net": reference,
        "denoising_unet": read_weights(folder / DENOISING),
        "pose_guider": pose,
        "temporal_layers": motion,
    }
    files = {
        "vae": vae_folder, "image_encoder": encoder_folder,
        "reference_net": folder / REFERENCE, "denoising_unet": folder / DENOISING,
        "pose_guider": folder / POSE, "temporal_layers": folder / MOTION,
    }  # fmt: skip
    expected: dict[str, Mapping[str, Tensor]] = {p: part_parameters(model, p) for p in tensors}
    used, unet = expected["reference_net"], expected["denoising_unet"]
    expected["reference_net"] = {n: t for n, t in unet.items() if not n.startswith(_NO_REFERENCE)}
    for part in tensors:
        check_tensors(expected[part], tensors[part], str(files[part]))
    unused = {name: reference.pop(name) for name in sorted(reference.keys() - used.keys())}
    unused |= tables_of(motion_file)
    made_by = {part: f"imported from {Path(str(files[part])).name}" for part in tensors}
    write_parts(out, config, tensors, made_by)
    replace_file(out / UNUSED, save(unused))


def export_moore(checkpoint: Path | str, out: Path | str, dtype: torch.dtype) -> None:
    """Write a checkpoint as a folder of the format, and inference.yaml in Moore's form.

    That file carries the schedule that the weights were trained with, which Moore's own gets wrong.
    The tensors that Moore's ReferenceNet has behind its last feature are those that were imported,
    or else the denoising UNet's.

    Raises:
        CheckpointError: the network has something that the format cannot hold.
    """
    checkpoint = Path(checkpoint)
    out = Path(out)
    config = read_checkpoint(checkpoint).model
    _check_expressible(config)
    read_part(checkpoint, "temporal_layers")  # absent in stage 1: say so before the work
    model = read_model(checkpoint).to(dtype)
    denoising = part_parameters(model, "denoising_unet")
    unused: dict[str, Tensor] = {}
    if (checkpoint / UNUSED).is_file():
        unused = {name: t.to(dtype) for name, t in read_weights(checkpoint / UNUSED).items()}
    motion = to_animatediff(part_parameters(model, "temporal_layers"), config.temporal.max_frames)
    # The same sinusoid as the imported files have it: another version of torch rounds otherwise.
    tables = {name: unused.pop(name) for name in [*unused] if name in motion}
    motion |= {name: table for name, table in tables.items() if table.shape == motion[name].shape}
    reference = {**denoising, **unused, **part_parameters(model, "reference_net")}
    files: dict[str, Mapping[str, Tensor]] = {
        REFERENCE: {n: t for n, t in reference.items() if not n.startswith(_NO_REFERENCE)},
        DENOISING: denoising,
        POSE: part_parameters(model, "pose_guider"),
        MOTION: motion,
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, tensors in files.items():
        torch.save({n: t.detach().contiguous().clone() for n, t in tensors.items()}, out / name)
    base = make_unet2d(config).to(dtype)
    base.load_state_dict(denoising)
    base.save_pretrained(out / BASE)
    model.vae.register_to_config(scaling_factor=config.vae.scaling_factor)
    model.vae.save_pretrained(out / VAE)
    model.image_encoder.clip.save_pretrained(out / IMAGE_ENCODER)
    # JSON is YAML too.
    (out / "inference.yaml").write_text(json.dumps(inference_settings(config), indent=2) + "\n")


def inference_settings(config: ModelConfig) -> dict[str, object]:
    """What Moore's inference configuration says, for this network and schedule."""
    scheduler = make_scheduler(config.noise).config
    names = (
        "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "steps_offset",
        "clip_sample", "prediction_type", "rescale_betas_zero_snr", "timestep_spacing",
        "set_alpha_to_one",
    )  # fmt: skip
    return {
        "unet_additional_kwargs": {
            "use_inflated_groupnorm": True,
            "unet_use_cross_frame_attention": False,
            "unet_use_temporal_attention": False,
            "use_motion_module": True,
            "motion_module_resolutions": [2**i for i in range(len(config.unet.block_out_channels))],
            "motion_module_mid_block": config.temporal.mid_block,
            "motion_module_decoder_only": False,
            "motion_module_type": "Vanilla",
            "motion_module_kwargs": {
                "num_attention_heads": config.temporal.num_heads,
                "num_transformer_block": 1,
                "attention_block_types": ["Temporal_Self", "Temporal_Self"],
                "temporal_position_encoding": True,
                "temporal_position_encoding_max_len": config.temporal.max_frames,
                "temporal_attention_dim_div": 1,
            },
        },
        "noise_scheduler_kwargs": {name: scheduler[name] for name in names},
        "sampler": "DDIM",
    }


def _pose_guider_sizes(tensors: Mapping[str, Tensor], path: Path) -> PoseGuiderConfig:
    """The widths of its convolutions: every second one halves the picture and widens."""
    steps = sorted(
        int(name.split(".")[1]) for name in tensors if name.startswith("blocks.") and "weig" in name
    )
    if "conv_in.weight" not in tensors or steps != list(range(len(steps))) or len(steps) % 2:
        raise CheckpointError(
            f"{path} is not a pose guider of this format: expected conv_in, an even number of "
            f"blocks.N and conv_out, found {', '.join(sorted(tensors)[:5])}"
        )
    widths = ["conv_in.weight", *(f"blocks.{i}.weight" for i in steps[1::2])]
    channels = tuple(int(tensors[name].shape[0]) for name in widths)
    return PoseGuiderConfig("controlnet", channels, (2,) * (len(channels) - 1), unit_range=True)


def _check_expressible(config: ModelConfig) -> None:
    faults = []
    if config.appearance != "reference_net":
        faults.append(f"appearance {config.appearance!r}, not 'reference_net'")
    if not config.use_pose:
        faults.append("no pose guider")
    if config.pose_guider.layout != "controlnet":
        faults.append(f"pose guider layout {config.pose_guider.layout!r}, not 'controlnet'")
    elif config.use_pose and not config.pose_guider.unit_range:
        faults.append("a pose guider that is fed in [-1, 1], not [0, 1]")
    if config.vae.kind != "kl":
        faults.append(f"autoencoder {config.vae.kind!r}, not 'kl'")
    if config.image_encoder.tokens != "pooled":
        faults.append(f"image tokens {config.image_encoder.tokens!r}, not 'pooled'")
    if config.temporal.clean_attention:
        faults.append("attention over time at the output")
    if config.reference_latents:
        faults.append("a denoising UNet that reads the reference's latents")
    if faults:
        raise CheckpointError(f"Moore's format cannot hold this network: {'; '.join(faults)}")
