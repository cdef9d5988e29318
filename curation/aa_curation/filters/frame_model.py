"""Filters by models of your choice, as ONNX files in the folder that `--weights` names.

None of them is in a recipe of ours: their bounds depend on the model. A model takes one image,
float32 [1, 3, H, W], and gives one array per image. Each is loaded once per process.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_curation.check import Check, at_least, at_most
from aa_curation.measure.sampled_frames import SampledFrames
from aa_curation.models.onnx_file import OnnxFile, OnnxModel


@dataclass(frozen=True, slots=True)
class FrameModel:
    """A model that scores single frames.

    Attributes:
        file: its name in the folder of `--weights`, and its sha256.
        mean, deviation: by which pixels in [0, 1] are normalised, per channel; the defaults are
            CLIP's.
        fit: "crop" scales the short side to the model's and takes the middle, "stretch" scales both
            sides.
        output: which number of the model's array is the score.
        activation: what is applied to the array first.
    """

    file: OnnxFile
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    deviation: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    fit: Literal["crop", "stretch"] = "crop"
    output: int = 0
    activation: Literal["none", "sigmoid", "softmax"] = "none"

    def scores(self, sampled: SampledFrames) -> NDArray[np.float32]:
        """The score of each frame, float32 [N].

        Raises:
            WeightsError: the file is missing, altered, or takes something else than one image.
        """
        model = _load(self.file, sampled.weights)
        found = [self._activated(model(self._input(f, model.size_hw))[0]) for f in sampled.frames]
        return np.array([array[self.output] for array in found], np.float32)

    def _input(self, frame: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.float32]:
        height, width = size_hw
        if self.fit == "crop":
            scale = max(height / frame.shape[0], width / frame.shape[1])
            rows, columns = round(height / scale), round(width / scale)
            y0, x0 = (frame.shape[0] - rows) // 2, (frame.shape[1] - columns) // 2
            frame = frame[y0 : y0 + rows, x0 : x0 + columns]
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray((small / np.float32(255) - self.mean) / self.deviation, np.float32)

    def _activated(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        array = array.ravel()
        if self.activation == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-array)), np.float32)
        if self.activation == "softmax":
            powers = np.exp(array - array.max())
            return np.asarray(powers / powers.sum(), np.float32)
        return array


@functools.lru_cache(maxsize=8)
def _load(file: OnnxFile, weights: Path | None) -> OnnxModel:
    return OnnxModel(file.read(weights), file.name, 1)


@dataclass(frozen=True, slots=True)
class Aesthetics:
    """Measured: the median score of an aesthetic predictor, such as LAION's on CLIP (1 to 10)."""

    model: FrameModel
    score_at_least: float

    def __call__(self, sampled: SampledFrames) -> Check:
        score = float(np.median(self.model.scores(sampled)))
        return at_least("aesthetics", score, self.score_at_least)


@dataclass(frozen=True, slots=True)
class TechnicalQuality:
    """Measured: the median score of a model of technical quality (noise, blocking, blur)."""

    model: FrameModel
    score_at_least: float

    def __call__(self, sampled: SampledFrames) -> Check:
        score = float(np.median(self.model.scores(sampled)))
        return at_least("technical_quality", score, self.score_at_least)


@dataclass(frozen=True, slots=True)
class Watermark:
    """Measured: the median probability of a watermark, which stays for the whole clip."""

    model: FrameModel
    probability_at_most: float = 0.5

    def __call__(self, sampled: SampledFrames) -> Check:
        probability = float(np.median(self.model.scores(sampled)))
        return at_most("watermark", probability, self.probability_at_most)


@dataclass(frozen=True, slots=True)
class NotSafeForWork:
    """Measured: the highest probability of nudity or violence: one frame is enough."""

    model: FrameModel
    probability_at_most: float = 0.5

    def __call__(self, sampled: SampledFrames) -> Check:
        probability = float(np.max(self.model.scores(sampled)))
        return at_most("not_safe_for_work", probability, self.probability_at_most)


@dataclass(frozen=True, slots=True)
class AiGenerated:
    """Measured: the median probability that a generator made the frame, by a classifier of your
    choice. Without a model no filter of ours tells generated people from filmed ones."""

    model: FrameModel
    probability_at_most: float = 0.5

    def __call__(self, sampled: SampledFrames) -> Check:
        probability = float(np.median(self.model.scores(sampled)))
        return at_most("ai_generated", probability, self.probability_at_most)
