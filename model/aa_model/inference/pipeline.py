"""AnimatePipeline: a photo and a pose in, frames out; a pipeline in diffusers' sense."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import diffusers
import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline, SchedulerMixin
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image

from aa_datasets.loader.crop_resize import resize_pose
from aa_datasets.pose import Pose
from aa_datasets.pose_drawing import draw_pose
from aa_model.checkpoints.store import read_checkpoint, read_model, write_checkpoint
from aa_model.config import GenerateConfig
from aa_model.errors import CheckpointError, ModelError
from aa_model.inference.align_pose import align_pose
from aa_model.inference.denoise import (
    StepCallback,
    decode_frames,
    denoise,
    encode_conditions,
)
from aa_model.inference.drawn_poses import PosePictures
from aa_model.inference.image_input import Picture, fit_picture, to_pixels
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import check_schedule, make_scheduler
from aa_model.networks.parts import part_parameters, parts_of

Drawn = Sequence[Picture] | NDArray[np.uint8]
StepEndCallback = Callable[["AnimatePipeline", int, float, dict[str, Any]], dict[str, Any]]
_SCHEDULER = "scheduler"  # the subfolder of a checkpoint, where it has another than DDIM
SCHEDULER_CONFIG = f"{_SCHEDULER}/scheduler_config.json"


@dataclass
class AnimatePipelineOutput(BaseOutput):  # type: ignore[misc]  # diffusers has no types
    """`frames`: uint8 [T, H, W, 3], or a list of T PIL images."""

    frames: NDArray[np.uint8] | list[Image.Image]


@dataclass(frozen=True, slots=True)
class Inputs:
    """A picture and poses as the network takes them, all of its size.

    Attributes:
        reference: uint8 RGB [H, W, 3].
        driving: the skeleton as it was given.
        pose: the skeleton that is drawn: rescaled to `person`, or `driving` itself.
        person: the skeleton in the reference, if there is one.
    """

    reference: NDArray[np.uint8]
    driving: Pose
    pose: Pose
    person: Pose | None


class AnimatePipeline(DiffusionPipeline):  # type: ignore[misc]  # diffusers has no types
    """A checkpoint, ready to animate.

    Components are the whole network and a scheduler: diffusers' own way to store UNets would drop
    our attention processors and norms without a word (trap T3), so that `save_pretrained` and
    `from_pretrained` write and read this project's checkpoint folders.

    Args:
        model: in eval mode, on the device to be used.
        scheduler: any of diffusers', made by `from_config(pipeline.scheduler.config)`; DDIM with
            the checkpoint's schedule unless given.
    """

    _optional_components: ClassVar[list[str]] = [_SCHEDULER]
    model: AnimateAnyone
    scheduler: SchedulerMixin

    def __init__(self, model: AnimateAnyone, scheduler: SchedulerMixin | None = None) -> None:
        super().__init__()
        self.register_modules(
            model=model, scheduler=scheduler or make_scheduler(model.config.noise)
        )
        self.made_by: dict[str, str] = {}

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        torch_dtype: torch.dtype | None = None,
    ) -> AnimatePipeline:
        """Load a checkpoint folder that aa-train or `save_pretrained` wrote.

        Args:
            device: where to load it; `pipeline.to(...)` moves it later.
            torch_dtype: of weights and activations; float32 unless given. The noise schedule's
                arithmetic and the latents between two steps stay in float32.

        Raises:
            CheckpointError: a part is absent, altered, or of another network.
        """
        folder = Path(folder)
        model = read_model(folder)
        model.place(device, torch_dtype)
        pipeline = cls(model, _read_scheduler(folder / _SCHEDULER))
        pipeline.made_by = {
            p: record.made_by for p, record in read_checkpoint(folder).parts.items()
        }
        return pipeline

    def use_scheduler(self, name: str) -> None:
        """Take another of diffusers' schedulers, with the checkpoint's noise schedule.

        Raises:
            ModelError: diffusers has none of this name, or it cannot keep the schedule.
        """
        kind: Any = find_scheduler(name)
        try:
            scheduler: SchedulerMixin = kind.from_config(self.scheduler.config)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"{name} cannot be made of the checkpoint's schedule: {error}"
            ) from error
        check_schedule(self.model.config.noise, scheduler)
        self.scheduler = scheduler

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write a checkpoint folder, and the scheduler in its subfolder `scheduler`.

        Args:
            dtype: to store the weights in; None keeps theirs.
        """
        folder = Path(folder)
        parts = [p for p in parts_of(self.model.config) if part_parameters(self.model, p)]
        made_by = {part: self.made_by.get(part, "not said") for part in parts}
        write_checkpoint(folder, self.model, made_by, dtype)
        self.scheduler.save_pretrained(folder / _SCHEDULER)

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.model.config.size_hw

    def __call__(
        self,
        reference: Picture,
        pose: Pose | Drawn,
        config: GenerateConfig | None = None,
        *,
        reference_pose: Pose | None = None,
        output_type: Literal["np", "pil"] = "np",
        callback_on_step_end: StepEndCallback | None = None,
    ) -> AnimatePipelineOutput:
        """Animate `reference` by `pose`; arguments as of `stream`, and:

        Args:
            callback_on_step_end: called as diffusers' pipelines do, with the pipeline, the step's
                index, its timestep and {"latents": ...}; what it returns under "latents" is taken.

        Returns:
            Frames of the checkpoint's size.
        """

        def on_step(done: int, latents: torch.Tensor) -> torch.Tensor:
            if callback_on_step_end is None:
                return latents
            timestep = float(self.scheduler.timesteps[done - 1])
            returned = callback_on_step_end(self, done - 1, timestep, {"latents": latents})
            kept: torch.Tensor = returned.get("latents", latents)
            return kept

        frames = self.stream(
            reference, pose, config, reference_pose=reference_pose, on_step=on_step
        )
        if output_type == "pil":
            return AnimatePipelineOutput([Image.fromarray(frame) for frame in frames])
        return AnimatePipelineOutput(np.stack(list(frames)))

    def stream(
        self,
        reference: Picture,
        pose: Pose | Drawn,
        config: GenerateConfig | None = None,
        *,
        reference_pose: Pose | None = None,
        on_step: StepCallback | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """The frames uint8 [H, W, 3] one by one: no more than `decode_batch` pictures are held.

        What grows with the length is latents, the drawn pixels of skeletons, and pose features
        until they are made by the window (`PoseFeatures`).

        Args:
            reference: a PIL image of any mode, or uint8 [H, W], [H, W, 3] or [H, W, 4].
            pose: the driving pose of T frames, in any frame size; or T pictures of skeletons,
                drawn as in training.
            reference_pose: the pose in the reference picture (its first frame is used). When
                given, the driving skeleton is rescaled to its proportions (Sec. 4.1).
        """
        config = config or GenerateConfig()
        device = self._execution_device
        if isinstance(pose, Pose):
            inputs = self.fit(reference, pose, reference_pose)
            picture, driving = inputs.reference, self._draw_each(inputs.pose)
        elif reference_pose is None:
            picture = fit_picture(reference, self.size_hw)
            driving = (fit_picture(p, self.size_hw) for p in pose)
        else:
            raise ModelError("drawn skeletons cannot be rescaled: give a Pose")
        with (
            torch.no_grad(),
            torch.autocast(device.type, torch.bfloat16, enabled=config.autocast),
        ):
            conditions = encode_conditions(
                self.model,
                to_pixels(picture[None])[0].to(device),
                PosePictures(driving, device),
            )
        latents = denoise(self.model, conditions, config, scheduler=self.scheduler, on_step=on_step)
        del conditions
        batch, autocast = config.decode_batch, config.autocast
        for frames in decode_frames(self.model, latents, batch, autocast=autocast):
            yield from frames.numpy()

    def fit(self, reference: Picture, pose: Pose, reference_pose: Pose | None = None) -> Inputs:
        """Crop and resize as in training, and align the skeleton if `reference_pose` is given.

        Raises:
            ModelError: the picture is not one, or the poses cannot be aligned.
        """
        picture = fit_picture(reference, self.size_hw)
        driving = resize_pose(pose, self.size_hw)
        if reference_pose is None:
            return Inputs(picture, driving, driving, None)
        person = resize_pose(reference_pose, self.size_hw)
        return Inputs(picture, driving, align_pose(driving, person), person)

    def draw(self, pose: Pose) -> NDArray[np.uint8]:
        """Skeletons as this network reads them, uint8 RGB [T, H, W, 3] at its size."""
        return draw_pose(pose, self.size_hw, face=self.model.config.pose_guider.face)

    def _draw_each(self, pose: Pose) -> Iterator[NDArray[np.uint8]]:
        """One at a time."""
        for t in range(pose.num_frames):
            yield self.draw(pose.at_frames(slice(t, t + 1)))[0]


def find_scheduler(name: str) -> type[SchedulerMixin]:
    """diffusers' scheduler class of this name.

    Raises:
        ModelError: diffusers has no such class, or it is not one that denoises.
    """
    kind = getattr(diffusers, name, None)
    if not (isinstance(kind, type) and _can_denoise(kind)):
        raise ModelError(
            f"{name!r} is not a scheduler of diffusers {diffusers.__version__} that denoises: "
            "give a class, such as DPMSolverMultistepScheduler or UniPCMultistepScheduler"
        )
    return kind


def _can_denoise(kind: type) -> bool:
    """Whether it is a scheduler whose step needs no more than prediction, timestep and latents."""
    if not (issubclass(kind, SchedulerMixin) and issubclass(kind, ConfigMixin)):
        return False
    step = getattr(kind, "step", None)
    if step is None or "Inverse" in kind.__name__:
        return False
    needed = [p for p in inspect.signature(step).parameters.values() if p.default is p.empty]
    return len(needed) == 4  # self among them


def _read_scheduler(folder: Path) -> SchedulerMixin | None:
    """The scheduler that was saved, of whichever of diffusers' classes."""
    path = folder / "scheduler_config.json"
    if not path.is_file():
        return None
    try:
        kind = getattr(diffusers, json.loads(path.read_text())["_class_name"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} names no scheduler of diffusers: {error!r}") from error
    return kind.from_pretrained(folder)
