"""Read photos and driving poses as people have them: any mode, any size, npz or video.

Each adaptation is reported to the user by a note of one sentence.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from aa_datasets.command_line import counted
from aa_datasets.errors import PoseError, VideoError
from aa_datasets.loader.crop_resize import crop_box
from aa_datasets.pose import BODY_JOINTS, Pose, make_pose, read_pose
from aa_datasets.pose_estimator import Person, PoseEstimator
from aa_datasets.video.foreign import iter_foreign_frames, probe_video
from aa_model.errors import ModelError
from aa_model.inference.image_input import fit_picture, has_wide_grey, to_8_bit
from aa_model.inference.pose_detectors import FindEstimator, follow_pose, shows_skeleton
from aa_model.inference.puppet_keypoints import PuppetEstimator, body_pose

POSE_SUFFIX = ".npz"
LONG_GAP_S = 0.5  # between two frames of a driving video: it is said
_MAX_SIDE_PX = 1280  # of video frames that a detector sees
_MAX_PHOTO_PX = 4096  # larger JPEGs are reduced while they are decoded
_MAX_PIXELS = 300_000_000
_ORIENTATION = 0x0112  # EXIF
Note = Callable[[str], object]
Progress = Callable[[str, int, int | None], object]  # what is done, how far, of how many


@dataclass(frozen=True, slots=True)
class Driving:
    """A driving pose of at least one frame, and its frames per second (None: the file has none)."""

    pose: Pose
    fps: float | None


def read_picture(path: Path, note: Note) -> NDArray[np.uint8]:
    """A picture file of any mode as uint8 RGB [H, W, 3], upright.

    Raises:
        ModelError: it is not a picture, is cut short, or holds values that cannot be brightness.
    """
    try:
        with _open_large(path) as opened:
            full_hw = (opened.height, opened.width)
            opened.draft(None, (_MAX_PHOTO_PX, _MAX_PHOTO_PX))  # a JPEG is reduced while decoded
            opened.load()
            turned = opened.getexif().get(_ORIENTATION, 1) != 1
            image = ImageOps.exif_transpose(opened)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ModelError(
            f"{path} cannot be read as a picture, such as JPEG, PNG or WebP: {error}"
        ) from error
    if opened.size != full_hw[::-1]:
        note(
            f"{path.name}: {full_hw[0]}x{full_hw[1]} reduced to {opened.height}x{opened.width} "
            "(height x width) while it was read"
        )
    if turned:
        note(f"{path.name}: turned upright, as its EXIF data say")
    if has_wide_grey(image):
        note(f"{path.name}: mode {image.mode}, taken as 8-bit grey")
        image = to_8_bit(image, str(path))
    elif "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        note(f"{path.name}: what is transparent becomes white")
    return fit_picture(image, (image.height, image.width))


@contextmanager
def _open_large(path: Path) -> Iterator[Image.Image]:
    """Open a picture of up to _MAX_PIXELS; Pillow takes today's phones for decompression bombs."""
    usual = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = _MAX_PIXELS // 2  # beyond twice this it raises
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
    finally:
        Image.MAX_IMAGE_PIXELS = usual
    with opened:
        yield opened


def read_driving(
    path: Path,
    detector: FindEstimator,
    note: Note,
    progress: Progress,
    max_frames: int | None = None,
    person: int = 1,
    stride: int = 1,
) -> Driving:
    """The driving pose of an npz, or of a video: found by what `detector` takes for a first frame.

    Args:
        max_frames: how many to take at most, after `stride`.
        person: whom to follow in a video, by size in its first frame; 1 is the largest.
        stride: take every so many frames; the frames per second are as many times fewer.

    Raises:
        ModelError: the pose has no frames, shows a person in none of them, or fewer than `person`.
        DatasetError: the file is neither, or damaged.
    """
    if path.suffix.lower() == POSE_SUFFIX:
        whole = read_pose_file(path, note)
        driving = Driving(whole.at_frames(np.arange(0, whole.num_frames, stride)), None)
    else:
        driving = _read_video(path, detector, note, progress, max_frames, person, stride)
    pose = driving.pose
    if pose.num_frames == 0:
        raise ModelError(f"{path} has no frames: give a pose or a video with one or more")
    if max_frames is not None and max_frames < pose.num_frames:
        pose = pose.at_frames(np.arange(max_frames))
    empty = sum(not shows_skeleton(pose, t) for t in range(pose.num_frames))
    if empty == pose.num_frames:
        raise ModelError(
            f"{path} shows a skeleton in none of its {empty} frames: give another pose or video, "
            "or another --pose-detector"
        )
    if empty:
        note(f"{path.name}: {empty} of {pose.num_frames} frames show no whole skeleton")
    return Driving(pose, driving.fps)


