"""BlazePose from the mediapipe wheel: its models, its geometry, and what it sees in real clips."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.errors import WeightsError
from aa_curation.measure.frames import iter_frames_at
from aa_curation.measure.people import look_for_people
from aa_curation.models import tflite_file
from aa_curation.models.tflite_file import MODELS, TFLiteModel, read_model
from aa_curation.poses.blazepose import BlazePose
from aa_curation.poses.mediapipe_networks import ANCHORS, body_landmarks, overlapping_tiles
from aa_curation.poses.region import Region, region_from_axis
from aa_curation.recipe import Recipe
from aa_datasets.pose import BODY, JOINT_NAMES, Pose


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the models, to be spoiled."""
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        (folder / f"{name}.tflite").write_bytes(read_model(name))
    return folder


@pytest.mark.weights
def test_an_altered_model_is_refused_by_name_with_the_remedy(models: Path) -> None:
    BlazePose(models)
    path = models / "hand_landmark_full.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="hand_landmark_full is unavailable") as caught:
        BlazePose(models)
    assert "pip install --no-deps --force-reinstall mediapipe==0.10.21" in str(caught.value)


def test_a_folder_without_the_model_leaves_the_wheels(tmp_path: Path) -> None:
    assert read_model("pose_detection", tmp_path) == read_model("pose_detection")


@given(
    column=st.integers(0, 63),
    row=st.integers(0, 63),
    right=st.integers(-5, 5),
    down=st.integers(-5, 5),
    logit=st.sampled_from([-1.0, 4.0]),
)
def test_a_joint_moves_to_the_warm_pixel_near_it(
    column: int, row: int, right: int, down: int, logit: float
) -> None:
    """One pixel of a heat map of 64 is warm: its joint goes there if it is within 3 pixels."""
    hot = np.array([column + right, row + down])
    raw = np.zeros((39, 5), np.float32)
    raw[:, :2] = (4 * column + 1, 4 * row + 2)
    heat = np.full((64, 64, 39), -80, np.float32)
    if ((hot >= 0) & (hot < 64)).all():
        heat[hot[1], hot[0], 7] = logit

    def network(crop: np.ndarray) -> list[np.ndarray]:
        return [raw.ravel(), np.ones(1, np.float32), heat, np.zeros((256, 256, 1), np.float32)]

    frame = np.zeros((256, 256, 3), np.uint8)
    found = body_landmarks(network, frame, Region(128, 128, 256)).points  # type: ignore[arg-type]
    expected = raw[:33, :2].copy()
    near = max(abs(right), abs(down)) <= 3 and ((hot >= 0) & (hot < 64)).all()
    if near and logit > 0:
        expected[7] = 4 * hot
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_missing_model_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aa_curation.models.tflite_file.MEDIAPIPE_VERSION", "0.0.1")
    with pytest.raises(WeightsError, match=r"pose_detection is unavailable.*0\.0\.1"):
        read_model("pose_detection")


