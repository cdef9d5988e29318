"""Which mask and which box belongs to which frame, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aa_eval.errors import PairingError
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import Pair, make_pairs
from aa_eval.videos.region_pairs import pairs_with_regions
from aa_eval.videos.regions import Boxes, MaskFrames, iter_masks

H, W = 12, 16


def _masks(folder: Path, numbers: range, size_hw: tuple[int, int] = (H, W)) -> None:
    """One mask a frame: as many columns are inside as its number says, plus one."""
    folder.mkdir(parents=True)
    for number in numbers:
        mask = np.zeros(size_hw, np.uint8)
        mask[:, : number + 1] = 255
        Image.fromarray(mask).save(folder / f"{number:04d}.png")


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Video v: five true frames, of which 1, 2 and 4 were predicted."""
    for side, numbers in (("gt", range(5)), ("gen", (1, 2, 4))):
        (tmp_path / side / "v").mkdir(parents=True)
        for number in numbers:
            picture = np.full((H, W, 3), 40 * number, np.uint8)
            Image.fromarray(picture).save(tmp_path / side / "v" / f"{number:04d}.png")
    (found,), _ = make_pairs(
        find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt"),
        frozenset({"numbering-gap", "frame-count"}),
    )  # fmt: skip
    assert found.frame_numbers == (1, 2, 4)
    return found


def _columns(pair: Pair) -> list[int]:
    """How many columns of each frame are inside of region `face`."""
    region = pair.regions["face"]
    assert isinstance(region, MaskFrames)
    return [int(mask.any(axis=0).sum()) for mask in iter_masks(region, pair.size_hw)]


def test_masks_are_found_by_the_numbers_of_the_frames(pair: Pair, tmp_path: Path) -> None:
    _masks(tmp_path / "masks/face/v", range(5))
    (tmp_path / "masks/.cache").mkdir()
    (tmp_path / "masks/notes.txt").touch()
    (found,) = pairs_with_regions([pair], tmp_path / "masks")
    assert list(found.regions) == ["face"]
    assert _columns(found) == [2, 3, 5]
    assert pair.regions == {}, "the pair that was given is left as it is"
    (tmp_path / "masks/face/v/0004.png").unlink()
    with pytest.raises(PairingError, match="no mask for frame 4 of the reference"):
        pairs_with_regions([pair], tmp_path / "masks")
    (tmp_path / "masks/face/v").rename(tmp_path / "masks/face/w")
    with pytest.raises(PairingError, match="no masks of 'face' for video 'v'"):
        pairs_with_regions([pair], tmp_path / "masks")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda f: _masks(f / "face/v", range(5), (W, H)),
            "masks of 12x16, the reference is 16x12",
        ),
        (lambda f: _masks(f / "Face/v", range(5)), "Face: not a region's name: expected up to 31"),
        (lambda f: f.mkdir(), "no region in it: expected <region>/<video>/<frame>.png"),
        (lambda f: None, "no such folder: expected <region>/<video>/<frame>.png in it"),
    ],
)
def test_masks_that_do_not_fit_are_refused(pair: Pair, tmp_path: Path, make, why: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "masks")
    with pytest.raises(PairingError, match=why):
        pairs_with_regions([pair], tmp_path / "masks")


def test_masks_of_16_bits_are_refused(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "masks/face/v").mkdir(parents=True)
    for number in range(5):
        mask = Image.fromarray(np.zeros((H, W), np.uint16))
        mask.save(tmp_path / f"masks/face/v/{number}.png")
    with pytest.raises(PairingError, match="expected 8-bit grey, 0 and 255"):
        pairs_with_regions([pair], tmp_path / "masks")


def test_boxes_need_a_known_name_and_exclude_masks_of_it(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(PairingError, match="--region-boxes 'nose': unknown: choose from "):
        pairs_with_regions([pair], None, ["face", "nose"])
    _masks(tmp_path / "masks/face/v", range(5))
    with pytest.raises(PairingError, match="region 'face' is given as masks and as boxes: drop"):
        pairs_with_regions([pair], tmp_path / "masks", ["face"], tmp_path)
    (found,) = pairs_with_regions([pair], tmp_path / "masks", ["hands"])
    assert list(found.regions) == ["face"], "no keypoints, no boxes"


def _keypoints(path: Path, count: int) -> None:
    """The person's joints in frame t are around x = 2 t."""
    points = np.zeros((count, 128, 2))
    points[..., 0] = 2 * np.arange(count)[:, None] + np.linspace(0, 1, 128)
    points[..., 1] = np.linspace(4, 8, 128)
    np.savez(path, keypoints_px=points, scores=np.ones((count, 128)), size_hw=[H, W])


@pytest.mark.parametrize(("count", "kept"), [(5, [1, 2, 4]), (3, [0, 1, 2])])
def test_boxes_are_of_the_kept_frames_or_of_all_that_there_are(
    pair: Pair, tmp_path: Path, count: int, kept: list[int]
) -> None:
    _keypoints(tmp_path / "v.npz", count)
    (found,) = pairs_with_regions([pair], None, ["person"], tmp_path)
    found_boxes = found.regions["person"]
    whole = replace(pair, kept=None, frame_numbers=tuple(range(count)))
    (all_of_them,) = pairs_with_regions([whole], None, ["person"], tmp_path)
    expected = all_of_them.regions["person"]
    assert isinstance(found_boxes, Boxes)
    assert isinstance(expected, Boxes)
    np.testing.assert_array_equal(found_boxes.boxes_px, expected.boxes_px[kept])
    assert len(np.unique(expected.boxes_px, axis=0)) == count


@pytest.mark.parametrize("count", [2, 4])
def test_keypoints_of_another_number_of_frames_are_refused(
    pair: Pair, tmp_path: Path, count: int
) -> None:
    _keypoints(tmp_path / "v.npz", count)
    why = f"keypoints of {count} frames, the reference has 3"
    with pytest.raises(PairingError, match=why):
        pairs_with_regions([pair], None, ["person"], tmp_path)
