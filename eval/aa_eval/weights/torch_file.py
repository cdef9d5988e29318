"""Checkpoints of torch: read without running code in them, and put into a network by name."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aa_eval.errors import WeightsUnavailable


def read_torch_file(path: Path, *keys: str) -> dict[str, Tensor]:
    """The tensors under the first of `keys` that the checkpoint has; "" is the checkpoint itself.

    Raises:
        WeightsUnavailable: torch cannot read it, or it holds no tensors there.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise WeightsUnavailable(f"{path}: not a checkpoint that torch reads: {error}") from error
    for key in keys:
        found = content.get(key) if key and isinstance(content, dict) else content
        if isinstance(found, dict) and found and all(
            isinstance(value, Tensor) for value in found.values()
        ):  # fmt: skip
            return found
    names = " or ".join(f"'{key}'" if key else "at its root" for key in keys)
    raise WeightsUnavailable(f"{path}: holds no dictionary of tensors {names}")


def load_tensors(
    model: nn.Module, tensors: Mapping[str, Tensor], path: Path, optional: Collection[str] = ()
) -> None:
    """Put tensors into `model`, in evaluation mode and without gradients.

    Args:
        optional: ends of names that the tensors may lack.

    Raises:
        WeightsUnavailable: names or shapes are not the model's.
    """
    wanted = model.state_dict()
    lacking = {n for n in wanted.keys() - tensors.keys() if not n.endswith(tuple(optional))}
    if wrong := sorted(lacking | (tensors.keys() - wanted.keys())):
        raise WeightsUnavailable(f"{path}: lacks or does not know {len(wrong)}, e.g. {wrong[0]}")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise WeightsUnavailable(
                f"{path}: {name} is {list(tensor.shape)}, expected {list(wanted[name].shape)}"
            )
    # a large network is made without memory, and takes the file's tensors as they are
    is_empty = any(parameter.is_meta for parameter in model.parameters())
    if is_empty:
        tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    model.load_state_dict(dict(tensors), strict=False, assign=is_empty)
    model.eval().requires_grad_(False)
