"""Read tensors from somebody else's file without running anything that it contains."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from aa_model.errors import CheckpointError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth, .ckpt or .bin file of torch.

    Pickles are read with `weights_only=True`. A dict under "state_dict", as training scripts save
    it, is taken out; so is DistributedDataParallel's prefix "module.".

    Raises:
        CheckpointError: no such file, not readable as weights only, or not a dict of tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: it is one of the files of this format")
    try:
        content: Any
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            # Mapped where the format allows it: a file of 3.4 GB then costs no memory of its own.
            mapped = zipfile.is_zipfile(path)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read as weights alone: {reason}; nothing else of it is run"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    odd = (
        [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
        if isinstance(content, dict)
        else [type(content).__name__]
    )
    if odd:
        raise CheckpointError(f"{path} is not a dict of tensors: it holds {', '.join(odd[:5])}")
    return {str(key).removeprefix("module."): value for key, value in content.items()}
