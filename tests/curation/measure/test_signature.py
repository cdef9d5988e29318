"""What a signature keeps of a frame's colours: shares of red and green, which darkness blurs."""

from __future__ import annotations

import numpy as np
import pytest

from aa_curation.errors import LedgerError
from aa_curation.measure.signature import (
    Signature,
    bits_apart,
    colours_apart,
    limbs_apart,
    look_at_frame,
    make_signature,
    perceptual_hash,
    pose_signature,
    signature_frames,
)
from aa_datasets.pose import JOINT_NAMES, NUM_JOINTS, make_pose


def colours(rgb: tuple[int, int, int]) -> np.ndarray:
    return look_at_frame(np.full((32, 48, 3), rgb, np.uint8)).colours


@pytest.mark.parametrize("rgb", [(200, 40, 20), (0, 255, 0), (3, 0, 0), (90, 90, 90)])
def test_a_colour_is_its_share_of_the_light_with_eight_levels_added(
    rgb: tuple[int, int, int],
) -> None:
    total = sum(rgb) + 24
    expected = [255 * (rgb[0] + 8) / total, 255 * (rgb[1] + 8) / total]
    found = colours(rgb)
    assert found.shape == (4, 4, 2)
    np.testing.assert_allclose(found.reshape(-1, 2), [expected] * 16, rtol=1e-5)


def test_black_and_white_have_no_colour_and_half_the_light_has_almost_the_same() -> None:
    np.testing.assert_allclose(colours((0, 0, 0)), 85)
    np.testing.assert_allclose(colours((255, 255, 255)), 85)
    bright, dim = colours((200, 100, 100)), colours((100, 50, 50))
    assert 0 < np.abs(bright - dim).max() < 5


def test_the_frames_that_are_looked_at_are_the_middles_of_eight_parts() -> None:
    assert signature_frames(160).tolist() == [10, 30, 50, 70, 90, 110, 130, 150]
    assert signature_frames(1).tolist() == [0] * 8


def _pose(num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """All body joints at the neck, (40, 30), but the left wrist, which is 20 px to the left."""
    points = np.full((num_frames, NUM_JOINTS, 2), (40.0, 30.0))
    points[:, JOINT_NAMES.index("left_wrist")] = (20.0, 30.0)
    return points, np.ones((num_frames, NUM_JOINTS))


def test_a_pose_is_kept_from_its_neck_in_hundredths_of_its_extent() -> None:
    points, scores = _pose(16)
    wrist, ankle, ear = (JOINT_NAMES.index(n) for n in ("left_wrist", "left_ankle", "left_ear"))
    points[:, ankle] = (48.0, 25.0)
    scores[:, ear] = 0
    points[:, 60:] = (900.0, 900.0)  # faces and hands are not of the body
    points[3, ankle] = (44.0, 30.0)
    found = pose_signature(make_pose(points, scores, (64, 64)))
    assert found.shape == (8, 18, 2)
    assert found.dtype == np.int8
    assert found[0, wrist].tolist() == [-100, 0]
    assert found[0, ankle].tolist() == [40, -25]
    assert found[1, ankle].tolist() == [20, 0], "of frames 1, 3, 5, ..."
    assert (found[:, ear] == -128).all()
    assert (found[:, JOINT_NAMES.index("neck")] == 0).all()
    nothing = pose_signature(make_pose(points, 0 * scores, (64, 64)))
    assert (nothing == -128).all()


def test_limbs_are_apart_by_the_mean_of_those_that_both_show() -> None:
    points, scores = _pose(8)
    one = pose_signature(make_pose(points, scores, (64, 64)))
    other = one.copy()
    wrist, ankle = (JOINT_NAMES.index(n) for n in ("left_wrist", "right_ankle"))
    other[:, wrist] = one[:, wrist] + (30, 40)
    other[:, JOINT_NAMES.index("nose")] += 99  # heads of any two people agree
    assert limbs_apart(one, other) == pytest.approx(0.5 / 6)
    other[:, ankle] = -128
    assert limbs_apart(one, other) == limbs_apart(other, one) == pytest.approx(0.5 / 5)
    assert np.isnan(limbs_apart(one, np.full_like(one, -128)))
    assert limbs_apart(one, one) == 0


def test_hashes_and_colours_are_apart_by_their_means() -> None:
    hashes = np.zeros(8, np.uint64)
    others = np.zeros((2, 8), np.uint64)
    others[1, 3] = 0b1011
    assert bits_apart(hashes, others).tolist() == [0, 3 / 8]
    colours = np.full((4, 4, 2), 85, np.uint8)
    bright = np.stack([colours, colours])
    bright[1, 0, 0, 1] = 85 + 64
    assert colours_apart(colours, bright).tolist() == [0, 2]


def test_a_hash_has_a_bit_for_each_low_frequency_above_their_median() -> None:
    _, x = np.mgrid[:32, :32]
    wave = 128 + 90 * np.cos(np.pi * (x + 0.5) * 3 / 32)  # the fourth frequency across
    frame = np.repeat(wave.astype(np.uint8)[..., None], 3, axis=-1)
    found = np.unpackbits(np.frombuffer(perceptual_hash(frame).to_bytes(8, "big"), np.uint8))
    assert found[[0, 3]].tolist() == [1, 1]
    assert perceptual_hash(np.repeat(np.repeat(frame, 4, 0), 4, 1)) == perceptual_hash(frame)
    assert perceptual_hash(frame.swapaxes(0, 1)) != perceptual_hash(frame)


def test_a_signature_is_the_mean_colour_of_its_frames() -> None:
    points, scores = _pose(8)
    pose = make_pose(points, scores, (64, 64))
    looks = [look_at_frame(np.full((32, 32, 3), rgb, np.uint8)) for rgb in [(255, 0, 0)] * 3
             + [(0, 0, 255)]]  # fmt: skip
    found = make_signature(looks * 2, pose)
    red = round(255 * (3 * 263 + 8) / 4 / 279)
    assert (found.colours[..., 0] == red).all()
    assert found.hashes.tolist() == [look.hash64 for look in looks * 2]
    again = Signature.from_text(found.to_text())
    assert (again.colours == found.colours).all()
    with pytest.raises(LedgerError, match="has 383 bytes, expected 384: another version made this"):
        Signature.from_text(found.to_text()[2:])
