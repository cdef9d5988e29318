from __future__ import annotations

import numpy as np
import pytest

from aa_datasets.pose import BODY, FACE, JOINT_NAMES, Pose
from aa_datasets.pose_drawing import BODY_LIMBS
from aa_datasets.puppets.identity import make_identity
from aa_datasets.puppets.motion import MOTION_KINDS, make_angles, pose_skeleton
from aa_datasets.puppets.render import Puppet, render_puppet

LEFT_SHOULDER, RIGHT_SHOULDER = (
    JOINT_NAMES.index("left_shoulder"),
    JOINT_NAMES.index("right_shoulder"),
)
LEFT_HIP, RIGHT_HIP = JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")


def _small(identity: int, motion: int, num_frames: int = 6, **options: object) -> Puppet:
    return render_puppet(identity, motion, num_frames=num_frames, size_hw=(128, 128), **options)


def test_seeds_decide_every_pixel() -> None:
    puppet, again = _small(1, 2), _small(1, 2)
    np.testing.assert_array_equal(puppet.frames, again.frames)
    np.testing.assert_array_equal(puppet.pose.keypoints_px, again.pose.keypoints_px)
    assert puppet.frames.shape == (6, 128, 128, 3)
    assert puppet.frames.dtype == np.uint8


def test_identity_and_motion_seeds_are_apart() -> None:
    puppet, other_who, other_motion = _small(1, 2), _small(3, 2), _small(1, 4)
    assert not np.array_equal(puppet.frames, other_who.frames)
    assert not np.array_equal(puppet.frames, other_motion.frames)
    assert not np.array_equal(
        puppet.pose.keypoints_px, other_motion.pose.keypoints_px, equal_nan=True
    )
    # The same background behind the same puppet.
    np.testing.assert_array_equal(puppet.frames[0, 0], other_motion.frames[0, 0])
    assert len({str(make_identity(seed)) for seed in range(50)}) == 50


def test_limbs_are_painted_where_the_keypoints_say() -> None:
    painted = []
    for seed in range(20):
        puppet = _small(seed, seed + 100, 8)
        for frame, points in zip(puppet.frames.astype(int), puppet.pose.keypoints_px, strict=True):
            for a, b in BODY_LIMBS[:13]:
                middle = (points[a] + points[b]) / 2
                if not np.isfinite(middle).all():
                    continue
                x, y = np.round(middle).astype(int)
                background = frame[y, 0] if x > 64 else frame[y, -1]  # rows are of one colour
                painted.append(np.abs(frame[y, x] - background).max() > 3)
    assert len(painted) > 1500
    assert np.mean(painted) > 0.98


@pytest.mark.parametrize("kind", MOTION_KINDS)
def test_left_is_the_pictures_right_when_it_faces_us(kind: str) -> None:
    facing = 0
    for seed in range(8):
        points = _small(0, seed, 24, kind=kind).pose.keypoints_px
        yaw = make_angles(seed, 24, 24.0, kind).yaw
        for t in np.flatnonzero(np.abs(yaw) < 0.3):
            facing += 1
            assert points[t, LEFT_SHOULDER, 0] > points[t, RIGHT_SHOULDER, 0]
            assert points[t, LEFT_HIP, 0] > points[t, RIGHT_HIP, 0]
    assert facing > 0 or kind == "walk"  # who walks is turned sideways


@pytest.mark.parametrize("kind", MOTION_KINDS)
def test_every_motion_moves_and_keeps_bones_rigid(kind: str) -> None:
    puppet = _small(0, 1, 24, kind=kind)
    assert len({frame.tobytes() for frame in puppet.frames}) == 24
    seen = puppet.pose.scores[:, BODY] > 0
    assert seen[:, 1:14].mean() > 0.95
    body = pose_skeleton(make_identity(0), make_angles(1, 24, 24.0, kind)).body
    for a, b in BODY_LIMBS[2:6] + BODY_LIMBS[7:9] + BODY_LIMBS[10:12]:
        lengths = np.linalg.norm(body[:, a] - body[:, b], axis=1)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)


def test_an_unknown_motion_is_named() -> None:
    with pytest.raises(ValueError, match="no motion 'swim': choose one of walk"):
        _small(0, 0, kind="swim")


def test_keypoints_outside_the_picture_are_absent() -> None:
    narrow = [render_puppet(s, s, num_frames=12, size_hw=(128, 40)).pose for s in range(6)]
    points = np.concatenate([pose.keypoints_px[:, :60] for pose in narrow])
    scores = np.concatenate([pose.scores[:, :60] for pose in narrow])
    inside = (points >= 0).all(-1) & (points[..., 0] <= 39) & (points[..., 1] <= 127)
    np.testing.assert_array_equal(scores > 0, inside)
    assert 0.05 < (scores == 0).mean() < 0.9
    assert set(np.unique(scores)) == {0.0, 1.0}
    assert not any(pose.scores[:, FACE].any() for pose in narrow)


def test_size_scales_the_pose() -> None:
    small, large = _small(0, 5).pose, render_puppet(0, 5, num_frames=6, size_hw=(256, 256)).pose
    np.testing.assert_allclose(
        2 * small.keypoints_px, large.keypoints_px, atol=1e-3, equal_nan=True
    )


def _pck_of_first_frame(pose: Pose) -> float:
    """PCK@0.1: 0.1 of the longer side of the true joints' box, over joints of both frames."""
    points = pose.keypoints_px[:, BODY]
    box = np.nanmax(points, 1) - np.nanmin(points, 1)
    distance = np.linalg.norm(points[1:] - points[:1], axis=-1)
    hit = distance <= 0.1 * box[1:].max(-1, keepdims=True)
    return float(hit[np.isfinite(distance)].mean())


def test_repeating_the_first_frame_is_a_poor_prediction() -> None:
    poses = [render_puppet(seed, seed, num_frames=48, size_hw=(64, 64)).pose for seed in range(30)]
    assert np.mean([_pck_of_first_frame(pose) for pose in poses]) < 0.5
