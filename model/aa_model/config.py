"""Sizes of every network, options of training and of denoising, as frozen dataclasses.

A checkpoint stores the ModelConfig it was trained with, noise schedule included, and inference
reads it back: training and inference cannot disagree.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from cyclopts import Parameter

from aa_model.errors import ConfigError

T = TypeVar("T")
# Fields that older checkpoints lack: left out of JSON where they are None.
_OMIT = {"omit_none": True}
Appearance: TypeAlias = Literal["reference_net", "clip", "controlnet", "clip+controlnet"]
Merge: TypeAlias = Literal["edge", "mean", "wrapped"]
AttentionName: TypeAlias = Literal[
    "sdpa", "cudnn", "efficient", "flash", "math", "flash-attn", "sage", "xformers"
]
Benchmark: TypeAlias = Literal["tiktok", "ubc"]  # of `aa_datasets.benchmarks.split`
LoraPart: TypeAlias = Literal["reference_net", "denoising_unet", "temporal_layers"]
StageName: TypeAlias = Literal[
    "autoencoder", "image-encoder", "1", "1-controlnet", "2", "personalize", "distill"
]


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """The autoencoder, see `vae`; latents are its mean * scaling_factor.

    `norm_num_groups` is of `kl` only.
    """

    kind: Literal["kl", "dc"]
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    latent_channels: int
    norm_num_groups: int
    scaling_factor: float

    @property
    def downscale(self) -> int:
        """Pixels per latent along one axis; 8 in Stable Diffusion."""
        return int(2 ** (len(self.block_out_channels) - 1))


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """ReferenceNet and denoising UNet: diffusers' UNet2DConditionModel, the same for both.

    `num_heads` is what diffusers' SD-1.5 configuration calls attention_head_dim (trap T10).
    `attention` says for each level, from fine to coarse, whether it has spatial attention.
    """

    block_out_channels: tuple[int, ...]
    attention: tuple[bool, ...]
    layers_per_block: int
    norm_num_groups: int
    num_heads: int
    cross_attention_dim: int


@dataclass(frozen=True, slots=True)
class TemporalConfig:
    """AnimateDiff's motion modules.

    `max_frames`: length of the positional encoding (Sec. 3.2). `trained_frames`: frames per clip in
    training, which is how many are denoised together; None if unknown. `clean_attention`: a further
    layer at the output, see `networks/clean_attention.py`; not in the paper.
    """

    max_frames: int
    num_heads: int
    mid_block: bool
    trained_frames: int | None = field(default=None, metadata=_OMIT)
    clean_attention: bool | None = field(default=None, metadata=_OMIT)

    @property
    def window(self) -> int:
        """Frames to denoise together unless something else is asked for."""
        return min(self.trained_frames or self.max_frames, self.max_frames)


@dataclass(frozen=True, slots=True)
class PoseGuiderConfig:
    """`paper`: 4x4 convolutions, added to the noise latent. `controlnet`: added after conv_in.

    The product of `strides` must be the VAE's downscale: four strides of 2, as the paper's
    sentence has them, would give /16. `controlnet` takes 3x3 convolutions, a pair per stride.
    `unit_range`: drawn skeletons are fed in [0, 1], as to ControlNets and in Moore-AnimateAnyone,
    whose weights expect it; off, in [-1, 1]. Black is then what convolutions pad with, or is not.
    `face`: skeletons show the face's points as well as body and hands, as Moore-AnimateAnyone draws
    them; the paper's have body and hands (Sec. 4.1), MusePose's as well.
    """

    layout: Literal["paper", "controlnet"]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    unit_range: bool = False
    face: bool = False


@dataclass(frozen=True, slots=True)
class ImageEncoderConfig:
    """transformers' CLIPVisionModelWithProjection; projects to the UNets' cross_attention_dim.

    `tokens`: "pooled" gives one token, "patch" the class token and every patch.
    `mean`, `std`: of RGB in [0, 1], as CLIP's image processor normalises.
    `mlp_size`: width of its MLPs, 4 * hidden_size unless given.
    """

    image_size: int
    patch_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    hidden_act: str
    tokens: Literal["pooled", "patch"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mlp_size: int | None = field(default=None, metadata=_OMIT)
    layer_norm_eps: float | None = field(default=None, metadata=_OMIT)


@dataclass(frozen=True, slots=True)
class NoiseConfig:
    """The diffusion schedule, for training and inference alike.

    `final_alpha_one`: the last DDIM step ends at a noise-free image (diffusers' set_alpha_to_one,
    on in Moore-AnimateAnyone, off in Stable Diffusion), not at timestep 0.
    """

    prediction_type: Literal["epsilon", "v_prediction"]
    zero_terminal_snr: bool
    timestep_spacing: Literal["leading", "linspace", "trailing"]
    beta_schedule: Literal["linear", "scaled_linear"] = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    num_train_timesteps: int = 1000
    final_alpha_one: bool = False


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that decides the shape of the network and the meaning of its output.

    `appearance`: how the reference is shown (Table 3). `reference_net` and the two with `clip` give
    the image encoder's tokens to cross-attention, `controlnet` alone gives null tokens.
    `use_pose`: off leaves the Pose Guider out: image to video in AnimateDiff's manner, which the
    paper compares with in general.
    `more_sizes_hw`: other picture sizes that it was trained with, besides `size_hw`; None is none.
    `distilled_guidance`: of a network that was distilled to few steps, the guidance that is in it.
    `reference_latents`: whether the denoising UNet also reads the reference's latents, next to the
    noisy ones; not in the paper, and off unless set.
    `untrained`: True for weights of a base, such as Stable Diffusion, which were trained with
    neither this size nor this noise schedule: the training that starts from them decides both.
    """

    preset: str
    size_hw: tuple[int, int]
    vae: VaeConfig
    unet: UNetConfig
    temporal: TemporalConfig
    pose_guider: PoseGuiderConfig
    image_encoder: ImageEncoderConfig
    noise: NoiseConfig
    appearance: Appearance = "reference_net"
    use_pose: bool = True
    untrained: bool | None = field(default=None, metadata=_OMIT)
    distilled_guidance: float | None = field(default=None, metadata=_OMIT)
    more_sizes_hw: tuple[tuple[int, int], ...] | None = field(default=None, metadata=_OMIT)
    reference_latents: bool | None = field(default=None, metadata=_OMIT)

    def __post_init__(self) -> None:
        downscale = 1
        for stride in self.pose_guider.strides:
            downscale *= stride
        if downscale != self.vae.downscale:
            raise ConfigError(
                f"pose guider strides {self.pose_guider.strides} reduce by {downscale}, the VAE by "
                f"{self.vae.downscale}: choose strides whose product is {self.vae.downscale}"
            )
        for size_hw in self.sizes_hw:
            if any(side % self.vae.downscale for side in size_hw):
                raise ConfigError(f"size {size_hw} is not divisible by {self.vae.downscale}")
        if len(self.unet.attention) != len(self.unet.block_out_channels):
            raise ConfigError("unet.attention needs one value per level of block_out_channels")
        if not self.unet.attention[0]:
            raise ConfigError("the finest level of the UNets must have spatial attention")
        if self.noise.zero_terminal_snr and self.noise.prediction_type == "epsilon":
            raise ConfigError("at zero SNR epsilon says nothing of the image: use v_prediction")
        if self.reference_latents and self.appearance != "reference_net":
            raise ConfigError(f"reference_latents needs reference_net, not {self.appearance}")
        if self.temporal.clean_attention and self.noise.prediction_type == "epsilon":
            raise ConfigError("clean_attention reads the image of a velocity: use v_prediction")

    @property
    def sizes_hw(self) -> tuple[tuple[int, int], ...]:
        """All sizes that it was trained with; the first is that of videos unless asked for."""
        return (self.size_hw, *(self.more_sizes_hw or ()))

    @property
    def latent_hw(self) -> tuple[int, int]:
        height, width = self.size_hw
        return height // self.vae.downscale, width // self.vae.downscale


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One stage's training; what the paper does not have is off unless a preset sets it."""

    steps: int
    """Optimizer steps."""
    batch_size: int
    """Clips per step and process."""
    stride: int = 1
    """Stage 2: every so many frames of a clip; Moore-AnimateAnyone trains with 4."""
    num_frames: int = 1
    """Frames per clip: a window in stage 2; before it single frames that share one reference, so
    that ReferenceNet runs once for all of them."""
    early_num_frames: int = 0
    """Frames per clip in the first tenth of the steps, in which many steps teach more than many
    frames do; 0 is num_frames."""
    accumulate: int = 1
    """Batches whose gradients are averaged into one step."""
    lr: float
    """Peak learning rate; with adafactor a share of each tensor's root mean square."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises to `lr`."""
    lr_schedule: Literal["constant", "cosine"] = "constant"
    """After the warm-up: constant, or cosine to 0 over the steps or the time limit."""
    optimizer: Literal["adamw", "adamw8bit", "adafactor"] = "adamw"
    """Adafactor (Shazeer and Stern 2018) stores no second moment per weight; adamw8bit stores both
    moments in 8 bits (Dettmers et al. 2022, extra adamw8bit)."""
    offload_optimizer: bool = False
    """Keep the optimizer's state in main memory: room on the GPU for slower steps."""
    weight_decay: float = 0.01
    """Share of each weight that the optimizer takes off, times the learning rate."""
    lora_rank: int = 0
    """Stages 1, 2, personalize and distill: train low-rank updates (LoRA) of this rank of
    attention's projections, of a network that is trained already; 0 is off."""
    lora_alpha: float | None = None
    """The updates count alpha / rank; alpha is the rank unless given."""
    lora_parts: Annotated[tuple[LoraPart, ...], Parameter(consume_multiple=True)] = ()
    """What gets updates; unless given, those of the stage's own parts that are of the UNets."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights, which is then what is saved; 0 is off."""
    post_hoc_ema: bool = False
    """Keep two more averages and store them in OUT/ema at each save, of which `aa-model ema` makes
    one of any width after training (Karras et al. 2024)."""
    seed: int = 0
    """Decides new weights, the order of the clips, and the noise."""
    reference_drop: float = 0.1
    """Probability, per sample, of training without reference and image tokens."""
    timestep_shift: float = 1.0
    """Above 1 trains more on noisy timesteps."""
    noise_offset: float = 0.0
    """Strength of constant noise per channel; 0 is off."""
    min_snr_gamma: float | None = None
    """Gamma of min-SNR loss weights; off unless given."""
    autocast: bool = False
    """bfloat16 matrix products, where the device has them."""
    frozen_bfloat16: bool = False
    """Store frozen matrices in bfloat16, half the memory; needs autocast."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    cache_latents: bool = False
    """Encode each picture once and keep its latents in memory."""
    precomputed_latents: bool = False
    """Read what `aa-train precompute` stored; cache_latents is then not needed."""
    person_weight: float = 1.0
    """How much more an error counts in the person's box than outside of it; 1 is off."""
    kl_weight: float = 1e-6
    """Autoencoder only: weight of the KL divergence of its latents; `dc` latents have none."""
    gradient_weight: float = 0.0
    """Autoencoder only: weight of the L1 of edges."""
    perceptual_weight: float = 0.0
    """Autoencoder only: weight of LPIPS of AlexNet; 0 is off."""
    latent_noise: float = 0.0
    """Autoencoder only: noise on latents, in their standard deviations."""
    crop_px: int = 0
    """Autoencoder only: side of the random crops trained on; 0 is off."""
    temperature: float = 0.1
    """Image encoder only: temperature of its contrastive loss."""
    distill_guidance: float = 2.0
    """Distill only: guidance of the teacher, which the student then has in it; 1 is off."""
    distill_solver_steps: int = 50
    """Distill only: the student learns from steps of the teacher between so many timesteps."""
    compile: bool = False
    """Compile the UNets' blocks with torch.compile: slower first steps, faster ones after them."""

    def __post_init__(self) -> None:
        if self.frozen_bfloat16 and not self.autocast:
            raise ConfigError("frozen_bfloat16 needs autocast: add --autocast, or leave it out")
        if not self.lora_rank and (self.lora_alpha is not None or self.lora_parts):
            raise ConfigError("--lora-alpha and --lora-parts need --lora-rank: add it")
        if self.lora_rank and self.post_hoc_ema:
            raise ConfigError("--post-hoc-ema averages whole parts, not LoRAs: leave one out")
        if self.lora_rank < 0:
            raise ConfigError(f"lora_rank is {self.lora_rank}: expected 0 or more")
        for name in ("steps", "batch_size", "num_frames", "accumulate", "stride"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected 1 or more")
        if self.person_weight <= 0:
            raise ConfigError(f"person_weight is {self.person_weight:g}: expected more than 0")
        if not 2 <= self.distill_solver_steps <= 1000:
            raise ConfigError(
                f"distill_solver_steps is {self.distill_solver_steps}: expected 2 to 1000"
            )
        if self.perceptual_weight < 0:
            raise ConfigError(
                f"perceptual_weight is {self.perceptual_weight:g}: expected 0 or more"
            )
        if not 0 <= self.early_num_frames <= self.num_frames:
            raise ConfigError(
                f"early_num_frames is {self.early_num_frames}: expected at most num_frames, which "
                f"is {self.num_frames}, or 0"
            )

    def check_stage(self, stage: str) -> None:
        """Refuse values that the stage would ignore.

        Raises:
            ConfigError: an option that only other stages read has another value than its default.
        """
        for name, stages in _STAGES_OF.items():
            if stage not in stages and getattr(self, name) != _default_of(name):
                raise ConfigError(
                    f"--{name.replace('_', '-')} is an option of stage {', '.join(stages)}, and "
                    f"stage {stage} would ignore it: leave it out"
                )

    def frames_after(self, step: int) -> int:
        """Frames per clip of the step that follows `step` steps."""
        early = self.early_num_frames and step < self.steps / 10
        return self.early_num_frames if early else self.num_frames


def _default_of(name: str) -> Any:
    return TrainConfig.__dataclass_fields__[name].default


# Whose loss is the error of the predicted noise.
_OF_NOISE = ("1", "1-controlnet", "2", "personalize")
_OF_DIFFUSION = (*_OF_NOISE, "distill")
_WITH_FRAMES = ("autoencoder", *_OF_DIFFUSION)
# Fields of TrainConfig that not every stage reads, and those that do.
_STAGES_OF = {
    **dict.fromkeys(("num_frames", "early_num_frames"), _WITH_FRAMES),
    "stride": ("2", "personalize", "distill"),
    **dict.fromkeys(
        ("lora_rank", "lora_alpha", "lora_parts"), ("1", "2", "personalize", "distill")
    ),
    **dict.fromkeys(("distill_guidance", "distill_solver_steps"), ("distill",)),
    **dict.fromkeys(
        ("reference_drop", "timestep_shift", "noise_offset", "min_snr_gamma", "person_weight"),
        _OF_NOISE,
    ),
    **dict.fromkeys(
        ("gradient_checkpointing", "cache_latents", "precomputed_latents", "compile"),
        _OF_DIFFUSION,
    ),
    **dict.fromkeys(
        ("kl_weight", "gradient_weight", "perceptual_weight", "latent_noise", "crop_px"),
        ("autoencoder",),
    ),
    "temperature": ("image-encoder",),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """How a video is denoised."""

    steps: int = 20
    """Denoising steps of the scheduler; the paper takes 20 of DDIM."""
    guidance: float = 2.0
    """Weight of classifier-free guidance; 1 is off and halves the cost."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """Guide only the steps between these shares of all of them; the others cost half. An
    approximation (Kynkäänniemi et al. 2024 guide the middle noise levels only)."""
    deep_cache: int = 1
    """Run the deep layers of the denoising UNet in every N-th step only; 1 is off. An approximation
    (DeepCache, Ma et al. 2023), at the cost of memory for what is kept of each window."""
    window: int | None = None
    """Frames denoised together; unless given, as many as the network was trained with."""
    overlap: int | None = None
    """Frames that neighbouring windows share; a quarter of the window unless given."""
    merge: Merge = "edge"
    """How overlapping windows become one video: edge is the paper's, mean averages predictions,
    wrapped gives Moore-AnimateAnyone's numbers."""
    window_batch: int = 1
    """Windows denoised in one batch: faster on large devices, same result."""
    decode_batch: int = 8
    """Frames decoded in one batch."""
    autocast: bool = False
    """bfloat16 matrix products."""
    seed: int = 0
    """Of the initial noise."""

    def __post_init__(self) -> None:
        first, last = self.guidance_interval
        if not 0 <= first <= last <= 1:
            raise ConfigError(f"guidance between {first} and {last}: expected shares in [0, 1]")
        for name in ("steps", "deep_cache", "window", "window_batch", "decode_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: expected 1 or more")
        if self.deep_cache > max(1, self.steps - 1):
            raise ConfigError(
                f"deep_cache {self.deep_cache} would save nothing in {self.steps} steps: lower "
                "--deep-cache, or leave it out"
            )


@dataclass(frozen=True, slots=True)
class Preset:
    """A network and how each of its stages is trained."""

    model: ModelConfig
    training: dict[str, TrainConfig] = field(default_factory=dict)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of "HxW".

    Raises:
        ConfigError: it is not two positive multiples of 8.
    """
    sides = [int(side) for side in text.lower().split("x") if side.isascii() and side.isdigit()]
    if len(sides) != 2 or text.lower().count("x") != 1 or any(s < 8 or s % 8 for s in sides):
        raise ConfigError(
            f"size {text!r}: expected HEIGHTxWIDTH in pixels, both multiples of 8, such as 768x432"
        )
    return sides[0], sides[1]


def take_paths(options: Any) -> None:
    """Turn the strings that a Python caller gave into paths, in fields of a frozen dataclass that
    hold paths."""
    for f in dataclasses.fields(options):
        value, kind = getattr(options, f.name), str(f.type)
        if "Path" not in kind or value is None:
            continue
        if "tuple" in kind:
            value = (value,) if isinstance(value, str | Path) else value
            value = tuple(Path(path) for path in value)
        else:
            value = Path(value)
        object.__setattr__(options, f.name, value)


def parse_sizes(texts: Sequence[str], base_hw: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Heights and widths of several "HxW"; or of "buckets", see `aspect_buckets`.

    Raises:
        ConfigError: as `parse_size`; or the same size twice.
    """
    if tuple(texts) == ("buckets",):
        return aspect_buckets(base_hw)
    sizes = tuple(parse_size(text) for text in texts)
    if len(set(sizes)) < len(sizes):
        raise ConfigError(f"size {' '.join(texts)}: one of them is there twice")
    return sizes


def aspect_buckets(base_hw: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """`base_hw`, and sizes of about its area of the shapes 9:16, 3:4, 1:1, 4:3 and 16:9.

    Sides are multiples of 64, which every level of the UNets halves evenly, or of 8 where pictures
    are small.
    """
    step = 64 if min(base_hw) >= 256 else 8
    area = base_hw[0] * base_hw[1]
    found = [base_hw]
    for height, width in ((16, 9), (4, 3), (1, 1), (3, 4), (9, 16)):
        scale = math.sqrt(area / (height * width)) / step
        found.append((step * round(scale * height), step * round(scale * width)))
    return tuple(dict.fromkeys(found))


def to_json(config: Any) -> dict[str, Any]:
    """A dict of JSON types of any of the dataclasses here; `from_json` is its inverse."""
    row = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if value is not None or "omit_none" not in f.metadata:
            row[f.name] = to_json(value) if dataclasses.is_dataclass(value) else value
    return row


def from_json(kind: type[T], row: Any) -> T:
    """Build the dataclass `kind` from what `to_json` gave, after a trip through JSON or not.

    Raises:
        ConfigError: a field is missing, unknown, or of another type.
    """
    try:
        built = msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{kind.__name__}: {error}") from error
    unknown = sorted(_unknown(row, dataclasses.asdict(built)))  # type: ignore[call-overload]
    if unknown:
        raise ConfigError(f"{kind.__name__}: unknown fields {unknown}")
    return built


def _unknown(row: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """Keys of `row` and of its dicts that `known` lacks."""
    found = [key for key in row if key not in known]
    for key, value in row.items():
        if isinstance(value, dict) and isinstance(known.get(key), dict):
            found += _unknown(value, known[key])
    return found
