"""One photo and one pose to one video file: what `aa-animate` and its page have in common."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aa_datasets.atomic_file import replace_file
from aa_datasets.loader.frames import resize_frames, resize_pose
from aa_datasets.pose import Pose
from aa_datasets.video.canonical import encode_canonical
from aa_model.errors import ModelError
from aa_model.inference.align_pose import align_pose
from aa_model.inference.denoise import GenerateConfig
from aa_model.inference.inputs import (
    Note,
    Progress,
    note_crop,
    read_driving,
    read_picture,
    read_pose_file,
)
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.inference.pose_detectors import PoseDetector
from aa_model.inference.show_alignment import draw_alignment

DEFAULT_FPS = 24.0  # of a pose file, which has none


@dataclass(frozen=True, slots=True)
class Order:
    """What to animate by what.

    Attributes:
        reference: a picture.
        pose: npz or video.
        reference_pose: npz, the skeleton in the reference; None looks for it.
        align: rescale the driving skeleton to the reference's proportions (Sec. 4.1).
        max_frames: of the video.
        fps: None takes the driving video's, or 24 of a pose file.
    """

    reference: Path
    pose: Path
    reference_pose: Path | None = None
    align: bool = True
    max_frames: int | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Animated:
    """What was written; `alignment` is the picture before and after, None where none was made."""

    video: Path
    alignment: Path | None
    num_frames: int
    size_hw: tuple[int, int]


def animate_one(
    pipeline: AnimatePipeline,
    order: Order,
    config: GenerateConfig,
    out: Path,
    detector: Callable[[], PoseDetector],
    note: Note,
    progress: Progress,
) -> Animated:
    """Write `out`, and beside it `<name>-alignment.png` where the skeleton was rescaled.

    Args:
        detector: called when a skeleton has to be found.
        note: takes a sentence about everything that was adapted on the way.

    Raises:
        ModelError, DatasetError: an input cannot be used; the message is for the user.
    """
    picture = read_picture(order.reference, note)
    driving = read_driving(order.pose, detector, note, progress, order.max_frames)
    size_hw = pipeline.size_hw
    note_crop(order.reference.name, _size_hw(picture), size_hw, note)
    note_crop(order.pose.name, driving.pose.size_hw, size_hw, note)
    fitted = resize_frames(picture[None], size_hw)[0]
    pose = resize_pose(driving.pose, size_hw)
    alignment = None
    picture_path = out.with_name(f"{out.stem}-alignment.png")
    person = _reference_pose(order, picture, detector, note)
    if person is not None:
        person = resize_pose(person, size_hw)
        rescaled = _aligned(pose, person, order, note)
        if rescaled is not None:
            alignment = picture_path
            face = pipeline.model.config.pose_guider.face
            _write_png(alignment, draw_alignment(fitted, person, pose, rescaled, face))
            pose = rescaled
    if alignment is None:
        picture_path.unlink(missing_ok=True)  # of a run before, it would mislead

    def frames() -> Iterator[NDArray[np.uint8]]:
        total = pose.num_frames
        made = pipeline.stream(
            fitted,
            pose,
            config,
            on_step=lambda done, latents: progress("denoising", done, config.steps),
        )
        for done, frame in enumerate(made, start=1):
            yield frame
            progress("decoding", done, total)

    fps = order.fps or driving.fps or DEFAULT_FPS
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, encode_canonical(frames(), fps))  # frames as they come: none is held
    return Animated(out, alignment, pose.num_frames, size_hw)


def _reference_pose(
    order: Order, picture: NDArray[np.uint8], detector: Callable[[], PoseDetector], note: Note
) -> Pose | None:
    """The skeleton in the reference, in the picture's pixels; None: animate without alignment."""
    if not order.align:
        return None
    if order.reference_pose is not None:
        pose = read_pose_file(order.reference_pose, note)
        if pose.num_frames == 0:
            raise ModelError(f"{order.reference_pose} has no frames: give the pose of one")
        return pose
    without = "animated without alignment (--reference-pose FILE gives a skeleton)"
    try:
        found = detector()
    except ModelError as error:
        note(f"{error}; {without}")
        return None
    seen = found.find(picture)
    if seen is None:
        note(f"{order.reference.name}: {found.name} finds no skeleton; {without}")
    return seen


def _aligned(pose: Pose, person: Pose, order: Order, note: Note) -> Pose | None:
    try:
        return align_pose(pose, person)
    except ModelError as error:
        if order.reference_pose is not None:
            raise  # asked for: not left out in silence
        note(f"{order.reference.name}: not aligned: {error}")
        return None


def _size_hw(picture: NDArray[np.uint8]) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]


def _write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())
