"""Sizes of networks from the config.json files that diffusers and transformers write."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from aa_model.config import ImageEncoderConfig, UNetConfig, VaeConfig
from aa_model.errors import CheckpointError

# The text half of a whole CLIP, and numbers 0, 1, ... that old versions of transformers stored.
_PASSED_OVER = re.compile(r"^text_model\.|^text_projection\.|^logit_scale$|\.position_ids$")


_WEIGHTS = (".safetensors", ".bin")


def first_folder(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these places below `folder` that holds a config.json."""
    return next((folder / n for n in names if (folder / n / "config.json").is_file()), None)


def read_network(kind: Any, folder: Path) -> Any:
    """A network of a diffusers or transformers class, from a folder on this machine.

    Raises:
        CheckpointError: the folder holds no such network, or tensors of it are missing, surplus or
            misshapen: both libraries only warn, and leave random weights.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} holds no {kind.__name__}: it has no config.json")
    try:
        network, info = kind.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True,
            variant=_variant(folder),
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder} holds no {kind.__name__}: {reason}") from error
    faults = [f"missing {name}" for name in sorted(info["missing_keys"])]
    surplus = (n for n in sorted(info["unexpected_keys"]) if not _PASSED_OVER.search(n))
    faults += [f"surplus {name}" for name in surplus]
    faults += [f"{name} of shape {tuple(found)}, expected {tuple(expected)}"
               for name, found, expected in sorted(info["mismatched_keys"])]  # fmt: skip
    if faults:
        more = f"; and {len(faults) - 20} more" if faults[20:] else ""
        raise CheckpointError(f"{folder} is of another network: {'; '.join(faults[:20])}{more}")
    return network


def _variant(folder: Path) -> str | None:
    """The variant, such as "fp16", where the folder has weights of no other kind."""
    names = [path.name for path in folder.glob("*model*") if path.suffix in _WEIGHTS]
    variants = sorted({name.split(".")[-2].split("-")[0] for name in names if name.count(".") > 1})
    has_plain = any(name.count(".") == 1 for name in names)
    return None if has_plain or not variants else variants[0]


def unet_sizes(folder: Path) -> UNetConfig:
    """Sizes of an SD-1.5-layout UNet2DConditionModel.

    Raises:
        CheckpointError: heads that differ between levels, which no SD 1.x has.
    """
    row = _defaults(UNet2DConditionModel, folder)
    if not isinstance(row["attention_head_dim"], int):
        raise CheckpointError(
            f"{folder} has attention_head_dim {row['attention_head_dim']}: expected one number for "
            "all levels, as Stable Diffusion 1.x has"
        )
    return UNetConfig(
        block_out_channels=tuple(row["block_out_channels"]),
        attention=tuple("CrossAttn" in kind for kind in row["down_block_types"]),
        layers_per_block=row["layers_per_block"],
        norm_num_groups=row["norm_num_groups"],
        num_heads=row["attention_head_dim"],  # diffusers' misnomer (trap T10)
        cross_attention_dim=row["cross_attention_dim"],
    )


def vae_sizes(vae: AutoencoderKL) -> VaeConfig:
    config = vae.config
    return VaeConfig(
        kind="kl",
        block_out_channels=tuple(config.block_out_channels),
        layers_per_block=config.layers_per_block,
        latent_channels=config.latent_channels,
        norm_num_groups=config.norm_num_groups,
        scaling_factor=float(config.scaling_factor),
    )


def image_encoder_sizes(
    encoder: CLIPVisionModelWithProjection, like: ImageEncoderConfig
) -> ImageEncoderConfig:
    """Sizes of the encoder; what its configuration does not say is as in `like`."""
    config: Any = encoder.config
    return replace(
        like,
        image_size=config.image_size,
        patch_size=config.patch_size,
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        hidden_act=config.hidden_act,
        mlp_size=_unless(config.intermediate_size, 4 * config.hidden_size),
        layer_norm_eps=_unless(config.layer_norm_eps, CLIPVisionConfig().layer_norm_eps),
    )


def _unless(value: Any, default: Any) -> Any:
    """None for a value that is the default: then configs stay as they were before the field."""
    return None if value == default else value


def _defaults(kind: Any, folder: Path) -> dict[str, Any]:
    """config.json with the class's defaults for what an old file leaves out."""
    try:
        row = json.loads((folder / "config.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder / 'config.json'} cannot be read: {error}") from error
    parameters = inspect.signature(kind.__init__).parameters.items()
    defaults = {name: p.default for name, p in parameters if p.default is not p.empty}
    return {**defaults, **row}
