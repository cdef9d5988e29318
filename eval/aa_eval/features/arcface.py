"""ArcFace (Deng et al. 2019) as ONNX: one vector a face, for CSIM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import WeightsUnavailable
from aa_eval.metrics.faces import SIDE_PX, aligned_face

Frames = NDArray[np.uint8]
Points = NDArray[np.float64]


class ArcFace:
    """The network of a file: aligned faces -> vectors.

    Raises:
        WeightsUnavailable: onnxruntime is not installed, or the file holds another network.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise WeightsUnavailable(
                "csim needs the package onnxruntime: pip install 'animate-anyone-toolkit[csim]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # videos are spread over processes already
        wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        providers = [p for p in wanted if p in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=[*providers, "CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own have no common base
            raise WeightsUnavailable(
                f"{path}: not a network that onnxruntime reads: {error}"
            ) from error
        (given,) = self._session.get_inputs()
        self._input = given.name
        if list(given.shape[1:]) != [3, SIDE_PX, SIDE_PX]:
            raise WeightsUnavailable(
                f"{path}: takes {given.shape}, expected [N, 3, {SIDE_PX}, {SIDE_PX}]"
            )

    def vectors(self, faces: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Unit vectors [N, d] of faces [112, 112, 3] RGB in [0, 255]."""
        batch = (np.stack(faces).transpose(0, 3, 1, 2) - 127.5) / 127.5
        (found,) = self._session.run(None, {self._input: batch.astype(np.float32)})
        vectors = np.asarray(found, dtype=np.float64)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def similarities(
        self, prediction: Frames, reference: Frames, ours_px: Points, theirs_px: Points
    ) -> NDArray[np.float64]:
        """CSIM: cosine of the two sides' faces, per frame: [T], -1 to 1; NaN where one has none.

        Args:
            prediction, reference: uint8 [T, H, W, 3].
            ours_px, theirs_px: [T, 5, 2], see `aa_eval.metrics.faces.face_points`.
        """
        values = np.full(len(prediction), np.nan)
        sides = zip(prediction, reference, ours_px, theirs_px, strict=True)
        for t, (ours, theirs, our_px, their_px) in enumerate(sides):
            if np.isfinite([our_px, their_px]).all():
                faces = [aligned_face(ours, our_px), aligned_face(theirs, their_px)]
                a, b = self.vectors(faces)
                values[t] = a @ b
        return values
