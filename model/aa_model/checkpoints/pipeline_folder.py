"""Read a folder of `AnimatePipeline.save_pretrained` as a checkpoint.

FOLDER/model_index.json             components, our `network` (ModelConfig) and `made_by`
FOLDER/denoising_unet/              config.json and safetensors as diffusers writes them
FOLDER/vae/, image_encoder/, ...    the same
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from aa_datasets.atomic_file import sha256_of_file
from aa_model.checkpoints.folder import MODEL_INDEX
from aa_model.config import ModelConfig, from_json
from aa_model.errors import CheckpointError, ConfigError
from aa_model.networks.parts import parts_of
from aa_model.networks.temporal import is_temporal

_TABLE = ".pos_embed.pe"  # of positions: a sinusoid, which is computed
_OUTPUT = "clean_attention"  # of the temporal layers, in a folder of its own
_CLIP = "clip."  # our names of the image encoder's tensors begin with it


def read_index(folder: Path) -> tuple[ModelConfig, dict[str, str]]:
    """The network, and for each part that is there what made it.

    Raises:
        CheckpointError: model_index.json is not of an AnimatePipeline.
    """
    path = folder / MODEL_INDEX
    try:
        row: dict[str, Any] = json.loads(path.read_text())
        config = from_json(ModelConfig, row["network"])
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path} is not of an AnimatePipeline: {error!r}") from error
    parts = [part for part in parts_of(config) if (folder / _folder_of(part)).is_dir()]
    if not any(is_temporal(name) for name in _names(folder / "denoising_unet")):
        parts = [part for part in parts if part != "temporal_layers"]
    made_by: Mapping[str, str] = row.get("made_by") or {}
    return config, {part: made_by.get(part, "not said") for part in parts}


def read_tensors(folder: Path, part: str) -> dict[str, Tensor]:
    """A part's tensors under the names of `part_parameters`; and more, of which that has fewer.

    Raises:
        CheckpointError: a file is not a safetensors file.
    """
    tensors = _load(folder / _folder_of(part))
    if part == "temporal_layers" and (folder / _OUTPUT).is_dir():
        tensors |= {f"{_OUTPUT}.{name}": t for name, t in _load(folder / _OUTPUT).items()}
    if part in ("denoising_unet", "temporal_layers"):
        wanted = part == "temporal_layers"
        return {
            name: t
            for name, t in tensors.items()
            if is_temporal(name) == wanted and not name.endswith(_TABLE)
        }
    if part == "image_encoder":
        return {f"{_CLIP}{name}": t for name, t in tensors.items()}
    return tensors


def hash_of(folder: Path, part: str) -> str:
    """sha256 of the file that holds the part; of their hashes if it is cut into several."""
    found = []
    files = _files(folder / _folder_of(part))
    if part == "temporal_layers" and (folder / _OUTPUT).is_dir():
        files += _files(folder / _OUTPUT)
    for path in files:
        stat = path.stat()
        found.append(_hash(path, stat.st_mtime_ns, stat.st_size))
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()


@cache
def _hash(path: Path, mtime_ns: int, num_bytes: int) -> str:
    """Read once: gigabytes, and asked for part by part."""
    return sha256_of_file(path)


def _load(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in _files(folder):
        try:
            tensors |= load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path} is not a safetensors file: {error}") from error
    return tensors


def _folder_of(part: str) -> str:
    return "denoising_unet" if part == "temporal_layers" else part


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors"))
    whole = [path for path in found if path.name.count(".") == 1]
    files = whole or found  # without a variant such as .fp16. where there are both
    if not files:
        raise CheckpointError(f"{folder} holds no .safetensors file")
    return files


def _names(folder: Path) -> list[str]:
    names: list[str] = []
    for path in _files(folder):
        try:
            with safe_open(path, "pt") as file:
                names += file.keys()
        except SafetensorError as error:
            raise CheckpointError(f"{path} is not a safetensors file: {error}") from error
    return names
