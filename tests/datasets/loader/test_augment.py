"""Mirroring and disturbing: involutions, invariances, and the same windows as without."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aa_datasets.errors import DatasetError, LatentsError
from aa_datasets.loader.augment import Augmentation, disturb_pose, flip_frames
from aa_datasets.loader.batch import Batch
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.crop_resize import mask_text, resize_frames, resize_pose
from aa_datasets.loader.latents import LatentsKey
from aa_datasets.loader.loader import make_loader
from aa_datasets.pose import BODY, FACE, JOINT_NAMES, MIRRORED_JOINTS, NUM_JOINTS, Pose, make_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import ShardSample, write_shard

SIZE_HW = (32, 24)


@pytest.fixture(scope="module")
def pose() -> Pose:
    return render_puppet(3, 5, num_frames=6, size_hw=(128, 96)).pose


def _same(one: Pose, other: Pose) -> None:
    np.testing.assert_allclose(one.keypoints_px, other.keypoints_px, atol=1e-4)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_mirrored_twice_is_the_same(pose: Pose) -> None:
    _same(pose.mirrored().mirrored(), pose)
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    np.testing.assert_array_equal(flip_frames(flip_frames(frames)), frames)


def test_each_joint_gets_the_other_sides_name() -> None:
    for name, mirrored in zip(JOINT_NAMES[:60], MIRRORED_JOINTS, strict=False):
        other = JOINT_NAMES[mirrored]
        assert {name.replace("left", "x"), name.replace("right", "x")} & {
            other.replace("left", "x"), other.replace("right", "x")
        }  # fmt: skip
        assert ("left" in name) == ("right" in other)
    assert sorted(MIRRORED_JOINTS) == list(range(NUM_JOINTS))


def test_a_symmetric_face_is_its_own_mirror_image() -> None:
    """iBUG's 68 points by their published places: the picture's left first, eyes clockwise."""

    def row(count: int, half: float, y: float) -> list[tuple[float, float]]:
        return [(x, y) for x in np.linspace(-half, half, count)]

    eye = [(-6, 0), (-5, -1), (-3, -1), (-2, 0), (-3, 1), (-5, 1)]  # from the outer corner
    other = [(-x, y) for x, y in (eye[3], eye[2], eye[1], eye[0], eye[5], eye[4])]
    face = [
        *row(17, 9, 5), *row(5, 2, -4)[:0], *[(-7 + i, -4) for i in range(5)],
        *[(3 + i, -4) for i in range(5)], *[(0, i) for i in range(4)], *row(5, 2, 5), *eye, *other,
        *row(7, 4, 7), *row(5, 3, 9)[::-1], *row(5, 3, 7.5), *row(3, 2, 8)[::-1],
    ]  # fmt: skip
    points = np.zeros((1, NUM_JOINTS, 2))
    points[0, FACE] = np.array(face) + 50
    drawn = make_pose(points, np.ones((1, NUM_JOINTS)), (101, 101))
    np.testing.assert_allclose(
        drawn.mirrored().keypoints_px[0, FACE], drawn.keypoints_px[0, FACE], atol=1e-5
    )


@pytest.mark.parametrize("size_hw", [(256, 256), (192, 128)])
def test_mirroring_then_drawing_is_drawing_then_mirroring(size_hw: tuple[int, int]) -> None:
    """Colours tell sides apart, so the drawing that is mirrored is of exchanged names."""
    pose = render_puppet(1, 9, num_frames=8, size_hw=size_hw).pose
    joints = np.array(MIRRORED_JOINTS)
    renamed = Pose(pose.keypoints_px[:, joints], pose.scores[:, joints], pose.size_hw)
    mirrored = draw_pose(pose.mirrored()).astype(int)
    difference = np.abs(mirrored - flip_frames(draw_pose(renamed))).max(-1)
    drawn = (mirrored > 0).any(-1)
    # Rasters differ at edges, by the rounding of half units; a wrong side would fill limbs.
    assert (difference > 96)[drawn].mean() < 0.02
    assert (np.abs(mirrored - flip_frames(draw_pose(pose))).max(-1) > 96)[drawn].mean() > 0.15


def test_mirroring_and_resizing_commute(pose: Pose) -> None:
    _same(resize_pose(pose, (64, 64)).mirrored(), resize_pose(pose.mirrored(), (64, 64)))
    frames = render_puppet(3, 5, num_frames=2, size_hw=(128, 96)).frames
    one = flip_frames(resize_frames(frames, (64, 64))).astype(int)
    assert np.abs(one - resize_frames(flip_frames(frames), (64, 64))).max() <= 1


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), drop=st.floats(0, 1), scale=st.floats(0, 0.5))
def test_disturbed_poses_keep_scores_middle_and_proportions(
    pose: Pose, seed: int, drop: float, scale: float
) -> None:
    change = Augmentation(joint_drop=drop, scale=scale)
    found = disturb_pose(pose, change, np.random.default_rng(seed))
    _same(disturb_pose(pose, change, np.random.default_rng(seed)), found)
    kept = found.scores > 0
    np.testing.assert_array_equal(found.scores[kept], pose.scores[kept])
    assert abs(kept.sum() / (pose.scores > 0).sum() - (1 - drop)) < 0.15
    a, b = pose.keypoints_px[kept], found.keypoints_px[kept]
    if len(a) > 1 and (extent := np.ptp(a, axis=0).max()) > 1:
        growth = float(np.ptp(b, axis=0).max() / extent)
        assert 1 / (1 + scale) - 1e-3 <= growth <= 1 + scale + 1e-3
        np.testing.assert_allclose(b - b[0], growth * (a - a[0]), atol=0.02)


def test_a_scaled_skeleton_stays_where_it_is(pose: Pose) -> None:
    scaled = disturb_pose(pose, Augmentation(scale=0.5), np.random.default_rng(1))
    seen = pose.scores[:, BODY] > 0

    def box(of: Pose) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        points = of.keypoints_px[:, BODY][seen]
        return points.min(0), points.max(0)

    (low, high), (scaled_low, scaled_high) = box(pose), box(scaled)
    assert np.abs(scaled_high - scaled_low - high + low).min() > 1
    np.testing.assert_allclose(scaled_low + scaled_high, low + high, atol=0.02)


def test_nothing_asked_changes_nothing_and_jitter_has_its_size(pose: Pose) -> None:
    rng = np.random.default_rng(0)
    _same(disturb_pose(pose, Augmentation(), rng), pose)
    trembled = disturb_pose(pose, Augmentation(jitter=0.05), rng)
    seen = pose.scores > 0
    std_px = (trembled.keypoints_px - pose.keypoints_px)[seen].std()
    body = [p[s, 1] for p, s in zip(pose.keypoints_px[:, BODY], seen[:, BODY], strict=True)]
    assert std_px == pytest.approx(0.05 * max(np.ptp(y) for y in body), rel=0.1)
    empty = make_pose(pose.keypoints_px, 0 * pose.scores, pose.size_hw)
    _same(disturb_pose(empty, Augmentation(scale=1), rng), empty)


def _batches(
    shards: list[Path], augmentation: Augmentation | None, **options: object
) -> list[Batch]:
    loader = make_loader(
        shards,
        LoaderConfig(
            stage=2,
            batch_size=4,
            size_hw=SIZE_HW,
            num_frames=3,
            seed=3,
            augmentation=augmentation,
            **options,
        ),
    )
    return [next(loader).to(torch.device("cpu")) for _ in range(4)]


def test_the_loader_mirrors_whole_samples_of_the_same_windows(
    shards: list[Path], samples: list[ShardSample]
) -> None:
    plain = _batches(shards, None)
    for one, other in zip(plain, _batches(shards, Augmentation(flip=1)), strict=True):
        assert one.clip_ids == other.clip_ids
        assert torch.equal(one.target.flip(-1), other.target)
        assert torch.equal(one.reference.flip(-1), other.reference)
        assert not torch.equal(one.pose.flip(-1), other.pose)  # colours changed sides
    for one, other in zip(plain, _batches(shards, Augmentation()), strict=True):
        assert torch.equal(one.pose, other.pose)
    much = Augmentation(flip=0.5, jitter=0.1, joint_drop=0.1)
    half, again = (_batches(shards, much, cache_bytes=n) for n in (0, 1 << 30))
    flips = []
    for one, other, same in zip(plain, half, again, strict=True):
        assert torch.equal(other.target, same.target)
        assert torch.equal(other.pose, same.pose)
        for i in range(4):
            mirrored = torch.equal(one.target[i].flip(-1), other.target[i])
            assert mirrored or torch.equal(one.target[i], other.target[i])
            flips.append(mirrored)
    assert 3 <= sum(flips) <= 13


@settings(max_examples=60)
@given(
    size_hw=st.tuples(st.integers(40, 90), st.integers(40, 90)),
    to_hw=st.tuples(st.integers(8, 32), st.integers(8, 32)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_mask_covers_all_that_text_touches_and_little_more(
    size_hw: tuple[int, int], to_hw: tuple[int, int], corners: tuple[float, float, float, float]
) -> None:
    x0, x1 = sorted(round(c * size_hw[1]) for c in corners[:2])
    y0, y1 = sorted(round(c * size_hw[0]) for c in corners[2:])
    frame = np.zeros((1, *size_hw, 3), np.uint8)
    frame[:, y0:y1, x0:x1] = 255
    touched = resize_frames(frame, to_hw)[0, ..., 0] > 0  # a mean over areas
    counted = mask_text([(x0, y0, x1, y1)] if x1 > x0 and y1 > y0 else [], size_hw, to_hw)
    assert not (touched & counted).any()
    more = ~counted & ~touched
    assert more.sum() <= 2 * sum(to_hw)  # a rim, where a pixel is touched by less than 1/510


def test_masks_come_with_the_batch_and_turn_with_it(
    samples: list[ShardSample], tmp_path: Path
) -> None:
    box = (0, 0, 20, 64)  # a column at the left, of 64 x 80
    written = [dataclasses.replace(s, clip=dataclasses.replace(s.clip, text_px=(box,) if i else ()))
               for i, s in enumerate(samples[:2])]  # fmt: skip
    write_shard(tmp_path / "a.tar", written)

    def masks(**options: object) -> dict[str, torch.Tensor]:
        batch = next(
            make_loader(
                [tmp_path / "a.tar"],
                LoaderConfig(stage=1, batch_size=2, size_hw=(64, 80), text_mask=True, **options),
            )
        )
        assert batch.loss_mask is not None
        return dict(zip(batch.clip_ids, batch.loss_mask, strict=True))

    plain, mirrored = masks(), masks(augmentation=Augmentation(flip=1))
    assert plain["puppet_0"].all()
    assert plain["puppet_1"].shape == (1, 64, 80)
    assert not plain["puppet_1"][..., :20].any()
    assert plain["puppet_1"][..., 20:].all()
    assert torch.equal(mirrored["puppet_1"], plain["puppet_1"].flip(-1))
    without = next(
        make_loader([tmp_path / "a.tar"], LoaderConfig(stage=1, batch_size=2, size_hw=(64, 80)))
    )
    assert without.loss_mask is None


def test_what_cannot_be_augmented_is_named(shards: list[Path]) -> None:
    with pytest.raises(DatasetError, match=r"augmentation flip is 1\.5, expected 0 to 1"):
        Augmentation(flip=1.5)
    with pytest.raises(DatasetError, match="jitter is nan"):
        Augmentation(jitter=float("nan"))
    with pytest.raises(LatentsError, match="cannot be mirrored: augment without flip"):
        _batches(shards, Augmentation(flip=0.5), latents=LatentsKey(32, 24, "a", "b"))