@given(
    st.floats(-50, 300),
    st.floats(-50, 300),
    st.floats(5, 500),
    st.floats(-math.pi, math.pi),
    st.lists(st.floats(0, 256), min_size=2, max_size=2),
)
def test_a_point_of_a_crop_lies_where_the_square_is(
    x: float, y: float, side: float, angle_rad: float, point: list[float]
) -> None:
    region = Region(x, y, side, angle_rad)
    (px, py) = (np.array(point) / 256 - 0.5) * side
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    expected = (x + cos * px - sin * py, y + sin * px + cos * py)
    found = region.to_frame(np.array([point], np.float32), 256)[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_crop_shows_what_to_frame_says() -> None:
    """A dot drawn in the frame is found in a turned crop, and mapped back to where it was."""
    frame = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(frame, (250, 120), 6, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    region = Region(220, 140, 160, 0.7)
    crop = region.crop(frame, 256)[..., 0]
    dot = np.array([(crop.sum(0) @ np.arange(256)), (crop.sum(1) @ np.arange(256))]) / crop.sum()
    found = region.to_frame(dot[None].astype(np.float32), 256)[0]
    np.testing.assert_allclose(found, (250, 120), atol=0.1)


def test_a_region_stands_upright_on_its_axis() -> None:
    region = region_from_axis(np.array([100, 100]), np.array([100, 60]), scale=1.25)
    assert (region.x, region.y, region.side) == (100, 100, 100)
    assert region.angle_rad == pytest.approx(0)
    lying = region_from_axis(np.array([100, 100]), np.array([140, 100]), scale=1)
    assert lying.angle_rad == pytest.approx(math.pi / 2)


def test_anchors_are_those_of_the_network() -> None:
    assert ANCHORS.shape == (2254, 2)  # the detector's output has as many rows
    np.testing.assert_array_equal(ANCHORS[[0, 1, 2, -1]], [[4, 4], [4, 4], [12, 4], [208, 208]])


@pytest.mark.parametrize("size_hw", [(1920, 1080), (720, 1280), (512, 512), (100, 900)])
def test_tiles_cover_the_frame(size_hw: tuple[int, int]) -> None:
    covered = np.zeros(size_hw, bool)
    for tile in overlapping_tiles(size_hw, 0.4):
        x, y, half = tile.x, tile.y, tile.side / 2
        covered[
            max(0, math.floor(y - half)) : math.ceil(y + half),
            max(0, math.floor(x - half)) : math.ceil(x + half),
        ] = True
    assert covered.all()


def _frames(path: Path, times_s: np.ndarray) -> list[np.ndarray]:
    return list(iter_frames_at(path, times_s, 60, crop_px=None, max_side_px=1920))


@pytest.mark.weights
@pytest.mark.parametrize("camera", [1, 3])
def test_bystanders_pass_and_a_second_person_does_not(
    demo_recipe: Recipe, estimator: BlazePose, package_clip: Callable[..., Path], camera: int
) -> None:
    times_s = np.linspace(0.1, 1.5, 5)
    reasons = {}
    for scene in ("SinglePerson", "MultiPerson"):
        people = look_for_people(_frames(package_clip(scene, camera), times_s), estimator)
        drops = [check(people).drop for check in demo_recipe.people_filters]
        reasons[scene] = next((drop.reason for drop in drops if drop), "accepted")
    assert reasons == {"SinglePerson": "accepted", "MultiPerson": "several_persons"}


@pytest.fixture(scope="module")
def tracked(
    estimator: BlazePose, package_clip: Callable[..., Path]
) -> tuple[list[np.ndarray], Pose]:
    frames = _frames(package_clip("SinglePerson", 1), np.arange(12) / 30)
    tracker = estimator.track()
    for frame in frames:
        tracker.see(frame)
    return frames, tracker.pose()


@pytest.mark.weights
def test_the_man_on_the_beam_stands_upright_and_is_followed(
    tracked: tuple[list[np.ndarray], Pose],
) -> None:
    _, pose = tracked
    assert (pose.num_frames, pose.size_hw) == (12, (1920, 1080))
    y = {name: pose.keypoints_px[:, JOINT_NAMES.index(name), 1] for name in JOINT_NAMES[:18]}
    assert np.all(y["nose"] < y["neck"])
    assert np.all(y["neck"] < y["right_hip"])
    assert np.all(y["right_hip"] < y["right_knee"])
    assert np.all(pose.scores[:, BODY].mean(1) > 0.8)
    steps = np.abs(np.diff(pose.keypoints_px[:, BODY], axis=0))
    assert np.nanmedian(steps) < 20  # pixels of 1920, at 30 fps


@pytest.mark.weights
def test_tracking_finds_what_detection_finds_in_each_frame(
    estimator: BlazePose, tracked: tuple[list[np.ndarray], Pose]
) -> None:
    frames, pose = tracked
    for t in (5, 11):
        alone = estimator.track()
        alone.see(frames[t])
        way = np.hypot(*(alone.pose().keypoints_px[0] - pose.keypoints_px[t])[BODY].T)
        assert np.nanmedian(way) < 0.01 * 700  # 1 % of his height of 700 pixels


@pytest.mark.weights
def test_a_mirrored_frame_gives_the_mirrored_pose_with_sides_swapped(
    estimator: BlazePose, tracked: tuple[list[np.ndarray], Pose]
) -> None:
    frames, pose = tracked
    mirrored = estimator.track()
    mirrored.see(np.ascontiguousarray(frames[0][:, ::-1]))
    found = mirrored.pose().keypoints_px[0]
    other = {"left": "right", "right": "left"}
    swap = [
        JOINT_NAMES.index(
            "_".join([other.get(n.split("_")[0], n.split("_")[0]), *n.split("_")[1:]])
        )
        for n in JOINT_NAMES[:18]
    ]
    found = found[swap] * (-1, 1) + (1080 - 1, 0)
    way = np.hypot(*(found - pose.keypoints_px[0, BODY]).T)
    assert np.nanmedian(way) < 0.02 * 700


@pytest.mark.weights
def test_an_empty_room_holds_nobody(estimator: BlazePose) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    room = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
    assert estimator.people(np.asarray(room, np.uint8)) == []
    tracker = estimator.track()
    tracker.see(np.asarray(room, np.uint8))
    assert not tracker.pose().scores.any()


@pytest.mark.weights
def test_loading_a_model_prints_nothing_and_hides_no_warning(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = read_model("hand_recrop")
    TFLiteModel(content, ())
    assert capfd.readouterr().err == ""

    def with_warning(**options: object) -> Interpreter:
        os.write(2, b"INFO: chatter\nWARNING: odd\n")
        return Interpreter(**options)

    monkeypatch.setattr(tflite_file, "Interpreter", with_warning)
    TFLiteModel(content, ())
    assert capfd.readouterr().err == "WARNING: odd\n"
