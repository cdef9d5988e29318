"""Each filter: the reason and the number of what it drops, and that it lets the rest pass."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.check import Check, Drop, at_least, at_most
from aa_curation.filters.blur import Blur
from aa_curation.filters.camera import CameraMotion
from aa_curation.filters.completeness import Completeness
from aa_curation.filters.corrected import Combs, Hdr, Interlaced, PixelAspect
from aa_curation.filters.drawing import Drawing
from aa_curation.filters.exposure import Bright, Dark
from aa_curation.filters.frame_rate import FrameRate
from aa_curation.filters.motion import SubjectMotion
from aa_curation.filters.real_face import HumanEyes, SteadyOrFace
from aa_curation.filters.resolution import Resolution
from aa_curation.filters.single_person import (
    PersonSize,
    RealPerson,
    SinglePerson,
    SomePerson,
    SteadyCount,
)
from aa_curation.filters.static import Frozen, Static
from aa_curation.filters.text import TextOnPerson
from aa_curation.filters.timing import FrameCount, VariableRate
from aa_curation.filters.tracking import FaceSeen, HandsSeen, IdentitySwitches, Jitter, PoseFound
from aa_curation.measure.frame_stats import Picture, PictureMeter
from aa_curation.measure.people import People, people_of_pose
from aa_curation.measure.posed_clip import PosedClip
from aa_datasets.pose import FACE, JOINT_NAMES, LEFT_HAND, NUM_JOINTS, Pose, make_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.foreign import Planes, VideoInfo

VIDEO = VideoInfo("h264", (480, 640), 24000 / 1001, 48, 2.0)
PUPPET = render_puppet(3, 5, num_frames=24)


def _picture(frames: np.ndarray) -> Picture:
    """Of uint8 RGB frames [T, H, W, 3] of even sides, as the decoder would hand them over."""
    meter = PictureMeter()
    for t, frame in enumerate(frames):
        luma, red, blue = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb))
        meter.see(Planes(luma, blue[::2, ::2].copy(), red[::2, ::2].copy()), t / 24)
    return meter.picture()


def _people(**changes: object) -> People:
    n = 10
    people = People(
        count=np.ones(n, np.int64),
        area=np.full(n, 0.1, np.float32),
        second_area=np.zeros(n, np.float32),
        wobble=np.full(n, 0.008, np.float32),
        scores=np.ones((n, NUM_JOINTS), np.float32),
        face=np.zeros(n, np.float32),
        eyes=np.full(n, np.nan, np.float32),
    )
    return dataclasses.replace(people, **changes)  # type: ignore[arg-type]


def _drop(check: Check) -> tuple[str, float]:
    assert check.drop is not None, f"{check} should drop"
    return check.drop.reason, check.drop.measured or 0.0


def _share(of_ten: int, value: float) -> np.ndarray:
    return np.where(np.arange(10) < of_ten, value, 0).astype(np.float32)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_check_drops_exactly_on_the_wrong_side_of_its_bound(value: float, bound: float) -> None:
    low, high = at_least("low", value, bound), at_most("high", value, bound)
    assert (low.drop is None) == (value >= bound)
    assert (high.drop is None) == (value <= bound)
    if low.drop:
        assert low.drop == Drop("low", value, bound)


def test_a_measurement_that_is_no_number_passes_no_check() -> None:
    assert at_least("x", float("nan"), 0).drop is not None
    assert at_most("x", float("nan"), 0).drop is not None


def test_resolution_measures_the_short_side() -> None:
    assert Resolution(480)(VIDEO).drop is None
    assert _drop(Resolution(481)(VIDEO)) == ("low_resolution", 480)


def test_ntsc_rates_count_as_the_whole_number_that_they_stand_for() -> None:
    assert FrameRate(24)(VIDEO).drop is None
    assert _drop(FrameRate(25)(VIDEO))[0] == "low_frame_rate"


def test_footage_that_is_corrected_is_accepted_unless_the_recipe_wants_none_of_it() -> None:
    odd = dataclasses.replace(
        VIDEO, is_hdr=True, is_interlaced=True, sample_aspect_ratio=9 / 16, size_hw=(480, 360)
    )
    for measure, reason, measured, strict in (
        (Hdr, "hdr", 1, 0),
        (Interlaced, "interlaced", 1, 0),
        (PixelAspect, "pixel_aspect", 16 / 9, 1),
    ):
        assert measure()(odd).drop is None
        assert _drop(measure(strict)(odd)) == (reason, measured)
        assert measure(strict)(VIDEO).drop is None


def test_a_frozen_video_is_static_and_a_puppet_is_not() -> None:
    assert Static()(_picture(PUPPET.frames)).drop is None
    frozen = np.repeat(PUPPET.frames[:1], 24, 0)
    assert _drop(Static()(_picture(frozen))) == ("static", 1.0)
    slideshow = np.repeat(PUPPET.frames[:6], 4, 0)  # three of four frames repeat
    assert _drop(Static()(_picture(slideshow)))[0] == "static"


def test_blur_drops_what_a_wide_gaussian_has_smoothed() -> None:
    import cv2

    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 6) for frame in PUPPET.frames])
    assert Blur(20)(_picture(PUPPET.frames)).drop is None
    assert _drop(Blur(20)(_picture(blurred)))[0] == "blurred"


def test_exposure_drops_night_and_glare() -> None:
    dark, bright = PUPPET.frames // 40, 253 + PUPPET.frames // 100
    assert _drop(Dark()(_picture(dark)))[0] == "too_dark"
    assert _drop(Bright()(_picture(bright)))[0] == "too_bright"
    assert Dark()(_picture(PUPPET.frames)).drop is None
    assert Bright()(_picture(PUPPET.frames)).drop is None


@pytest.mark.parametrize("level", [90, 255])
@pytest.mark.parametrize("count", [80, 600])
def test_the_measure_of_drawings_counts_no_black(level: int, count: int) -> None:
    """A dot's Laplacian is -4 times its level and four times 1: 20 squares over the one level."""
    frame = np.zeros((200, 300), np.uint8)
    frame[10:190:6, 10:290:9][np.unravel_index(np.arange(count), (30, 32))] = level
    check = Drawing()(_picture(np.repeat(frame[None, :, :, None], 3, 3)))
    brightness = max(1.0, count * level / frame.size)
    assert check.measured == pytest.approx(
        20 * level**2 * count / frame.size / brightness, rel=0.02
    )


