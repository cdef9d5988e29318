"""An ONNX model given by its path, run by ONNX Runtime after its content was verified."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from aa_curation.errors import WeightsError


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """Which file a recipe wants.

    Attributes:
        name: of the file, in the folder that `aa-curate run --weights` names.
        sha256: of its content.
    """

    name: str
    sha256: str

    def read(self, folder: Path | None) -> bytes:
        """Its content.

        Raises:
            WeightsError: no folder is given, no such file is in it, or its content is another.
        """
        if folder is None:
            raise WeightsError(
                f"{self.name} is unavailable: the recipe takes it by path; give the folder that "
                f"holds it with --weights DIR"
            )
        try:
            content = (folder / self.name).read_bytes()
        except OSError as error:
            raise WeightsError(f"{self.name} is unavailable: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise WeightsError(
                f"{self.name} is unavailable: its sha256 is {found[:16]}..., expected "
                f"{self.sha256[:16]}...: fetch it anew, or name your file's hash in the recipe"
            )
        return content


class OnnxModel:
    """One model on one thread of the CPU; call it with an image, get its outputs in their order.

    Args:
        content: of the file.
        name: for messages.
        num_outputs: that it must have.

    Raises:
        WeightsError: no ONNX model, or not one image in and `num_outputs` arrays out.
    """

    def __init__(self, content: bytes, name: str, num_outputs: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no class of their own
            raise WeightsError(f"{name} is no model that ONNX Runtime can load: {error}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if (
            len(inputs) != 1
            or len(outputs) != num_outputs
            or len(shape) != 4
            or shape[1] != 3
            or not all(isinstance(side, int) for side in shape[2:])
        ):
            raise WeightsError(
                f"{name} has {len(inputs)} inputs (the first {shape}) and {len(outputs)} outputs, "
                f"expected one image [1, 3, H, W] of fixed size and {num_outputs}"
            )
        self._input = inputs[0].name
        self.size_hw: tuple[int, int] = (int(shape[2]), int(shape[3]))

    def __call__(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run on float32 [H, W, 3]; outputs come without their batch axis."""
        batch = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
        return [
            np.asarray(out, np.float32)[0] for out in self._session.run(None, {self._input: batch})
        ]
