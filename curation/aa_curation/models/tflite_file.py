"""The .tflite models that ship inside the mediapipe wheel, run by LiteRT (mediapipe is not used).

mediapipe 0.10.21 is the last release that carries them; it cannot share our environment (numpy<2),
so it is installed with --no-deps and its files are read, never its code. All are Apache-2.0.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from aa_curation.errors import PackageError, WeightsError
from aa_curation.models.installed_file import installed_file
from aa_curation.models.sha256 import verified

MEDIAPIPE_VERSION = "0.10.21"

# name: (path inside the wheel, sha256 of the content that was checked)
MODELS = {
    "pose_detection": (
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    "pose_landmark_full": (
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    "hand_recrop": (
        "mediapipe/modules/holistic_landmark/hand_recrop.tflite",
        "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d",
    ),
    "hand_landmark_full": (
        "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
    "face_landmark": (
        "mediapipe/modules/face_landmark/face_landmark.tflite",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    ),
}


class TFLiteModel:
    """One verified model on one thread; call it with an image, get its outputs in `order`."""

    def __init__(self, content: bytes, order: Sequence[str]) -> None:
        with _without_info_lines():
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        indices = {d["name"]: d["index"] for d in self._interpreter.get_output_details()}
        self._outputs = [indices[name] for name in order]
        self._one_at_a_time = threading.Lock()

    def __call__(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run on float32 [S, S, 3]; outputs come without their batch axis."""
        with self._one_at_a_time:
            self._interpreter.set_tensor(self._input, image[None])
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


@contextmanager
def _without_info_lines() -> Iterator[None]:
    """Keep "INFO: Created TensorFlow Lite XNNPACK delegate" off stderr; pass on everything else.

    LiteRT writes it past Python, and neither an argument nor a variable turns it off.
    """
    with tempfile.TemporaryFile() as caught:
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught:
                if not line.startswith(b"INFO:"):
                    os.write(2, line)


def read_model(name: str, folder: Path | None = None) -> bytes:
    """The content of one of MODELS, verified by its sha256.

    Args:
        name: a key of MODELS.
        folder: may hold `<name>.tflite`; else the installed mediapipe wheel's is taken.

    Raises:
        WeightsError: missing or altered; the message names what to install.
    """
    inside, sha256 = MODELS[name]
    remedy = (
        f"reinstall it with: pip install --no-deps --force-reinstall mediapipe=={MEDIAPIPE_VERSION}"
    )
    try:
        path = folder / f"{name}.tflite" if folder else None
        if path is None or not path.is_file():
            path = installed_file("mediapipe", MEDIAPIPE_VERSION, inside)
        content = path.read_bytes()
    except (PackageError, OSError) as error:
        raise WeightsError(f"pose model {name} is unavailable: {error}") from error
    return verified(content, f"pose model {name}", sha256, remedy)
