"""LoRA: low-rank updates of the attention projections of a trained network (Hu et al. 2022).

The file is diffusers' own: `pytorch_lora_weights.safetensors` with PEFT's names behind the prefix
of a UNet, `reference_net.` or `denoising_unet.` (temporal layers included), so that
`UNetMotionModel.load_lora_adapter(folder, prefix="denoising_unet", weight_name=LORA_FILE)` and
`AnimatePipeline.load_lora_weights(folder)` read it, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors.torch import save
from torch import Tensor, nn

from aa_datasets.atomic_file import replace_file
from aa_model.checkpoints.store import read_part
from aa_model.errors import ModelError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import part_parameters
from aa_model.networks.temporal import is_temporal

LORA_FILE = "pytorch_lora_weights.safetensors"
# Parts that may have one, and the prefix of the UNet that they are in.
LORA_PARTS = {
    "reference_net": "reference_net",
    "denoising_unet": "denoising_unet",
    "temporal_layers": "denoising_unet",
}
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_ADAPTER = "default"


def add_lora(
    model: AnimateAnyone, parts: Iterable[str], rank: int, alpha: float
) -> dict[str, nn.Parameter]:
    """Add new updates, which are zero, to the attention layers of these parts.

    Left out is what no gradient reaches: of ReferenceNet's what is behind its last feature (trap
    T4), and queries and keys over a single image token (trap T7).

    Returns:
        What is to be trained, as `part.name`.

    Raises:
        ModelError: the package peft is missing.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ModelError(
            "--lora-rank needs the package peft: pip install 'animate-anyone-toolkit[lora]'"
        ) from error
    targets: dict[str, list[str]] = {}
    for part in parts:
        names = [name.removesuffix(".weight") for name in part_parameters(model, part)]
        targets.setdefault(LORA_PARTS[part], []).extend(
            name for name in names if _is_projection(model, name)
        )
    trained: dict[str, nn.Parameter] = {}
    for prefix, names in targets.items():
        config = LoraConfig(
            r=rank, lora_alpha=alpha, target_modules=names, init_lora_weights="gaussian"
        )
        unet = _unet(model, prefix)
        unet.add_adapter(config, adapter_name=_ADAPTER)
        trained |= {
            f"{prefix}.{name}": parameter
            for name, parameter in unet.named_parameters()
            if ".lora_" in name
        }
    return trained


def _is_projection(model: AnimateAnyone, name: str) -> bool:
    layer, _, projection = name.partition(".attn")
    if not layer or projection.partition(".")[2] not in _PROJECTIONS:
        return False
    single = model.config.image_encoder.tokens == "pooled" and not is_temporal(name)
    return not (single and projection in ("2.to_q", "2.to_k"))


def _unet(model: AnimateAnyone, prefix: str) -> UNet2DConditionModel | UNetMotionModel:
    if prefix == "denoising_unet":
        return model.denoising_unet
    if model.reference_net is None:
        raise ModelError(f"appearance {model.config.appearance} has no ReferenceNet to adapt")
    return model.reference_net.unet


def write_lora(folder: Path, model: AnimateAnyone) -> None:
    """Write the updates of all UNets that have some."""
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, Any] = {}
    for prefix in dict.fromkeys(LORA_PARTS.values()):
        found = _lora_tensors(model, prefix)
        if found:
            config = _unet(model, prefix).peft_config[_ADAPTER].to_dict()
            config = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
            metadata |= {f"{prefix}.{key}": value for key, value in config.items()}
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in found.items()}
    header = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    replace_file(folder / LORA_FILE, save(tensors, metadata=header))


def _lora_tensors(model: AnimateAnyone, prefix: str) -> dict[str, Tensor]:
    if prefix == "reference_net" and model.reference_net is None:
        return {}
    return {
        name.replace(f".{_ADAPTER}.", "."): parameter.detach().cpu().contiguous()
        for name, parameter in _unet(model, prefix).named_parameters()
        if ".lora_" in name
    }


def merged_tensors(
    model: AnimateAnyone, sources: Mapping[str, Path], parts: Iterable[str]
) -> dict[str, dict[str, Tensor]]:
    """Each part as its checkpoint has it, in float32, plus its updates.

    Taken from the file and not from `model`, whose frozen weights may be halved.
    """
    return {
        part: merge_lora(
            {name: t.float() for name, t in read_part(sources[part], part)[1].items()},
            _lora_tensors(model, LORA_PARTS[part]),
            _scale(model, LORA_PARTS[part]),
        )
        for part in parts
    }


def _scale(model: AnimateAnyone, prefix: str) -> float:
    config = _unet(model, prefix).peft_config[_ADAPTER]
    return float(config.lora_alpha / config.r)


def merge_lora(
    weights: dict[str, Tensor], lora: Mapping[str, Tensor], scale: float
) -> dict[str, Tensor]:
    """`weights` with scale * B A added to each that has an update; updates of others are left.

    Args:
        weights: float32, under the names of `part_parameters`.
        lora: `NAME.lora_A.weight` [r, in] and `NAME.lora_B.weight` [out, r].
    """
    for key, down in lora.items():
        name = key.removesuffix(".lora_A.weight")
        if name != key and f"{name}.weight" in weights:
            up = lora[f"{name}.lora_B.weight"]
            weights[f"{name}.weight"] = torch.addmm(
                weights[f"{name}.weight"], up.float(), down.float(), alpha=scale
            )
    return weights
