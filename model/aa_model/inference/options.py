"""Options of animation: `AnimateOptions` decide a video, `UiOptions` the page that makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Group, Parameter

from aa_datasets.command_line import Fps, NonNegativeInt, PositiveInt
from aa_model.checkpoints.folder import refuse_other_folders
from aa_model.config import AttentionName, Benchmark, GenerateConfig, parse_size, take_paths
from aa_model.errors import ModelError

Swap: TypeAlias = Literal["reference", "pose"]
_PHOTO = Group("One video from a photo", sort_key=1)
_SHARDS = Group("One video per clip of shards", sort_key=2)
_DENOISING = Group("Denoising", sort_key=3)
_MACHINE = Group("Machine", sort_key=4)


@dataclass(frozen=True, kw_only=True)
class AnimateOptions:
    """What to animate by what; `animate_photo` and `animate_shards` read it."""

    checkpoint: Path
    """Folder that `aa-train` or `aa-model import` wrote."""
    out: Path
    """The .mp4 to write; with --shards a predictions folder."""
    size: str | None = None
    """Height x width of the video in pixels, multiples of 8, such as 768x432; the checkpoint's
    unless given."""
    max_frames: PositiveInt | None = None
    """At most this many frames per video."""
    dry_run: bool = False
    """Print what would be made, and make nothing."""
    reference: Annotated[Path | None, Parameter(group=_PHOTO)] = None
    """Picture of the person to animate."""
    pose: Annotated[Path | None, Parameter(group=_PHOTO)] = None
    """Driving poses (.npz), or a driving video to find them in."""
    pose_video: Annotated[Path | None, Parameter(group=_PHOTO)] = None
    """Instead of --pose: a video of drawn skeletons, as the checkpoint was trained with (the
    `*_kps.mp4` of Moore-AnimateAnyone). It cannot be rescaled to the person."""
    reference_pose: Annotated[Path | None, Parameter(group=_PHOTO)] = None
    """Pose in the reference (.npz); by default it is looked for."""
    letterbox: Annotated[bool, Parameter(group=_PHOTO, negative=())] = False
    """Pad photo and poses to the shape of the video instead of cropping them, and cut the padding
    off the result."""
    align: Annotated[bool, Parameter(group=_PHOTO)] = True
    """Rescale the driving skeleton to the person's proportions (Sec. 4.1)."""
    pose_detector: Annotated[str | None, Parameter(group=_PHOTO)] = None
    """Finds skeletons: the name of an installed detector, or a .safetensors file of
    `aa-model puppet-keypoints`. By default an installed one, or the
    checkpoint's own for what looks like a puppet."""
    person: Annotated[PositiveInt, Parameter(group=_PHOTO)] = 1
    """Whom to follow in a driving video of several people, by size in its first frame: 1 is the
    largest."""
    stride: Annotated[PositiveInt, Parameter(group=_PHOTO)] = 1
    """Take every so many frames of the driving video or poses, at as many times fewer frames per
    second: 2 makes 30 of 60."""
    audio: Annotated[Literal["keep", "drop"], Parameter(group=_PHOTO)] = "keep"
    """The sound of the driving video."""
    fps: Annotated[Fps | None, Parameter(group=_PHOTO)] = None
    """Frame rate of the .mp4; by default the driving video's, or 24 for an npz."""
    shards: Annotated[
        tuple[Path, ...], Parameter(group=_SHARDS, consume_multiple=True, show_default=False)
    ] = ()
    """Tar files of `aa-curate` or `aa-datasets fetch`: each clip is animated from its first frame
    by its own poses."""
    benchmark: Annotated[Benchmark | None, Parameter(group=_SHARDS)] = None
    """Animate only the test videos of this benchmark, under their own ids."""
    swap: Annotated[Swap | None, Parameter(group=_SHARDS)] = None
    """Probe: take the reference, or the pose, from the next clip."""
    temporal: Annotated[bool, Parameter(group=_SHARDS)] = True
    """Probe: without the temporal layers every frame is made by itself."""
    max_videos: Annotated[PositiveInt | None, Parameter(group=_SHARDS)] = None
    """Animate only the first clips."""
    generate: Annotated[GenerateConfig, Parameter(name="*", group=_DENOISING)] = field(
        default_factory=GenerateConfig
    )
    """How the video is denoised."""
    scheduler: Annotated[str | None, Parameter(group=_DENOISING)] = None
    """A diffusers scheduler class, such as DPMSolverMultistepScheduler, with the checkpoint's
    noise schedule. By default the checkpoint's own, or DDIM."""
    lora: Annotated[
        tuple[Path, ...], Parameter(group=_DENOISING, consume_multiple=True, show_default=False)
    ] = ()
    """LoRA files or folders, of `aa-train --lora-rank` or for Stable Diffusion 1.5."""
    lora_scale: Annotated[float, Parameter(group=_DENOISING)] = 1.0
    """How strongly the LoRAs count."""
    compile: Annotated[bool, Parameter(group=_MACHINE, negative=())] = False
    """Put the blocks of the denoising UNet through torch.compile: the first step takes minutes, the
    others less. torch keeps what it compiled on disk."""
    half: Annotated[bool, Parameter(group=_MACHINE)] = False
    """Weights and activations in bfloat16: half the memory, faster on GPUs, slightly different
    videos."""
    attention: Annotated[AttentionName | None, Parameter(group=_MACHINE)] = None
    """The kernel of spatial attention: one of torch's (sdpa takes the fastest of them), or of an
    installed package. By default torch's sdpa, or what DIFFUSERS_ATTN_BACKEND names."""
    device: Annotated[str | None, Parameter(group=_MACHINE)] = None
    """By default cuda if torch sees a GPU, else cpu."""

    def __post_init__(self) -> None:
        """Reject options that do not apply to the chosen mode.

        Raises:
            ModelError: two options contradict each other, or the mode is not clear.
        """
        take_paths(self)
        if self.pose and self.pose_video:
            raise ModelError("give --pose or --pose-video, not both")
        if self.shards and (self.reference or self.pose or self.pose_video):
            raise ModelError("give --shards, or --reference and --pose, not both")
        if self.benchmark and not self.shards:
            raise ModelError(f"--benchmark {self.benchmark} needs --shards with its test videos")
        if not self.shards and not (self.reference and (self.pose or self.pose_video)):
            raise ModelError(
                "give --reference PICTURE and --pose NPZ_OR_VIDEO, or --shards SHARD..."
            )
        if not self.shards and self.out.suffix.lower() != ".mp4":
            raise ModelError(f"--out {self.out}: the video is written as .mp4: give such a name")
        of_photo = {
            "--reference-pose": self.reference_pose,
            "--no-align": not self.align,
            "--letterbox": self.letterbox,
            "--audio drop": self.audio == "drop",
            "--pose-detector": self.pose_detector,
            "--person": self.person > 1,
            "--fps": self.fps,
            "--stride": self.stride > 1,
        }
        of_shards = {
            "--swap": self.swap,
            "--max-videos": self.max_videos,
            "--no-temporal": not self.temporal,
        }
        for flag, value in (of_photo if self.shards else of_shards).items():
            if value:
                raise ModelError(
                    f"{flag} is {'not for' if self.shards else 'for'} --shards: leave it out"
                )
        self.size_hw(None)
        if self.lora_scale != 1 and not self.lora:
            raise ModelError("--lora-scale is for --lora FILE")
        if self.half and self.generate.autocast:
            raise ModelError("--half leaves no float32 for --autocast to cast: give one of them")
        if self.pose_video and self.reference_pose:
            raise ModelError("--reference-pose rescales a skeleton; --pose-video shows it as it is")
        if self.pose_video and self.pose_detector:
            raise ModelError("--pose-detector finds skeletons; --pose-video shows them: give one")
        if self.person > 1 and (self.pose is None or self.pose.suffix.lower() == ".npz"):
            raise ModelError("--person chooses among people in a video given as --pose")
        if not self.align and self.reference_pose:
            raise ModelError("--reference-pose is for the alignment that --no-align leaves out")

    def check_files(self) -> None:
        """Name the first input that is not there, before anything slow is done.

        Raises:
            ModelError: a file or the checkpoint is missing.
            DatasetError: a shard is.
        """
        from aa_datasets.shards import find_shards  # here: it needs NumPy, which help does not

        for path in (self.reference, self.pose, self.pose_video, self.reference_pose):
            if path is not None and not path.is_file():
                raise ModelError(f"no file {path}")
        find_shards(self.shards)
        refuse_other_folders(self.checkpoint)

    def size_hw(self, checkpoint_hw: tuple[int, int] | None) -> tuple[int, int] | None:
        """`size`, or the checkpoint's."""
        return parse_size(self.size) if self.size else checkpoint_hw


@dataclass(frozen=True, kw_only=True)
class UiOptions:
    """What the page loads and where it is served."""

    checkpoint: Path
    """Folder that `aa-train` or `aa-model import` wrote."""
    pose_detector: str | None = None
    """Finds skeletons, as --pose-detector of aa-animate."""
    steps: PositiveInt = 20
    """Denoising steps where the slider starts."""
    host: str = "127.0.0.1"
    """Address to serve at; the default is this machine only. There is no password."""
    port: NonNegativeInt = 7860
    """0 takes a free one."""
    half: bool = False
    """Weights and activations in bfloat16."""
    device: str | None = None
    """By default cuda if torch sees a GPU, else cpu."""

    def __post_init__(self) -> None:
        take_paths(self)
