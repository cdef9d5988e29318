"""animate_photo: one photo and one driving pose to one video file."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from numpy.typing import NDArray
from PIL import Image

from aa_datasets.atomic_file import replace_file
from aa_datasets.pose import Pose
from aa_datasets.video.canonical import encode_canonical
from aa_model.checkpoints.store import read_checkpoint
from aa_model.errors import ModelError
from aa_model.inference.align_pose import foreshortened_limbs
from aa_model.inference.denoise import window_of, windows_of
from aa_model.inference.inputs import (
    POSE_SUFFIX,
    Note,
    Progress,
    letterbox,
    letterbox_pose,
    note_crop,
    read_drawn_poses,
    read_driving,
    read_picture,
    read_pose_file,
)
from aa_model.inference.options import AnimateOptions
from aa_model.inference.pipeline import AnimatePipeline, Inputs, find_scheduler, fit_inputs
from aa_model.inference.pose_detectors import FindEstimator, find_estimator, find_pose
from aa_model.inference.sound import add_sound
from aa_model.inference.visualize import draw_alignment
from aa_model.networks.precision import choose_device

DEFAULT_FPS = 24.0  # of a pose file, which has none


@dataclass(frozen=True, slots=True)
class Animated:
    """What was written; `alignment` is the picture before and after, None without alignment."""

    video: Path
    alignment: Path | None
    num_frames: int
    size_hw: tuple[int, int]


def note_on_stderr(sentence: str) -> None:
    """Print a note of `animate_photo` for the user."""
    print(f"aa-animate: {sentence}", file=sys.stderr)


def animate_photo(
    options: AnimateOptions,
    *,
    pipeline: AnimatePipeline | None = None,
    note: Note = note_on_stderr,
    progress: Progress = lambda what, done, total: None,
) -> Animated:
    """Animate `options.reference` by `options.pose`: write an .mp4.

    Where the skeleton was rescaled, `<name>-alignment.png` shows it next to the video.

    Args:
        pipeline: of the checkpoint, if it is loaded already.
        note: takes a sentence about each adaptation of the inputs.
        progress: called with what is done, how far it is, and of how many (None: unknown).

    Raises:
        ModelError, DatasetError: an input cannot be used; the message is for the user.

    Example:
        >>> animate_photo(AnimateOptions(checkpoint=Path("run"), reference=Path("photo.jpg"),
        ...     pose=Path("dance.mp4"), out=Path("out.mp4")))  # doctest: +SKIP
    """
    if options.reference is None:
        raise ModelError("animate_photo needs a reference and a pose; for shards: animate_shards")
    # Inputs first: loading the network takes long, and a wrong file should be said at once.
    if options.scheduler:
        find_scheduler(options.scheduler)
    options.check_files()
    for path in options.lora:
        lora_file(path)
    size_hw = options.size_hw(None) or read_checkpoint(options.checkpoint).model.size_hw
    picture = read_picture(options.reference, note)
    box = (slice(None), slice(None))
    if options.letterbox:
        picture, box = letterbox(picture, size_hw)
    else:
        note_crop(options.reference.name, (picture.shape[0], picture.shape[1]), size_hw, note)
    alignment = options.out.with_name(f"{options.out.stem}-alignment.png")
    shown = None
    pose: Pose | list[NDArray[np.uint8]]
    if options.pose is not None:
        inputs, fps = _read_inputs(options, picture, size_hw, note, progress)
        picture, pose, count = inputs.reference, inputs.pose, inputs.pose.num_frames
        if inputs.person is not None:
            shown = alignment
            face = read_checkpoint(options.checkpoint).model.pose_guider.face
            sheet = draw_alignment(picture, inputs.person, inputs.driving, inputs.pose, face)
            _write_png(alignment, sheet)
    else:
        assert options.pose_video is not None
        pose, fps = read_drawn_poses(
            options.pose_video, size_hw, note, progress, options.max_frames,
            pad=options.letterbox, stride=options.stride,
        )  # fmt: skip
        count = len(pose)
    if shown is None:
        alignment.unlink(missing_ok=True)  # of an earlier run, it would mislead
    pipeline = pipeline or open_pipeline(options)
    config = options.generate
    network = pipeline.model
    window = window_of(network.config, config, temporal=network.has_temporal_layers)
    windows = windows_of(count, window, config)
    if len(windows) > 1:
        note(
            f"{count} frames in {len(windows)} windows of {window}: "
            f"{len(windows) * window / count:.2f} times the frames are denoised (--overlap)"
        )

    started = time.monotonic()

    def step_taken(done: int, latents: torch.Tensor) -> None:
        progress("denoising", done, config.steps)
        if options.compile and done == 1:
            note(f"the first step took {time.monotonic() - started:.1f} s, compilation included")

    def frames() -> Iterator[NDArray[np.uint8]]:
        made = pipeline.stream(
            picture,
            pose,
            config,
            size_hw=size_hw,
            on_step=step_taken,
        )
        for done, frame in enumerate(made, start=1):
            yield np.ascontiguousarray(frame[box])
            progress("decoding", done, count)

    video = encode_canonical(frames(), options.fps or fps)  # streamed: no list of frames
    source = options.pose or options.pose_video
    if options.audio == "keep" and source is not None and source.suffix.lower() != POSE_SUFFIX:
        video = add_sound(video, source, note, speed=(options.fps or fps) / fps)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(options.out, video)
    made_hw = (len(range(size_hw[0])[box[0]]), len(range(size_hw[1])[box[1]]))
    return Animated(options.out, shown, count, made_hw)


def _read_inputs(
    options: AnimateOptions,
    picture: NDArray[np.uint8],
    size_hw: tuple[int, int],
    note: Note,
    progress: Progress,
) -> tuple[Inputs, float]:
    """Picture and driving pose as the network takes them, aligned if they can be; and the fps."""
    assert options.pose is not None
    detector = partial(find_estimator, options.pose_detector, options.checkpoint)
    driving = read_driving(
        options.pose, detector, note, progress, options.max_frames, options.person, options.stride
    )
    pose = driving.pose
    person = _reference_pose(options, picture, detector, note)
    if options.letterbox:
        pose = letterbox_pose(pose, size_hw)
        if person is not None and options.reference_pose is not None:  # of the photo as it is
            person = letterbox_pose(person, size_hw)
    else:
        note_crop(options.pose.name, pose.size_hw, size_hw, note)
    fps = driving.fps or DEFAULT_FPS / options.stride
    try:
        inputs = fit_inputs(picture, pose, person, size_hw)
    except ModelError as error:
        if person is None or options.reference_pose is not None:
            raise  # asked for: not left out in silence
        note(f"{options.reference}: not aligned: {error}")
        return fit_inputs(picture, pose, None, size_hw), fps
    if inputs.person is not None and (limbs := foreshortened_limbs(inputs.driving, inputs.person)):
        note(
            f"{options.reference}: the length of {', '.join(limbs)} does not fit the rest of the "
            "body (does it point at the camera?), and its scale is limited; a better skeleton: "
            "--reference-pose FILE"
        )
    return inputs, fps


def open_pipeline(options: AnimateOptions) -> AnimatePipeline:
    """The checkpoint of the options, on their device, with their scheduler."""
    pipeline = AnimatePipeline.from_pretrained(
        options.checkpoint,
        choose_device(options.device),
        torch.bfloat16 if options.half else None,
    )
    if options.scheduler:
        pipeline.use_scheduler(options.scheduler)
    names = [f"lora_{number}" for number in range(len(options.lora))]
    for path, name in zip(options.lora, names, strict=True):
        pipeline.load_lora_weights(lora_file(path), adapter_name=name)
    if names:
        pipeline.set_adapters(names, options.lora_scale)
    if options.attention:
        pipeline.set_attention(options.attention, autocast=options.generate.autocast)
    if options.compile:
        pipeline.compile_repeated_blocks()
    return pipeline


def lora_file(path: Path) -> Path:
    """The file of a LoRA, which may be given by its folder.

    Raises:
        ModelError: there is none.
    """
    file = path / LORA_WEIGHT_NAME_SAFE if path.is_dir() else path
    if not file.is_file():
        raise ModelError(f"no LoRA {file}: give a folder or file that aa-train --lora-rank wrote")
    return file


def _reference_pose(
    options: AnimateOptions,
    picture: NDArray[np.uint8],
    detector: FindEstimator,
    note: Note,
) -> Pose | None:
    """The skeleton in the reference, in the picture's pixels; None: animate without alignment."""
    if not options.align or options.reference is None:
        return None
    if options.reference_pose is not None:
        pose = read_pose_file(options.reference_pose, note)
        if pose.num_frames == 0:
            raise ModelError(f"{options.reference_pose} has no frames: give the pose of one")
        return pose
    without = "animated without alignment (--reference-pose FILE gives a skeleton)"
    try:
        estimator = detector(picture)
    except ModelError as error:
        note(f"{error}; {without}")
        return None
    found = find_pose(estimator, picture)
    if found is None:
        note(f"{options.reference.name}: {estimator.name} finds no skeleton; {without}")
    return found


def _write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())
