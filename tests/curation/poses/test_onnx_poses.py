"""YOLOX and DWPose: what lies around the networks, on small ONNX files of their true interfaces."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_curation.errors import PackageError, WeightsError
from aa_curation.measure.frames import iter_frames_at
from aa_curation.models.onnx_file import Device, OnnxFile, OnnxModel, running_on
from aa_curation.poses.blazepose import BlazePose
from aa_curation.poses.dwpose import DWPose, DWPoseFiles
from aa_curation.poses.mediapipe_networks import BodyLandmarks
from aa_curation.poses.region import Region
from aa_curation.poses.yolox import Box, Yolox
from aa_curation.poses.yolox_blazepose import YoloxBlazePose, YoloxThenBlazePose
from aa_curation.recipe import load_recipe
from aa_datasets.pose import BODY, FACE, JOINT_NAMES, LEFT_HAND, RIGHT_HAND, Pose

ROOT = Path(__file__).parents[3]
YOLOX_NANO = ROOT / "../shared/assets/yolox_nano.onnx"


def _load_onnx_files() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "onnx_files", Path(__file__).parents[1].joinpath("onnx_files.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILES = _load_onnx_files()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OnnxFile, OnnxFile]:
    """A folder, its detector and its pose model."""
    folder = tmp_path_factory.mktemp("weights")
    yolox = FILES.write_yolox(folder / "yolox.onnx")
    return folder, yolox, FILES.write_dwpose(folder / "dwpose.onnx")


@pytest.fixture(scope="module")
def dwpose(weights: tuple[Path, OnnxFile, OnnxFile]) -> DWPose:
    folder, yolox, pose = weights
    return DWPoseFiles(yolox, pose, score_at_least=0.6)(folder)


def _paint(frame: np.ndarray, x: int, y: int, reach: int, channel: int, level: int = 255) -> None:
    frame[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach, channel] = level


def test_boxes_are_undone_from_letterbox_and_grid_and_the_largest_comes_first(
    weights: tuple[Path, OnnxFile, OnnxFile],
) -> None:
    folder, yolox, _ = weights
    find = Yolox(yolox.read(folder), yolox.name, score_at_least=0.6)
    frame = np.zeros((120, 192, 3), np.uint8)  # the detector's 96x96 shows it at half the size
    assert find(frame) == []
    _paint(frame, 112, 48, 16, channel=2)
    _paint(frame, 16, 80, 16, channel=2, level=200)
    _paint(frame, 170, 100, 16, channel=0)  # red: nobody
    first, second = find(frame)
    # 96x80 pixels around a cell's middle; the nearer strides' findings are the same person.
    assert (first.x0, first.y0, first.x1, first.y1) == pytest.approx((64, 8, 160, 88), abs=1e-3)
    assert (second.x0, second.y0, second.x1, second.y1) == pytest.approx((0, 40, 64, 120), abs=1e-3)
    assert first.score == pytest.approx(1, abs=1e-5)
    assert second.score == pytest.approx(200 / 255, abs=1e-5)
    assert [b.score for b in Yolox(yolox.read(folder), "", 0.9)(frame)] == [first.score]


def test_a_model_that_is_missing_altered_or_another_is_refused_by_name(
    weights: tuple[Path, OnnxFile, OnnxFile], tmp_path: Path
) -> None:
    folder, yolox, pose = weights
    for name, file in (("yolox", "yolox_nano.onnx"), ("dwpose", "yolox_l.onnx")):
        with pytest.raises(WeightsError, match=rf"{file} is unavailable.*--weights DIR"):
            load_recipe(Path(name)).make_estimator()
    with pytest.raises(WeightsError, match="No such file"):
        yolox.read(tmp_path)
    (tmp_path / yolox.name).write_bytes((folder / yolox.name).read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="expected"):
        yolox.read(tmp_path)
    with pytest.raises(WeightsError, match=r"cannot load b\.onnx"):
        Yolox(b"<!doctype html>", "b.onnx", 0.5)
    with pytest.raises(WeightsError, match="2 outputs, expected one image"):
        Yolox(pose.read(folder), pose.name, 0.5)
    body = FILES.write_dwpose(tmp_path / "body.onnx", joints=17)
    (tmp_path / yolox.name).write_bytes((folder / yolox.name).read_bytes())
    frame = np.zeros((96, 96, 3), np.uint8)
    with pytest.raises(WeightsError, match="SimCC model of 133 joints"):
        DWPoseFiles(yolox, body)(tmp_path).joints(frame, Box(0, 0, 96, 96, 1))


@settings(max_examples=40)
@given(
    box=st.tuples(*[st.integers(0, 150)] * 2, *[st.integers(40, 160)] * 2),
    share=st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)),
)
def test_a_joint_is_found_wherever_it_lies_in_whatever_box(
    dwpose: DWPose, box: tuple[int, int, int, int], share: tuple[float, float]
) -> None:
    x0, y0, width, height = box
    x, y = round(x0 + share[0] * width), round(y0 + share[1] * height)
    frame = np.zeros((320, 320, 3), np.uint8)
    # Sampled by bilinear weights at the crop's scale: the dot must be as wide as one of its pixels.
    crop_px = 1.25 * max(width / 48, height / 64)
    for channel in range(3):
        _paint(frame, x, y, max(1, round(crop_px)), channel)
    points, scores = dwpose.joints(frame, Box(x0, y0, x0 + width, y0 + height, 1))
    seen = scores > 0
    for part in (BODY, FACE, LEFT_HAND):
        assert seen[part].all()
    assert not seen[RIGHT_HAND].any()
    assert np.isnan(points[RIGHT_HAND]).all()
    assert np.abs(points[seen] - (x, y)).max() <= 2.5 * crop_px + 1


def test_the_parts_of_133_joints_go_to_their_places_and_the_tracker_follows(
    dwpose: DWPose,
) -> None:
    """A red head and green feet; the detector sees blue only in the first frame."""
    tracker = dwpose.track()
    for t in range(8):
        frame = np.zeros((240, 240, 3), np.uint8)
        if t == 0:
            _paint(frame, 120, 110, 25, channel=2)
        if t < 6:
            _paint(frame, 110 + 6 * t, 60 + 2 * t, 5, channel=0)
            _paint(frame, 120 + 6 * t, 150 + 2 * t, 5, channel=1)
        tracker.see(frame)
    pose = tracker.pose()
    assert pose.size_hw == (240, 240)
    x, y = pose.keypoints_px[:6, :, 0], pose.keypoints_px[:6, :, 1]
    steps = np.arange(6)
    for name in ("nose", "neck", "left_wrist"):
        joint = JOINT_NAMES.index(name)
        assert np.abs(x[:, joint] - 110 - 6 * steps).max() <= 8, name
        assert np.abs(y[:, joint] - 60 - 2 * steps).max() <= 8, name
    for name in ("right_hip", "left_ankle"):
        joint = JOINT_NAMES.index(name)
        assert np.abs(y[:, joint] - 150 - 2 * steps).max() <= 8, name
    assert (pose.scores[:6, BODY] > 0.85).all()
    assert not pose.scores[6:].any()  # nothing is there any more


def test_only_whom_the_detector_finds_has_joints(dwpose: DWPose) -> None:
    frame = np.zeros((240, 240, 3), np.uint8)
    assert dwpose.people(frame) == []
    _paint(frame, 120, 110, 25, channel=2)
    _paint(frame, 110, 60, 5, channel=0)
    _paint(frame, 120, 150, 5, channel=1)
    (person,) = dwpose.people(frame)
    assert person.area == pytest.approx(0.5 * (48 * 2.5) * (40 * 2.5) / 240**2)
    assert (person.scores[BODY] > 0.85).all()
    assert 0 <= person.wobble < 0.05  # dots stay where they are, to a pixel of the crop


@pytest.mark.weights
def test_a_person_in_a_box_has_the_joints_that_blazepose_finds_alone(
    tmp_path: Path, package_clip: Callable[..., Path]
) -> None:
    (frame,) = iter_frames_at(
        package_clip("SinglePerson", 1), np.array([0.5]), 60, crop_px=None, max_side_px=1920
    )
    yolox = FILES.write_yolox(tmp_path / "yolox.onnx")
    alone = BlazePose()
    truth = alone.main_body(frame, None)
    assert truth is not None
    (x0, y0), (x1, y1) = truth.points.min(0), truth.points.max(0)
    box = Box(float(x0), float(y0), float(x1), float(y1), 0.9)
    found = YoloxBlazePose(_Fixed(Yolox(yolox.read(tmp_path), "", 0.5), [box]), alone)
    body = found.main_body(frame, None)
    assert body is not None
    way = np.hypot(*(body.points - truth.points).T)
    assert np.median(way) < 0.01 * (y1 - y0)
    (person,) = found.people(frame)
    assert person.wobble < 0.03
    assert person.area == pytest.approx(0.5 * box.area_px / (1920 * 1080))


def test_a_head_is_the_body_of_its_box_though_its_hips_are_put_below_the_frame(
    tmp_path: Path,
) -> None:
    def body(seen_xy: tuple[float, float], unseen_xy: tuple[float, float]) -> BodyLandmarks:
        seen = np.arange(33) < 13  # head and shoulders
        points = np.where(seen[:, None], seen_xy, unseen_xy).astype(np.float32)
        visibility = np.where(seen, 0.98, 0.02).astype(np.float32)
        region = Region(50, 50, 100)
        return BodyLandmarks(
            points, visibility, visibility, 1.0, region, region, np.zeros((256, 256), np.float32)
        )

    head, neighbour = body((50, 60), (50, 300)), body((150, 60), (50, 50))
    alone = BlazePose()
    alone.bodies_in = lambda frame, region: [neighbour, head]  # type: ignore[method-assign]
    yolox = Yolox(FILES.write_yolox(tmp_path / "yolox.onnx").read(tmp_path), "", 0.5)
    found = YoloxBlazePose(_Fixed(yolox, [Box(0, 0, 100, 100, 0.9)]), alone)
    assert found.main_body(np.zeros((100, 200, 3), np.uint8), None) is head


class _Fixed(Yolox):
    """Finds the same boxes in every frame."""

    def __init__(self, of: Yolox, boxes: list[Box]) -> None:
        self.__dict__.update(of.__dict__)
        self._boxes = boxes

    def __call__(self, frame: np.ndarray) -> list[Box]:
        return self._boxes


@pytest.mark.weights
def test_yolox_nano_sees_one_man_two_people_and_nobody(
    package_clip: Callable[..., Path],
) -> None:
    if not YOLOX_NANO.is_file():
        pytest.skip("skipped: no ../shared/assets/yolox_nano.onnx")
    recipe = load_recipe(ROOT / "curation/recipes/yolox.py")
    assert isinstance(recipe.estimator, YoloxThenBlazePose)
    estimator = recipe.estimator(YOLOX_NANO.parent)
    for scene, count in (("SinglePerson", 1), ("MultiPerson", 2)):
        (frame,) = iter_frames_at(
            package_clip(scene, 1), np.array([0.8]), 60, crop_px=None, max_side_px=960
        )
        people = estimator.people(frame)
        large = [p for p in people if p.area >= people[0].area / 3]
        assert len(large) == count, [p.area for p in people]
        assert people[0].wobble < 0.03
    room = np.tile(np.linspace(60, 200, 640, dtype=np.uint8)[None, :, None], (360, 1, 3))
    assert estimator.people(room) == []


def test_what_a_batch_gives_does_not_depend_on_who_asks_together(tmp_path: Path) -> None:
    file = FILES.write_classifier(tmp_path / "classifier.onnx")
    images = np.random.default_rng(1).random((24, 32, 32, 3), np.float32)
    with running_on(Device(batch=4)):
        model = OnnxModel(file.read(tmp_path), file.name, 1)
    alone = [model(image)[0] for image in images]
    asked = []
    run = model._session.run

    def counted(names: object, feed: dict[str, np.ndarray]) -> object:
        (batch,) = feed.values()
        asked.append(sum(image.any() for image in batch))
        time.sleep(0.01)  # the others ask meanwhile
        return run(names, feed)

    model._session = SimpleNamespace(run=counted)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: model(image)[0], images))
    np.testing.assert_array_equal(together, alone)
    assert sum(asked) == len(images)
    assert max(asked) == 4, "frames were to be gathered"
    one_by_one = OnnxModel(file.read(tmp_path), file.name, 1)
    np.testing.assert_allclose(alone, [one_by_one(image)[0] for image in images], atol=1e-5)


def test_clips_that_are_tracked_at_once_have_the_poses_of_each_alone(
    weights: tuple[Path, OnnxFile, OnnxFile], dwpose: DWPose
) -> None:
    folder, yolox, _ = weights
    pose = FILES.write_dwpose(folder / "batched.onnx", batch="N")
    with running_on(Device(batch=3)):
        batched = DWPoseFiles(yolox, pose, score_at_least=0.6)(folder)

    def poses(estimator: DWPose, clip: int) -> Pose:
        tracker = estimator.track()
        for number in range(6):
            frame = np.zeros((120, 192, 3), np.uint8)
            for channel in range(3):
                _paint(frame, 60 + 20 * clip + 2 * number, 40 + 5 * channel, 12, channel)
            tracker.see(frame)
        return tracker.pose()

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda clip: poses(batched, clip), range(3)))
    for clip, pose_of_clip in enumerate(found):
        alone = poses(dwpose, clip)
        np.testing.assert_array_equal(pose_of_clip.keypoints_px, alone.keypoints_px)
        np.testing.assert_array_equal(pose_of_clip.scores, alone.scores)
        assert alone.scores.any()


def test_a_gpu_that_onnxruntime_cannot_use_is_an_error_that_says_what_to_install() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("skipped: this ONNX Runtime has the CUDA provider")
    with pytest.raises(PackageError, match=r"no CUDAExecutionProvider here.* onnxruntime-gpu"):
        _ = Device(gpu=True).provider
