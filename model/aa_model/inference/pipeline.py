"""AnimatePipeline: a photo and a pose in, frames out; a pipeline in diffusers' sense."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    ConfigMixin,
    DiffusionPipeline,
    SchedulerMixin,
    UNet2DConditionModel,
    UNetMotionModel,
)
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPVisionModelWithProjection

from aa_datasets.atomic_file import replace_file
from aa_datasets.loader.crop_resize import resize_pose
from aa_datasets.pose import Pose
from aa_datasets.pose_drawing import draw_pose
from aa_model.checkpoints.folder import MODEL_INDEX
from aa_model.checkpoints.store import (
    is_our_checkpoint,
    read_checkpoint,
    read_model,
)
from aa_model.config import AttentionName, GenerateConfig, ModelConfig, from_json, to_json
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
from aa_model.inference.lora import AnimateLoraMixin
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.attention_backend import set_attention
from aa_model.networks.clean_attention import CleanAttention
from aa_model.networks.compile_blocks import compile_blocks
from aa_model.networks.controlnet import ReferenceControlNet
from aa_model.networks.noise_schedule import check_schedule, make_scheduler
from aa_model.networks.parts import parts_of
from aa_model.networks.pose_guider import ControlNetPoseGuider, PaperPoseGuider
from aa_model.networks.precision import layout_for
from aa_model.networks.temporal import clean_attention_of, set_clean_attention
from aa_model.networks.vae import Autoencoder

T = TypeVar("T")
Drawn = Sequence[Picture] | NDArray[np.uint8]
Frames: TypeAlias = NDArray[np.uint8] | list[Image.Image] | torch.Tensor
OutputType: TypeAlias = Literal["np", "pil", "pt", "latent"]
StepEndCallback = Callable[["AnimatePipeline", int, float, dict[str, Any]], dict[str, Any]]
_SCHEDULER = "scheduler"  # the subfolder of a checkpoint, where it has another than DDIM
SCHEDULER_CONFIG = f"{_SCHEDULER}/scheduler_config.json"
_NETWORKS = (
    "vae", "image_encoder", "reference_net", "controlnet", "denoising_unet", "pose_guider",
    "clean_attention",
)  # fmt: skip
# Networks of classes of this package, and their modules. diffusers wants a custom class in a file
# in the component's folder, and the pipeline's in a file next to model_index.json.
_MODULE_OF = {
    "clean_attention": CleanAttention.__module__,
    "controlnet": ReferenceControlNet.__module__,
    "pose_guider": PaperPoseGuider.__module__,
}
_PIPELINE, _MODELING = "pipeline", "modeling"


@dataclass
class AnimatePipelineOutput(BaseOutput):  # type: ignore[misc]  # diffusers has no types
    """`frames`: as `output_type` says, see `AnimatePipeline`."""

    frames: Frames


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


def fit_inputs(
    reference: Picture, pose: Pose, reference_pose: Pose | None, size_hw: tuple[int, int]
) -> Inputs:
    """Crop and resize as in training, and align the skeleton if `reference_pose` is given.

    Raises:
        ModelError: the picture is not one, or the poses cannot be aligned.
    """
    picture = fit_picture(reference, size_hw)
    driving = resize_pose(pose, size_hw)
    if reference_pose is None:
        return Inputs(picture, driving, driving, None)
    person = resize_pose(reference_pose, size_hw)
    return Inputs(picture, driving, align_pose(driving, person), person)


class AnimatePipeline(AnimateLoraMixin, DiffusionPipeline):  # type: ignore[misc]  # diffusers has no types
    """A checkpoint, ready to animate: a pipeline in diffusers' sense.

    Components are networks of diffusers' and transformers' classes. They are wired together here,
    `model`: our attention processors and norms are not in diffusers' files, and are put into
    whatever is loaded or assigned (trap T3).

    Args:
        vae, image_encoder, reference_net, controlnet, denoising_unet, pose_guider, clean_attention:
            None where the network has no such part.
        scheduler: any of diffusers', made by `from_config(pipeline.scheduler.config)`; None takes
            DDIM with the checkpoint's schedule.
        network: the `ModelConfig` as JSON.
        made_by: one line for each part.

    Attributes:
        model: the components, wired together.
    """

    model_cpu_offload_seq = "image_encoder->vae->reference_net->pose_guider->denoising_unet->vae"
    _optional_components: ClassVar[list[str]] = [_SCHEDULER, *_NETWORKS]
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]
    scheduler: SchedulerMixin
    vae: Autoencoder
    image_encoder: CLIPVisionModelWithProjection
    denoising_unet: UNet2DConditionModel | UNetMotionModel

    def __init__(
        self,
        vae: AutoencoderKL | AutoencoderDC,
        image_encoder: CLIPVisionModelWithProjection,
        reference_net: UNet2DConditionModel | None,
        controlnet: ReferenceControlNet | None,
        denoising_unet: UNetMotionModel | UNet2DConditionModel,
        pose_guider: ControlNetPoseGuider | PaperPoseGuider | None,
        clean_attention: CleanAttention | None,
        scheduler: SchedulerMixin | None,
        network: dict | None = None,  # type: ignore[type-arg]  # diffusers looks at the type
        made_by: dict | None = None,  # type: ignore[type-arg]
    ) -> None:
        super().__init__()
        networks = (
            vae, image_encoder, reference_net, controlnet, denoising_unet, pose_guider,
            clean_attention,
        )  # fmt: skip
        self.model = model = _assemble(network, dict(zip(_NETWORKS, networks, strict=True)))
        self.register_modules(
            scheduler=scheduler or make_scheduler(model.config.noise), **model.networks
        )
        self.register_to_config(network=to_json(model.config), made_by=dict(made_by or {}))
        self._interrupt = False

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # Assigned by the user: `pipeline.vae = AutoencoderKL.from_pretrained(...)`.
        if name in _NETWORKS and "model" in self.__dict__:
            self.model.set_network(name, value)

    @classmethod
    def from_model(
        cls,
        model: AnimateAnyone,
        scheduler: SchedulerMixin | None = None,
        made_by: Mapping[str, str] | None = None,
    ) -> AnimatePipeline:
        """Take the networks of `model`, which must be in eval mode; arguments as of the class."""
        made_by = dict(made_by or {})
        return cls(
            **model.networks, scheduler=scheduler, network=to_json(model.config), made_by=made_by
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        torch_dtype: torch.dtype | None = None,
        *,
        dtype: torch.dtype | dict[str, torch.dtype] | None = None,
        **kwargs: Any,
    ) -> AnimatePipeline:
        """Load a checkpoint of ours, or a folder (or Hub repository) that `save_pretrained` wrote.

        Args:
            device: where to load it; `pipeline.to(...)` moves it later.
            torch_dtype, dtype: diffusers' two names for that of weights and activations; as stored
                in a folder of `save_pretrained`, else float32, unless given. The noise schedule's
                arithmetic and the latents between two steps are in float32.
            kwargs: components to take instead of the stored ones (`vae=`, `scheduler=`...); for
                what `save_pretrained` wrote also what diffusers' `from_pretrained` takes.

        Raises:
            CheckpointError: a part is absent, altered, or of another network.
        """
        dtype = torch_dtype if dtype is None else dtype
        if not is_our_checkpoint(folder):
            pipeline: AnimatePipeline = super().from_pretrained(folder, dtype=dtype, **kwargs)
            return pipeline if "device_map" in kwargs else pipeline.to(device)
        folder = Path(folder)
        given = {name: kwargs.pop(name) for name in (_SCHEDULER, *_NETWORKS) if name in kwargs}
        if kwargs or isinstance(dtype, dict):
            raise ModelError(
                f"{', '.join(kwargs) or 'a dtype of each component'}: for folders that "
                f"save_pretrained wrote; {folder} is a checkpoint of aa-train or aa-model "
                "(aa-model export --to diffusers converts it)"
            )
        model = read_model(folder).to(dtype)
        made_by = {p: record.made_by for p, record in read_checkpoint(folder).parts.items()}
        pipeline = cls.from_model(model, _read_scheduler(folder / _SCHEDULER), made_by)
        for name, component in given.items():
            setattr(pipeline, name, component)
        return pipeline.to(device)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """diffusers' own; but the code in the folder, which only imports this class, is not run."""
        config = super().load_config(*args, **kwargs)
        row = config[0] if isinstance(config, tuple) else config
        row["_class_name"] = cls.__name__
        for name, module in _MODULE_OF.items():
            if row.get(name, [None])[0] == _MODELING:
                row[name] = [module, row[name][1]]
        return config

    def to(self, *args: Any, **kwargs: Any) -> AnimatePipeline:
        """Move or cast the networks, into the memory layout that is fastest there."""
        super().to(*args, **kwargs)
        self.model.to(memory_format=layout_for(self.device))
        return self

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

    def save_pretrained(self, folder: str | Path, *args: Any, **kwargs: Any) -> None:
        """Write a folder that `from_pretrained` and `DiffusionPipeline.from_pretrained` read.

        Each network lies in a folder of its own, as its library saves it. `DiffusionPipeline` runs
        the two-line files there that import this package, and asks for `trust_remote_code=True`.

        Args:
            args, kwargs: as of diffusers' `save_pretrained`.

        Raises:
            ModelError: LoRAs are loaded: whether to keep them is yours to say.
        """
        if self._with_adapters():
            raise ModelError(
                "the pipeline has LoRAs: fuse_lora() to keep them, then unload_lora_weights()"
            )
        self.register_to_config(network=to_json(self.model.config))
        # It has a folder of its own: in the UNet's, diffusers would not know its tensors.
        layer = clean_attention_of(self.denoising_unet)
        set_clean_attention(self.denoising_unet, None)
        try:
            super().save_pretrained(folder, *args, **kwargs)
        finally:
            set_clean_attention(self.denoising_unet, layer)
        folder = Path(folder)
        row = json.loads((folder / MODEL_INDEX).read_text())
        row["_class_name"] = [_PIPELINE, type(self).__name__]
        imports = {folder / f"{_PIPELINE}.py": (__name__, type(self).__name__)}
        for name, module in _MODULE_OF.items():
            if row.get(name, [None])[0] == module:
                imports[folder / name / f"{_MODELING}.py"] = (module, row[name][1])
                row[name] = [_MODELING, row[name][1]]
        for path, (module, kind) in imports.items():
            replace_file(path, f"from {module} import {kind} as {kind}\n".encode())
        replace_file(folder / MODEL_INDEX, (json.dumps(row, indent=2) + "\n").encode())

    def enable_vae_slicing(self) -> None:
        """Decode frame by frame, whatever `decode_batch` says."""
        self.vae.enable_slicing()

    def disable_vae_slicing(self) -> None:
        self.vae.disable_slicing()

    def enable_vae_tiling(self) -> None:
        """Encode and decode large pictures in overlapping tiles: less memory, other pixels."""
        self.vae.enable_tiling()

    def disable_vae_tiling(self) -> None:
        self.vae.disable_tiling()

    def compile_repeated_blocks(self, **options: Any) -> None:
        """Put each block of the denoising UNet through `torch.compile`, in the first step.

        Equal blocks share kernels, which torch keeps on disk (TORCHINDUCTOR_CACHE_DIR): a second
        run of the same sizes compiles little.

        Args:
            options: as of `torch.compile`.
        """
        compile_blocks(self.denoising_unet, **options)

    def set_attention(self, name: AttentionName, *, autocast: bool = False) -> None:
        """Choose the kernel of spatial attention, as `aa-animate --attention` does.

        diffusers' `set_attention_backend` of a UNet does so, too, by diffusers' names, and does not
        try whether the kernel runs here.

        Args:
            autocast: as of the `GenerateConfig`; kernels differ in the dtypes that they take.

        Raises:
            ModelError: the kernel does not run here; the message says which do.
        """
        dtype = torch.bfloat16 if autocast else self.model.dtype
        set_attention(self.denoising_unet, name, dtype)

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
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        latents: torch.Tensor | None = None,
        output_type: OutputType = "np",
        return_dict: bool = True,
        callback_on_step_end: StepEndCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> AnimatePipelineOutput:
        """Animate `reference` by `pose`; with diffusers' argument names.

        Args:
            reference, pose, reference_pose: as of `stream`.
            config: steps, guidance, windows...; the two arguments below override it.
            height, width: of the video, multiples of the VAE's factor; the checkpoint's size
                unless given.
            num_inference_steps, guidance_scale: `steps` and `guidance` of `config`.
            generator: draws the initial noise instead of `config.seed`.
            latents: the initial noise itself, [T, C, h, w] of standard deviation 1.
            output_type: "np" uint8 [T, H, W, 3], "pil" a list of T images, "pt" float
                [T, 3, H, W] in [0, 1], "latent" the latents [T, C, h, w].
            return_dict: False gives a tuple of one element.
            callback_on_step_end: called as diffusers' pipelines do, with the pipeline, the step's
                index, its timestep and {"latents": ...}; what it returns under "latents" is taken.
                Setting `pipeline._interrupt = True` in it ends the denoising.

        Raises:
            ModelError: an argument cannot be used; the message says what was expected.
        """
        if output_type not in get_args(OutputType):
            raise ModelError(f"output_type {output_type!r}: expected one of {get_args(OutputType)}")
        if unknown := sorted(set(callback_on_step_end_tensor_inputs) - {"latents"}):
            raise ModelError(
                f"callback_on_step_end_tensor_inputs {unknown}: only latents are there"
            )
        config = config or GenerateConfig()
        if num_inference_steps is not None:
            config = replace(config, steps=num_inference_steps)
        if guidance_scale is not None:
            config = replace(config, guidance=guidance_scale)
        self._interrupt = False

        def on_step(done: int, latents: torch.Tensor) -> torch.Tensor | None:
            if callback_on_step_end is not None:
                timestep = float(self.scheduler.timesteps[done - 1])
                returned = callback_on_step_end(self, done - 1, timestep, {"latents": latents})
                latents = returned.get("latents", latents)
            return latents

        size_hw = (height or self.size_hw[0], width or self.size_hw[1])
        denoised = self._denoise(
            reference, pose, config, reference_pose, size_hw, on_step, generator, latents
        )
        frames: Frames
        if output_type == "latent":
            frames = denoised
        elif output_type == "pil":
            frames = [Image.fromarray(frame) for frame in self._decode(denoised, config)]
        else:
            frames = np.stack(list(self._decode(denoised, config)))
            if output_type == "pt":
                frames = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        # Typed as what it nearly always is: diffusers' own pipelines are typed in this way, too.
        self.maybe_free_model_hooks()
        return AnimatePipelineOutput(frames) if return_dict else (frames,)  # type: ignore[return-value]

    @property
    def interrupt(self) -> bool:
        """Whether the denoising was told to end after the current step."""
        return self._interrupt

    def stream(
        self,
        reference: Picture,
        pose: Pose | Drawn,
        config: GenerateConfig | None = None,
        *,
        reference_pose: Pose | None = None,
        size_hw: tuple[int, int] | None = None,
        on_step: StepCallback | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """The frames uint8 [H, W, 3] one by one; the next are decoded in a thread meanwhile.

        No more than two times `decode_batch` pictures are held.

        What grows with the length is latents, the drawn pixels of skeletons, and pose features
        until they are made by the window (`PoseFeatures`).

        Args:
            reference: a PIL image of any mode, or uint8 [H, W], [H, W, 3] or [H, W, 4].
            pose: the driving pose of T frames, in any frame size; or T pictures of skeletons,
                drawn as in training.
            reference_pose: the pose in the reference picture (its first frame is used). When
                given, the driving skeleton is rescaled to its proportions (Sec. 4.1).
            size_hw: of the video; the checkpoint's unless given.
        """
        config = config or GenerateConfig()
        self._interrupt = False
        latents = self._denoise(reference, pose, config, reference_pose, size_hw, on_step)
        yield from self._decode(latents, config)
        self.maybe_free_model_hooks()

    def _denoise(
        self,
        reference: Picture,
        pose: Pose | Drawn,
        config: GenerateConfig,
        reference_pose: Pose | None,
        size_hw: tuple[int, int] | None,
        on_step: StepCallback | None,
        generator: torch.Generator | None = None,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Latents [T, C, h, w] of the video."""
        if paths := [x for x in (reference, pose, reference_pose) if isinstance(x, str | Path)]:
            raise ModelError(
                f"{paths[0]} is a path: expected a picture (PIL.Image.open) and a Pose "
                "(aa_datasets.read_pose); animate_photo takes files, and finds poses in videos"
            )
        size_hw = self._checked(size_hw or self.size_hw)
        device = self._execution_device
        if isinstance(pose, Pose):
            inputs = fit_inputs(reference, pose, reference_pose, size_hw)
            picture, driving = inputs.reference, self._draw_each(inputs.pose, size_hw)
        elif reference_pose is None:
            picture = fit_picture(reference, size_hw)
            driving = (fit_picture(p, size_hw) for p in pose)
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
        return denoise(
            self.model,
            conditions,
            config,
            scheduler=self.scheduler,
            on_step=on_step,
            generator=generator,
            noise=noise,
            is_interrupted=lambda: self._interrupt,
        )

    def _decode(self, latents: torch.Tensor, config: GenerateConfig) -> Iterator[NDArray[np.uint8]]:
        batch, autocast = config.decode_batch, config.autocast
        for frames in _one_ahead(decode_frames(self.model, latents, batch, autocast=autocast)):
            yield from frames.numpy()

    def _checked(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        factor = self.model.config.vae.downscale
        if any(side < factor or side % factor for side in size_hw):
            raise ModelError(
                f"size {size_hw[0]}x{size_hw[1]}: height and width must be multiples of {factor}"
            )
        return size_hw

    def draw(self, pose: Pose, size_hw: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Skeletons as this network reads them, uint8 RGB [T, H, W, 3]."""
        face = self.model.config.pose_guider.face
        return draw_pose(pose, size_hw or self.size_hw, face=face)

    def _draw_each(self, pose: Pose, size_hw: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
        """One at a time."""
        for t in range(pose.num_frames):
            yield self.draw(pose.at_frames(slice(t, t + 1)), size_hw)[0]


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next one while the caller writes or encodes this one."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def _assemble(network: dict[str, Any] | None, given: dict[str, Any]) -> AnimateAnyone:
    if network is None:
        raise ModelError("AnimatePipeline needs `network`, as pipeline.parameters gives it")
    config = from_json(ModelConfig, dict(network))
    lacking = [name for name in _NETWORKS if name in parts_of(config) and given[name] is None]
    if config.temporal.clean_attention and isinstance(given["denoising_unet"], UNetMotionModel):
        lacking += ["clean_attention"] * (given["clean_attention"] is None)
    if lacking:
        raise ModelError(f"the pipeline lacks {', '.join(lacking)}: give every network")
    return AnimateAnyone(config, networks=given)


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
