"""Temporal layers under AnimateDiff's names, which Moore-AnimateAnyone and MusePose keep.

Versions differ in two things only, and both are read from the file: the length of the table of
positions (v1 24, v2 and v3 32, MusePose 128) and whether the middle block has a layer (v2 only).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import MotionAdapter
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import Tensor

from aa_model.checkpoints.diffusers_folders import read_network
from aa_model.checkpoints.safe_load import read_weights
from aa_model.checkpoints.store import check_tensors, write_parts
from aa_model.config import ModelConfig, TemporalConfig
from aa_model.errors import CheckpointError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import part_parameters

_TABLE = ".pos_encoder.pe"
# AnimateDiff's word, diffusers' word; no word of one side occurs in a name of the other.
_WORDS = (
    (".attention_blocks.0.", ".attn1."),
    (".attention_blocks.1.", ".attn2."),
    (".norms.0.", ".norm1."),
    (".norms.1.", ".norm2."),
    (".ff_norm.", ".norm3."),
)


def from_animatediff(
    tensors: Mapping[str, Tensor], temporal: TemporalConfig, name: str
) -> tuple[dict[str, Tensor], TemporalConfig]:
    """diffusers' names, and `temporal` with the table's length and the middle block of the file.

    The table itself is dropped, since diffusers rebuilds it; it must be the sinusoid.

    Args:
        name: of the file, for errors.

    Raises:
        CheckpointError: a tensor that is not of a motion module, tables of several lengths, or a
            table that is not the sinusoid of its length.
    """
    surplus = [key for key in tensors if ".motion_modules." not in key]
    if surplus:
        raise CheckpointError(f"{name} holds more than motion modules: {_some(surplus)}")
    tables = {key: table for key, table in tensors.items() if key.endswith(_TABLE)}
    lengths = {int(table.shape[1]) for table in tables.values() if table.dim() == 3}
    if len(lengths) != 1 or any(table.dim() != 3 for table in tables.values()):
        raise CheckpointError(
            f"{name} has {len(tables)} tables of positions (...{_TABLE}) of lengths "
            f"{sorted(lengths)}: expected one length"
        )
    (length,) = lengths
    for key, table in tables.items():
        if not torch.allclose(table.float(), _sinusoid(length, table.shape[2]), atol=2e-3):
            raise CheckpointError(f"{name}: {key} is not the sinusoid that AnimateDiff defines")
    renamed = {}
    for key, tensor in tensors.items():
        if key not in tables:
            for old, new in _WORDS:
                key = key.replace(old, new)
            renamed[key.replace(".temporal_transformer.", ".")] = tensor
    mid_block = any(key.startswith("mid_block.") for key in renamed)
    return renamed, replace(temporal, max_frames=length, mid_block=mid_block, clean_attention=None)


def to_animatediff(tensors: Mapping[str, Tensor], max_frames: int) -> dict[str, Tensor]:
    """The inverse of `from_animatediff`: its names, and a table in every attention layer."""
    renamed = {}
    for key, tensor in tensors.items():
        block, mark, rest = key.partition(".motion_modules.")
        index, _, inside = rest.partition(".")
        inside = f".{inside}"
        for old, new in _WORDS:
            inside = inside.replace(new, old)
        new_key = f"{block}{mark}{index}.temporal_transformer{inside}"
        renamed[new_key] = tensor
        if new_key.endswith(".to_q.weight"):
            table = _sinusoid(max_frames, tensor.shape[1]).to(tensor.dtype)
            renamed[new_key.removesuffix(".to_q.weight") + _TABLE] = table
    return renamed


def tables_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tables of positions of a file."""
    return {name: table.contiguous() for name, table in tensors.items() if name.endswith(_TABLE)}


def import_animatediff(config: ModelConfig, path: Path | str, out: Path | str) -> None:
    """Write a checkpoint with temporal layers alone: stage 2 takes it as a further --init.

    Args:
        path: AnimateDiff's file, or the folder of diffusers' MotionAdapter.

    Raises:
        CheckpointError: the file is not AnimateDiff's, or of other sizes than `config`.
    """
    path = Path(path)
    out = Path(out)
    tensors: Mapping[str, Tensor]
    if path.is_dir():
        tensors, temporal = _from_motion_adapter(path, config.temporal)
    else:
        tensors, temporal = from_animatediff(read_weights(path), config.temporal, str(path))
    config = replace(config, temporal=temporal)
    with torch.device("meta"):
        model = AnimateAnyone(config, temporal=True)
    check_tensors(part_parameters(model, "temporal_layers"), tensors, str(path))
    write_parts(
        out, config, {"temporal_layers": tensors}, {"temporal_layers": f"imported from {path.name}"}
    )


def _from_motion_adapter(
    folder: Path, temporal: TemporalConfig
) -> tuple[Mapping[str, Tensor], TemporalConfig]:
    adapter = read_network(MotionAdapter, folder)
    sizes = adapter.config
    return dict(adapter.named_parameters()), replace(
        temporal,
        max_frames=sizes.motion_max_seq_length,
        num_heads=sizes.motion_num_attention_heads,
        mid_block=sizes.use_motion_mid_block,
        clean_attention=None,
    )


def _sinusoid(length: int, channels: int) -> Tensor:
    table: Tensor = SinusoidalPositionalEmbedding(channels, length).pe
    return table


def _some(names: list[str]) -> str:
    more = f", and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(sorted(names)[:5]) + more