def test_a_flash_does_not_hide_a_drawing() -> None:
    """Brightness is the frames' median: a third of white frames changes nothing."""
    skeletons = draw_pose(PUPPET.pose)
    white = np.full_like(skeletons[: len(skeletons) // 2], 255)
    assert Drawing()(_picture(np.concatenate([skeletons, white]))).drop is not None


def test_skeletons_are_drawings_and_darkness_is_none() -> None:
    skeletons = draw_pose(PUPPET.pose)
    assert _drop(Drawing()(_picture(skeletons)))[0] == "drawing"
    assert _drop(Dark()(_picture(skeletons)))[0] == "too_dark"  # what it would be without
    for level in (1, 10, 40):
        assert Drawing()(_picture(PUPPET.frames // level)).drop is None


def test_nobody_in_three_of_ten_frames_is_no_person() -> None:
    count = np.array([0] * 3 + [1] * 7)
    assert _drop(SomePerson(0.8)(_people(count=count))) == ("no_person", 0.7)
    assert SomePerson(0.7)(_people(count=count)).drop is None


def test_a_second_person_counts_by_size_and_by_share_of_frames() -> None:
    single = SinglePerson(second_area=1 / 3)
    assert single(_people(second_area=_share(10, 0.3))).drop is None  # a bystander, far away
    assert single(_people(second_area=_share(1, 0.9))).drop is None  # a dog, now and then
    assert _drop(single(_people(second_area=_share(2, 0.9)))) == ("several_persons", 0.2)
    assert _drop(single(_people(second_area=_share(5, 0.4)))) == ("several_persons", 0.5)


def test_a_number_of_people_that_changes_is_unsteady() -> None:
    assert SteadyCount()(_people(count=np.full(10, 2))).measured == 0
    entering = np.array([1] * 7 + [2] * 3)
    assert _drop(SteadyCount()(_people(count=entering))) == ("unsteady_count", pytest.approx(0.3))


def test_small_and_unsteady_people_are_dropped() -> None:
    small = np.full(10, 0.01, np.float32)
    assert _drop(PersonSize(0.02)(_people(area=small)))[0] == "small_person"
    assert PersonSize(0.02)(_people()).drop is None
    assert RealPerson()(_people()).drop is None
    wobbling = np.full(10, 0.07, np.float32)
    assert _drop(RealPerson()(_people(wobble=wobbling)))[0] == "not_a_person"
    nothing = np.full(10, np.nan, np.float32)
    assert _drop(RealPerson()(_people(wobble=nothing)))[0] == "not_a_person"


def test_a_face_stands_in_for_steady_joints_in_the_frames_that_show_it() -> None:
    wobbling = np.full(10, 0.07, np.float32)
    seen_in_6, seen_in_4 = (_people(wobble=wobbling, face=_share(n, 1)) for n in (6, 4))
    assert SteadyOrFace()(seen_in_6).drop is None
    assert _drop(RealPerson()(seen_in_6))[0] == "not_a_person"
    assert _drop(SteadyOrFace()(seen_in_4))[0] == "not_a_person"
    nothing = np.full(10, np.nan, np.float32)
    assert SteadyOrFace()(_people(wobble=nothing, face=_share(4, 1))).drop is None
    assert _drop(SteadyOrFace()(_people(wobble=nothing)))[0] == "not_a_person"


@given(st.lists(st.floats(0, 1, width=32), min_size=10, max_size=10))
def test_without_a_sure_face_a_person_is_as_real_as_by_joints_alone(wobble: list[float]) -> None:
    people = _people(wobble=np.array(wobble, np.float32), face=np.full(10, 0.49, np.float32))
    assert SteadyOrFace()(people) == RealPerson()(people)


def test_eyes_count_only_where_a_face_is_sure() -> None:
    eyes = np.where(np.arange(10) < 4, 0.22, 0.17).astype(np.float32)
    everywhere = np.ones(10, np.float32)
    assert HumanEyes()(_people(eyes=eyes, face=everywhere)).drop is None
    reason, width = _drop(HumanEyes()(_people(eyes=eyes, face=_share(4, 1))))
    assert (reason, width) == ("animation", pytest.approx(0.22))
    assert HumanEyes()(_people(eyes=eyes)).measured == 0  # nobody's face: nobody's eyes
    assert HumanEyes()(_people(face=everywhere)).measured == 0  # an estimator without faces


def test_completeness_asks_for_legs_only_when_full() -> None:
    scores = np.ones((10, NUM_JOINTS), np.float32)
    for name in ("left_knee", "right_knee", "left_ankle", "right_ankle", "left_hip", "right_hip"):
        scores[:, JOINT_NAMES.index(name)] = 0
    people = _people(scores=scores)
    assert Completeness("upper")(people).drop is None
    reason, share = _drop(Completeness("full")(people))
    assert reason == "incomplete_body"
    assert share == pytest.approx(5 / 11)
    for name in ("left_elbow", "right_elbow"):
        scores[:, JOINT_NAMES.index(name)] = 0
    assert Completeness("head")(_people(scores=scores)).drop is None
    assert _drop(Completeness("upper")(_people(scores=scores))) == ("incomplete_body", 0.6)


def test_a_joint_is_seen_from_the_bound_on() -> None:
    bound = np.float32(0.5)
    for score, seen in ((bound, 1.0), (np.nextafter(bound, np.float32(0)), 0.0)):
        people = _people(scores=np.full((10, NUM_JOINTS), score, np.float32))
        assert Completeness("full", score_at_least=0.5)(people).measured == seen


def test_the_exact_pose_of_a_puppet_passes_every_person_filter() -> None:
    people = people_of_pose(PUPPET.pose, 10)
    for check in (SomePerson(), SinglePerson(), PersonSize(0.02), RealPerson()):
        assert check(people).drop is None, check
    assert Completeness("full")(people).drop is None


def _shaken(pose: Pose, sigma_px: float) -> Pose:
    noise = np.random.default_rng(0).normal(0, sigma_px, pose.keypoints_px.shape)
    return make_pose(pose.keypoints_px + noise, pose.scores, pose.size_hw)


def test_lost_and_jumping_poses_are_dropped() -> None:
    scores = PUPPET.pose.scores.copy()
    scores[:4] = 0
    lost = make_pose(PUPPET.pose.keypoints_px, scores, PUPPET.pose.size_hw)
    assert _drop(PoseFound(0.95)(lost)) == ("pose_lost", pytest.approx(20 / 24))
    assert PoseFound(0.95)(PUPPET.pose).drop is None
    assert Jitter()(PUPPET.pose).drop is None
    assert _drop(Jitter()(_shaken(PUPPET.pose, 10)))[0] == "jittery_pose"
    assert Jitter()(lost).drop is None  # absent frames are no jumps


def test_jitter_is_the_median_jump_in_extents_of_the_body() -> None:
    """Every joint zigzags by 4 px: its second difference is 8 px, along x alone."""
    points = np.full((9, NUM_JOINTS, 2), np.nan)
    points[:, :18, 0] = np.linspace(0, 30, 18) + 2 * (-1.0) ** np.arange(9)[:, None]
    points[:, :18, 1] = np.linspace(0, 40, 18)
    pose = make_pose(points, np.isfinite(points[..., 0]).astype(float), (64, 64))
    assert Jitter()(pose).measured == pytest.approx(8 / 50, rel=1e-4)
    assert Jitter(0.17)(pose).drop is None
    assert _drop(Jitter(0.15)(pose))[0] == "jittery_pose"
    for few in (1, 2):  # no second difference
        assert Jitter()(pose.at_frames(np.arange(few))).measured == 0
    seldom = pose.scores.copy()
    seldom[::2] = 0  # never three frames in a row: nothing is known, and the worst is assumed
    assert Jitter()(make_pose(points, seldom, (64, 64))).measured == 1
    assert Jitter()(make_pose(points, 0 * pose.scores, (64, 64))).measured == 1
    tiny = make_pose(points / 100, pose.scores, (64, 64))
    assert Jitter()(tiny).measured == pytest.approx(0.08, rel=1e-3), "an extent is a pixel or more"


def test_a_pose_is_a_neck_and_five_more_joints() -> None:
    def share(*joints: str) -> float:
        scores = np.zeros((1, NUM_JOINTS))
        scores[0, [JOINT_NAMES.index(name) for name in joints]] = 1
        pose = make_pose(np.ones((1, NUM_JOINTS, 2)), scores, (64, 64))
        return PoseFound()(pose).measured

    five = ("nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip")
    assert share("neck", *five) == 1
    assert share("neck", *five[:4]) == 0
    assert share("left_knee", *five) == 0
    assert PoseFound().share_at_least == 0.95


def test_bounds_are_those_of_the_documents_unless_told() -> None:
    nothing = {"hands_unseen": HandsSeen(), "face_unseen": FaceSeen()}
    assert [check.share_at_least for check in nothing.values()] == [0, 0]
    assert (Jitter().jitter_at_most, IdentitySwitches().switches_at_most) == (0.04, 0)
    assert (Static().same_below, Static().share_at_most) == (0.05, 0.5)
    assert (Frozen().same_below, Frozen().seconds_at_most) == (0.05, 1.0)


@pytest.mark.parametrize(("shown", "share"), [(34, 1.0), (33, 0.0)])
def test_a_face_is_half_of_its_points(shown: int, share: float) -> None:
    scores = np.zeros((1, NUM_JOINTS))
    scores[0, np.arange(NUM_JOINTS)[FACE][:shown]] = 1
    pose = make_pose(np.ones((1, NUM_JOINTS, 2)), scores, (64, 64))
    assert FaceSeen()(pose).measured == share


@given(st.integers(2, 40), st.integers(0, 20), st.sampled_from([1.0, 0.001]), st.booleans())
def test_frames_and_their_steps_are_counted_as_decoded(
    num_frames: int, late: int, rounded_s: float, gap: bool
) -> None:
    """Times of 30 fps, rounded as Matroska does; one frame may be shown for as long as two."""
    late = min(late, num_frames - 2)
    times_s = np.arange(num_frames) / 30
    times_s[late + 1 :] += gap / 30
    if rounded_s < 1:
        times_s = np.round(times_s / rounded_s) * rounded_s
    ones, nothing = np.ones(num_frames, np.float32), np.zeros((1, 1), np.float32)
    picture = Picture(times_s, ones, ones, ones, ones, ones, nothing)
    assert FrameCount(24)(picture).measured == num_frames
    assert (FrameCount(24)(picture).drop is None) == (num_frames >= 24)
    uneven = VariableRate()(picture)
    assert uneven.drop is None
    if num_frames > 3:  # of two steps, either may be the usual one
        assert uneven.measured == pytest.approx(gap / (num_frames - 1))


def test_a_picture_without_steps_is_of_no_varying_rate() -> None:
    assert VariableRate(0.0)(_picture(PUPPET.frames[:1])).drop is None
    assert VariableRate(0.0)(_picture(PUPPET.frames)).drop is None
    assert FrameCount(24)(_picture(PUPPET.frames)).drop is None
    assert _drop(FrameCount(24)(_picture(PUPPET.frames[:23]))) == ("few_frames", 23)


@pytest.mark.parametrize(
    ("body", "joints"),
    [
        ("head", "nose right_shoulder left_shoulder"),
        ("upper", "nose right_shoulder left_shoulder right_elbow left_elbow"),
        (
            "full",
            "nose right_shoulder left_shoulder right_elbow left_elbow right_hip left_hip "
            "right_knee left_knee right_ankle left_ankle",
        ),
    ],
)
def test_each_joint_of_a_body_counts_once_and_no_other_does(body: str, joints: str) -> None:
    people = people_of_pose(PUPPET.pose, 10)
    for number, name in enumerate(JOINT_NAMES):
        scores = np.ones_like(people.scores)
        scores[:, number] = 0
        check = Completeness(body)(dataclasses.replace(people, scores=scores))  # type: ignore[arg-type]
        missing = 1 / len(joints.split()) if name in joints.split() else 0
        assert check.measured == pytest.approx(1 - missing), name


@pytest.mark.parametrize(("joints", "switches"), [(3, 0), (4, 2)])
def test_a_jump_of_fewer_than_four_joints_is_no_other_person(joints: int, switches: int) -> None:
    points, scores = PUPPET.pose.keypoints_px.copy(), PUPPET.pose.scores.copy()
    points[12] += 1000
    scores[12, joints:] = 0
    jumped = make_pose(points, scores, PUPPET.pose.size_hw)
    assert IdentitySwitches()(jumped).measured == switches


def test_hands_faces_and_switches_are_counted() -> None:
    pose = PUPPET.pose
    both = HandsSeen()(pose).measured
    scores = pose.scores.copy()
    scores[:, LEFT_HAND] = 0
    one = HandsSeen()(make_pose(pose.keypoints_px, scores, pose.size_hw))
    assert both == 1
    assert one.measured == 0.5
    none = HandsSeen()(make_pose(pose.keypoints_px, np.zeros_like(scores), pose.size_hw))
    assert (none.measured, none.drop) == (0, None)
    face = FaceSeen()(pose)  # puppets have none
    assert (face.measured, face.drop) == (0, None)
    points, scores = pose.keypoints_px.copy(), pose.scores.copy()
    points[6:, FACE], scores[6:, FACE] = 9, 1
    assert FaceSeen()(make_pose(points, scores, pose.size_hw)).measured == 18 / 24
    assert IdentitySwitches()(pose).measured == 0
    switched = pose.keypoints_px.copy()
    switched[8:16] += 200  # eight frames of somebody who stands elsewhere
    found = IdentitySwitches()(make_pose(switched, pose.scores, pose.size_hw))
    assert _drop(found) == ("identity_switches", 2)
    assert IdentitySwitches(2)(make_pose(switched, pose.scores, pose.size_hw)).drop is None
    gap = pose.scores.copy()
    gap[6:10] = 0
    assert IdentitySwitches()(make_pose(pose.keypoints_px, gap, pose.size_hw)).measured == 0
    assert IdentitySwitches()(make_pose(switched, gap, pose.size_hw)).measured == 2


def test_a_pose_that_flips_over_in_its_place_is_no_switch() -> None:
    points = PUPPET.pose.keypoints_px.copy()
    middle = points[0, :18].mean(0)
    points[8:16] = 2 * middle - points[8:16]  # head where the feet were
    flipped = make_pose(points, PUPPET.pose.scores, PUPPET.pose.size_hw)
    assert IdentitySwitches()(flipped).measured == 0


@given(st.floats(0.5, 8), st.sampled_from([12.0, 24.0, 30.0]), st.floats(0.5, 4), st.floats(-3, 3))
def test_subject_motion_is_joint_speed_in_body_extents_per_second(
    px_per_frame: float, fps: float, scale: float, drift_px: float
) -> None:
    """A body of 300 x 400 px (500 across), half of whose joints go up and half down at one speed;
    neither the camera's drift nor the size of the picture count."""
    num_frames = 40
    rest = np.zeros((NUM_JOINTS, 2))
    rest[:18] = np.stack([np.linspace(0, 300, 18), np.linspace(0, 400, 18)], 1)
    swing = np.zeros((NUM_JOINTS, 1))
    swing[:18:2], swing[1:18:2] = 1, -1
    t = np.arange(num_frames)[:, None, None]
    along = np.array([400.0, -300.0]) / 500  # across the body, which does not make it longer soon
    points = rest + swing * along * px_per_frame * 0.01 * t + drift_px * t
    pose = make_pose(scale * (points + 200), np.ones((num_frames, NUM_JOINTS)), (4000, 4000))
    clip = PosedClip(pose, fps)
    measured = SubjectMotion()(clip).measured
    assert measured == pytest.approx(0.01 * px_per_frame * fps / 500, rel=0.02)
    assert SubjectMotion(measured * 0.99)(clip).drop is None
    assert _drop(SubjectMotion(measured * 1.01)(clip))[0] == "subject_motion"


def test_who_is_not_seen_does_not_move() -> None:
    pose = make_pose(PUPPET.pose.keypoints_px, 0 * PUPPET.pose.scores, PUPPET.pose.size_hw)
    clip = PosedClip(pose, 24)
    assert SubjectMotion()(clip).measured == 0
    assert TextOnPerson(0.1)(clip).measured == 0


def test_text_on_the_person_is_the_share_of_the_body_that_it_covers() -> None:
    points = np.zeros((5, NUM_JOINTS, 2))
    points[:, :18, 0], points[:, :18, 1] = np.linspace(140, 160, 18), np.linspace(20, 80, 18)
    pose = make_pose(points, np.ones((5, NUM_JOINTS)), (100, 200))

    def share(*boxes: tuple[int, int, int, int]) -> Check:
        return TextOnPerson(0.1)(PosedClip(pose, 24, boxes))

    assert share().measured == 0
    assert share((0, 0, 200, 20), (0, 80, 200, 100)).measured == 0, "above the head, at the feet"
    assert share((0, 30, 200, 60)).measured == pytest.approx(0.5)
    assert share((0, 30, 200, 60), (140, 30, 160, 60)).measured == pytest.approx(0.5), "once"
    assert _drop(share((150, 20, 200, 80))) == ("text_on_person", pytest.approx(0.5))
    assert share((150, 20, 152, 80)).drop is None


def _timed(times_s: np.ndarray, change: np.ndarray) -> Picture:
    ones, nothing = np.ones(len(times_s), np.float32), np.zeros((1, 1), np.float32)
    return Picture(times_s, change.astype(np.float32), ones, ones, ones, ones, nothing)


@given(st.integers(10, 60), st.integers(0, 8), st.sampled_from([24.0, 25.0, 30.0]))
def test_a_hole_in_time_counts_as_the_frames_that_fill_it(
    num_frames: int, hole: int, fps: float
) -> None:
    """A video with a hole, and the same video stored with one picture repeated, measure alike."""
    times_s, at = np.arange(num_frames) / fps, num_frames // 2
    with_hole = times_s + (np.arange(num_frames) >= at) * hole / fps
    stored = np.arange(num_frames + hole) / fps
    change = np.where(
        (np.arange(num_frames + hole) >= at) & (np.arange(num_frames + hole) < at + hole), 0, 9
    )
    a, b = _timed(with_hole, np.full(num_frames, 9.0)), _timed(stored, change)
    assert Static()(a).measured == pytest.approx(Static()(b).measured, abs=1e-6)
    assert Frozen()(a).measured == pytest.approx(Frozen()(b).measured, abs=1e-6)
    assert Frozen()(b).measured == pytest.approx((1 + hole) / fps, abs=1e-6)


def test_frames_of_two_times_are_dropped_by_their_share() -> None:
    ones = np.ones(10, np.float32)
    timed = _timed(np.arange(10) / 25, ones)
    picture = dataclasses.replace(timed, combed=(np.arange(10) < 3).astype(np.float32))
    assert _drop(Combs()(picture)) == ("combed", pytest.approx(0.3))
    assert Combs()(picture.between(0.08, 1)).measured == pytest.approx(1 / 8)


def test_a_picture_that_stays_for_more_than_a_second_is_frozen() -> None:
    frames = np.concatenate([PUPPET.frames[:12], np.repeat(PUPPET.frames[11:12], 30, 0)])
    assert _drop(Frozen()(_picture(frames))) == ("frozen", pytest.approx(31 / 24))
    assert Frozen()(_picture(frames[:30])).drop is None
    assert Static()(_picture(frames[:23])).drop is None
    none = dataclasses.replace(_picture(frames[:1]), times_s=np.zeros(0), change=np.zeros(0))
    assert Frozen()(none).measured == 0
    assert _drop(Static()(_picture(frames[:1]))) == ("static", 1), "a photo"


@pytest.mark.parametrize("pixels_per_frame", [0.0, 1.5, 4.0])
@pytest.mark.parametrize("sky", ["flat", "white noise"])
def test_a_camera_that_moves_before_sky_and_blur_is_measured(
    pixels_per_frame: float, sky: str
) -> None:
    """Half of the picture never changes much, as sky and snow do not; the rest is out of focus."""
    rng = np.random.default_rng(1)
    landscape = cv2.GaussianBlur(rng.integers(0, 255, (256, 600, 3), np.uint8), (0, 0), 4)
    landscape = cv2.normalize(landscape, None, 0, 255, cv2.NORM_MINMAX)
    frames = []
    for t in range(24):
        shift = np.float32([[1, 0, -pixels_per_frame * t], [0, 1, 0]])
        frame = cv2.warpAffine(landscape, shift, (256, 256))
        frame[:140] = 200 + (rng.integers(0, 2, (140, 256, 1)) if sky == "white noise" else 0)
        frames.append(frame)
    check = CameraMotion(sides_per_s_at_most=0.02)(_picture(np.stack(frames)))
    assert check.measured == pytest.approx(24 * pixels_per_frame / 256, rel=0.15, abs=0.005)


@pytest.mark.parametrize("pixels_per_frame", [0.0, 1.5, 4.0])
def test_camera_motion_is_the_speed_of_the_background(pixels_per_frame: float) -> None:
    """A window that slides over a landscape, with a puppet's own motion pasted into its middle."""
    rng = np.random.default_rng(0)
    landscape = cv2.GaussianBlur(rng.integers(0, 255, (256, 600, 3), np.uint8), (0, 0), 2)
    landscape = cv2.normalize(landscape, None, 0, 255, cv2.NORM_MINMAX)
    frames = []
    for t in range(24):
        shift = np.float32([[1, 0, -pixels_per_frame * t], [0, 1, 0]])
        frame = cv2.warpAffine(landscape, shift, (256, 256))
        frame[96:160, 96:160] = PUPPET.frames[t, 96:160, 96:160]
        frames.append(frame)
    check = CameraMotion(sides_per_s_at_most=0.02)(_picture(np.stack(frames)))
    assert check.measured == pytest.approx(24 * pixels_per_frame / 256, rel=0.15, abs=0.005)
    assert check.passed == (pixels_per_frame == 0)


def test_a_subject_that_moves_before_a_still_camera_is_no_camera_motion() -> None:
    rng = np.random.default_rng(2)
    still = cv2.GaussianBlur(rng.integers(0, 255, (256, 256, 3), np.uint8), (0, 0), 2)
    crowd = cv2.GaussianBlur(rng.integers(0, 255, (256, 600, 3), np.uint8), (0, 0), 2)
    frames = np.repeat(still[None], 24, 0)
    for t, frame in enumerate(frames):  # from the left edge over more than half of the picture
        frame[40:, :150] = crowd[40:, 5 * t : 5 * t + 150]
    check = CameraMotion(sides_per_s_at_most=0.02)(_picture(frames))
    assert check.passed, check
    check = CameraMotion(sides_per_s_at_most=0.02)(_picture(PUPPET.frames))
    assert check.passed, check
