"""Filters by models of the user's choice, on small ONNX files whose scores can be foretold."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from aa_curation.check import Check
from aa_curation.errors import WeightsError
from aa_curation.filters.frame_model import (
    Aesthetics,
    AiGenerated,
    FrameModel,
    NotSafeForWork,
    TechnicalQuality,
    Watermark,
)
from aa_curation.measure.sampled_frames import SampledFrames
from aa_curation.models.onnx_file import OnnxFile
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import read_sources
from aa_curation.steps.worker import Worker


def _plain(file: OnnxFile, **options: object) -> FrameModel:
    """Of pixels in [0, 1]."""
    model = FrameModel(file, mean=(0, 0, 0), deviation=(1, 1, 1))
    return dataclasses.replace(model, **options)  # type: ignore[arg-type]


def _write_model(folder: Path) -> OnnxFile:
    """Gives the means of red, green and blue of an image of 8 x 16 pixels."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image", "axes"], ["means"], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 16])],
        [helper.make_tensor_value_info("means", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "means.onnx"
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(model)
    return OnnxFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def _frames(*levels: tuple[int, int, int]) -> list[np.ndarray]:
    return [np.full((40, 60, 3), level, np.uint8) for level in levels]


@pytest.mark.parametrize("kind", [Watermark, NotSafeForWork, AiGenerated])
def test_what_is_more_likely_than_not_is_dropped(
    kind: type[Watermark | NotSafeForWork | AiGenerated], tmp_path: Path
) -> None:
    check = kind(_plain(_write_model(tmp_path)))
    dropped = [check(SampledFrames(_frames((level, 0, 0)), tmp_path)).drop for level in (126, 129)]
    assert [drop is not None for drop in dropped] == [False, True]


def test_a_score_is_that_of_the_normalised_frame(tmp_path: Path) -> None:
    file = _write_model(tmp_path)
    sampled = SampledFrames(_frames((255, 51, 0), (0, 102, 255)), tmp_path)
    assert _plain(file).scores(sampled) == pytest.approx([1, 0])
    green = FrameModel(file, mean=(0.5, 0.1, 0), deviation=(1, 0.1, 1), output=1)
    assert green.scores(sampled) == pytest.approx([1, 3])
    odds = _plain(file, output=1, activation="sigmoid")
    assert odds.scores(sampled) == pytest.approx(1 / (1 + np.exp([-0.2, -0.4])))
    powers = np.exp([[1, 0.2, 0], [0, 0.4, 1]])
    share = _plain(file, activation="softmax")
    assert share.scores(sampled) == pytest.approx(powers[:, 0] / powers.sum(1))


def test_unless_told_pixels_are_normalised_as_for_clip() -> None:
    model = FrameModel(OnnxFile("model.onnx", "0" * 64))
    assert list(model.mean) == OPENAI_CLIP_MEAN
    assert list(model.deviation) == OPENAI_CLIP_STD
    assert (model.fit, model.output, model.activation) == ("crop", 0, "none")


def test_a_crop_takes_the_middle_and_a_stretch_all_of_it(tmp_path: Path) -> None:
    file = _write_model(tmp_path)
    frame = np.zeros((100, 100, 3), np.uint8)  # the model takes images twice as wide as high
    frame[25:75] = 255
    sampled = SampledFrames([frame], tmp_path)
    assert _plain(file, fit="crop").scores(sampled) == pytest.approx([1], abs=0.02)
    assert _plain(file, fit="stretch").scores(sampled) == pytest.approx([0.5], abs=0.02)


@pytest.mark.parametrize(
    ("make", "reason", "measured", "low"),
    [
        (Aesthetics, "aesthetics", 0.4, True),
        (TechnicalQuality, "technical_quality", 0.4, True),
        (Watermark, "watermark", 0.4, False),
        (NotSafeForWork, "not_safe_for_work", 1.0, False),
        (AiGenerated, "ai_generated", 0.4, False),
    ],
)
def test_each_filter_has_its_reason_and_direction(
    tmp_path: Path,
    make: Callable[[FrameModel, float], Callable[[SampledFrames], Check]],
    reason: str,
    measured: float,
    low: bool,
) -> None:
    model = _plain(_write_model(tmp_path))
    sampled = SampledFrames(_frames((0, 0, 0), (102, 0, 0), (255, 0, 0)), tmp_path)
    above, below = make(model, measured + 0.01)(sampled), make(model, measured - 0.01)(sampled)
    assert (above.reason, above.measured) == (reason, pytest.approx(measured))
    assert (above.passed, below.passed) == (not low, low)


def test_a_model_that_is_missing_or_altered_is_refused_by_name(tmp_path: Path) -> None:
    file = _write_model(tmp_path)
    frames = _frames((0, 0, 0))
    with pytest.raises(WeightsError, match=r"means\.onnx is unavailable.*--weights DIR"):
        FrameModel(file).scores(SampledFrames(frames))
    other = OnnxFile(file.name, "0" * 64)
    with pytest.raises(WeightsError, match=r"means\.onnx"):
        FrameModel(other).scores(SampledFrames(frames, tmp_path))


@pytest.mark.parametrize(("bound", "status"), [(1.0, "accepted"), (0.0, "rejected")])
def test_a_recipe_decides_by_a_model(
    tmp_path: Path,
    demo_recipe: Recipe,
    write_puppet: Callable[..., dict[str, str]],
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
    bound: float,
    status: str,
) -> None:
    generated = AiGenerated(_plain(_write_model(tmp_path)), bound)
    recipe = dataclasses.replace(demo_recipe, frame_filters=(generated,), weights=tmp_path)
    (source,) = read_sources([write_sources(tmp_path, [write_puppet(tmp_path, 1)])])
    worker = Worker(recipe, tmp_path)
    (planned,) = worker.survey(source).planned
    decision = worker.curate(planned, source)
    assert decision.status == status, decision
    assert 0 < {check.reason: check.measured for check in decision.checks}["ai_generated"] < 1
    assert recipe.sha256 != demo_recipe.sha256
