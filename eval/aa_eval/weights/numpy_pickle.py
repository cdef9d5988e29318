"""Pickles of nested dicts of NumPy arrays, read without calling anything that they name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import WeightsUnavailable

WeightTree: TypeAlias = "dict[str, NDArray[np.generic] | WeightTree]"
_DTYPES = ("f2", "f4", "f8", "u1", "i4", "i8")
_MAX_DEPTH = 8  # a dict that holds itself must not be followed for ever


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