def read_pose_file(path: Path, note: Note) -> Pose:
    """A pose as `aa_datasets` writes it, or its 18 body joints alone.

    Raises:
        PoseError: no pose file, or of another joint table.
    """
    try:
        return read_pose(path)
    except PoseError as error:
        pose = _read_body(path)
        if pose is None:
            raise PoseError(
                f"{error}; or the {len(BODY_JOINTS)} body joints alone, {BODY_JOINTS[0]} to "
                f"{BODY_JOINTS[-1]}"
            ) from error
        note(f"{path.name}: {len(BODY_JOINTS)} body joints alone, so no hands are drawn")
        return pose


def _read_body(path: Path) -> Pose | None:
    """What `aa-model puppet-keypoints detect` writes; None if the file is anything else."""
    try:
        with np.load(path) as arrays:
            keypoints_px, scores = arrays["keypoints_px"], arrays["scores"]
            height, width = (int(v) for v in arrays["size_hw"])
    except (ValueError, KeyError, TypeError, OSError, EOFError, AttributeError):
        return None
    J = len(BODY_JOINTS)
    if scores.shape[1:] != (J,) or keypoints_px.shape != (len(scores), J, 2):
        return None
    return body_pose(keypoints_px, scores, (height, width))


def _read_video(
    path: Path,
    detector: FindEstimator,
    note: Note,
    progress: Progress,
    max_frames: int | None,
    person: int,
    stride: int,
) -> Driving:
    try:
        info = probe_video(path)
    except VideoError as error:
        raise ModelError(f"{error}; expected a video, or poses as .npz") from error
    if info.longest_gap_s > LONG_GAP_S:
        note(f"{path.name}: a gap of {info.longest_gap_s:.1f} s in its time is left out")
    claimed = -(-(info.num_frames_claimed or 0) // stride)
    total = min([count for count in (claimed, max_frames) if count], default=None)

    frames = _pixels(path, stride, max_frames)
    first = next(frames, None)
    if first is None:
        raise ModelError(f"{path} has no frames: give a pose or a video with one or more")
    estimator = detector(first)
    _note_people(path, estimator.people(first), person, note)

    def told() -> Iterator[NDArray[np.uint8]]:
        for done, frame in enumerate(itertools.chain([first], frames), start=1):
            yield frame
            progress("finding poses", done, total)

    pose = follow_pose(estimator, told(), person - 1)
    note(f"{path.name}: {pose.num_frames} poses found by {estimator.name}{_limits_of(estimator)}")
    return Driving(pose, info.fps / stride)


def _limits_of(estimator: PoseEstimator) -> str:
    if estimator.name != PuppetEstimator.name:
        return ""
    return ", which knows synthetic puppets alone: for people give --pose-detector blazepose"


def _note_people(path: Path, people: Sequence[Person], person: int, note: Note) -> None:
    """Say who is followed, where there is a choice."""
    if person > max(1, len(people)):
        raise ModelError(
            f"{path} shows {counted(len(people), 'person')} in its first frame: --person {person} "
            "is not there"
        )
    if len(people) > 1:
        places = [f"{i} at {100 * p.x:.0f} %" for i, p in enumerate(people, 1) if p.x == p.x]
        where = f" ({', '.join(places)} of the width)" if places else ""
        note(
            f"{path.name}: {len(people)} people in the first frame{where}; person {person} is "
            "followed, and 1 is the largest: --person N chooses another"
        )


def read_drawn_poses(
    path: Path,
    size_hw: tuple[int, int],
    note: Note,
    progress: Progress,
    max_frames: int | None = None,
    *,
    pad: bool = False,
    stride: int = 1,
) -> tuple[list[NDArray[np.uint8]], float]:
    """A video of drawn skeletons as uint8 RGB [H, W, 3] each, and its frames per second.

    Args:
        pad: with black to the shape of `size_hw`, as `letterbox_pose` does, instead of cropping.
        max_frames, stride: as of `read_driving`.

    Raises:
        ModelError: it has no frames.
        DatasetError: it is not a video, or damaged.
    """
    info = probe_video(path)
    frames: list[NDArray[np.uint8]] = []
    for pixels in _pixels(path, stride, max_frames):
        if pad:
            pixels, _ = letterbox(pixels, size_hw, mode="constant")
        elif not frames:
            note_crop(path.name, (pixels.shape[0], pixels.shape[1]), size_hw, note)
        frames.append(fit_picture(pixels, size_hw))
        progress("reading skeletons", len(frames), max_frames or info.num_frames_claimed)
    if not frames:
        raise ModelError(f"{path} has no frames: give a video of drawn skeletons")
    return frames, info.fps / stride


def _pixels(path: Path, stride: int, at_most: int | None) -> Iterator[NDArray[np.uint8]]:
    """Every `stride`-th frame, uint8 RGB [H, W, 3]; what follows the last one is not decoded."""
    decoded = iter_foreign_frames(path, max_side_px=_MAX_SIDE_PX)
    stop = None if at_most is None else stride * (at_most - 1) + 1
    return (frame.pixels for frame in itertools.islice(decoded, 0, stop, stride))


def letterbox(
    picture: NDArray[np.uint8],
    to_hw: tuple[int, int],
    *,
    mode: Literal["edge", "constant"] = "edge",
) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
    """Pad a picture to the shape of `to_hw`, not its size.

    Args:
        mode: pad with the pixels at its edges, or with black.

    Returns:
        the padded picture, and where it lies in a picture of size `to_hw`; even numbers, as videos
        need them.
    """
    height, width = picture.shape[:2]
    top, left, padded_hw = _padding((height, width), to_hw)
    below, right = padded_hw[0] - height - top, padded_hw[1] - width - left
    padded = np.pad(picture, ((top, below), (left, right), (0, 0)), mode=mode)
    scale_y, scale_x = to_hw[0] / padded_hw[0], to_hw[1] / padded_hw[1]

    def span(start: int, length: int, scale: float) -> slice:
        first = 2 * round(start * scale / 2)
        return slice(first, first + max(2, 2 * int(length * scale / 2)))

    return padded, (span(top, height, scale_y), span(left, width, scale_x))


def letterbox_pose(pose: Pose, to_hw: tuple[int, int]) -> Pose:
    """The pose in frames that are padded as `letterbox` pads them."""
    top, left, padded_hw = _padding(pose.size_hw, to_hw)
    return make_pose(pose.keypoints_px + np.array([left, top]), pose.scores, padded_hw)


def _padding(size_hw: tuple[int, int], to_hw: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
    height = max(size_hw[0], math.ceil(size_hw[1] * to_hw[0] / to_hw[1]))
    width = max(size_hw[1], math.ceil(size_hw[0] * to_hw[1] / to_hw[0]))
    return (height - size_hw[0]) // 2, (width - size_hw[1]) // 2, (height, width)


def note_crop(name: str, size_hw: tuple[int, int], to_hw: tuple[int, int], note: Note) -> None:
    """Say what the centre crop to the checkpoint's shape leaves out."""
    _, _, height, width = crop_box(size_hw, to_hw)
    if (height, width) != size_hw:
        note(
            f"{name}: {size_hw[0]}x{size_hw[1]} cropped at its centre to {height}x{width}, the "
            f"shape of {to_hw[0]}x{to_hw[1]} (height x width); --size HEIGHTxWIDTH makes another, "
            "--letterbox pads"
        )
