"""TrainOptions and PrecomputeOptions: what `aa-train` and its Python functions take."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Group, Parameter

from aa_datasets.command_line import NonNegativeInt, PositiveInt, Share
from aa_model.checkpoints.folder import refuse_other_folders
from aa_model.config import (
    Appearance,
    Benchmark,
    StageName,
    TrainConfig,
    take_paths,
    to_json,
)
from aa_model.errors import ModelError
from aa_model.presets import PRESETS, PresetName

_DATA = Group("Data", sort_key=1)
_NETWORK = Group("Network", sort_key=2)
_WATCH = Group("Watching and saving", sort_key=3)
_MACHINE = Group("Machine", sort_key=4)
_OF_NOISE_ALONE = (
    "reference_drop", "timestep_shift", "noise_offset", "min_snr_gamma", "person_weight",
)  # fmt: skip


@dataclass(frozen=True)
class TrainOptions:
    """One stage of training, for `train_stage`."""

    shards: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)]
    """Tar files, or an `aa-curate` corpus folder (all its shards)."""
    _: KW_ONLY
    stage: StageName
    """What to train. Stages 1 and 2 are the paper's (Sec. 3.3); 1-controlnet follows 1 where a
    ControlNet is wanted; autoencoder and image-encoder train small frozen parts; personalize
    fine-tunes a finished network on the clips of one person; distill makes a network of 4 to 8
    steps of stage 2's."""
    preset: PresetName
    """Sizes of the networks, and the stage's training."""
    out: Path
    """Folder of the run: checkpoint, exact state, loss curve, samples."""
    init: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, show_default=False)] = ()
    """Checkpoints to start from; parts of later ones win."""
    resume: bool = False
    """Resume the run in --out from its last save."""
    resume_step: PositiveInt | None = None
    """Resume from the checkpoint that --keep kept at this step; steps after it are made again."""
    dry_run: bool = False
    """Print what would be trained, and write nothing; needs no weights."""
    split: Annotated[str | None, Parameter(group=_DATA)] = None
    """Train only on clips of this split, such as train."""
    exclude_test_of: Annotated[Benchmark | None, Parameter(group=_DATA)] = None
    """Stop if a clip is one of this benchmark's test videos, or of another split than train
    (Sec. 4.3)."""
    too_short_at_most: Annotated[Share, Parameter(group=_DATA)] = 0.5
    """Share of clips that may be left out because they are shorter than the stage's window; more
    is an error."""
    text_mask: Annotated[bool, Parameter(group=_DATA)] = False
    """Stages 1 and 2: no loss on overlaid text that `aa-curate` found."""
    appearance: Annotated[Appearance | None, Parameter(group=_NETWORK)] = None
    """How the reference is shown (Table 3); the preset's unless given, which is reference_net."""
    size: Annotated[tuple[str, ...], Parameter(group=_NETWORK, consume_multiple=True)] = ()
    """Height x width of the pictures, multiples of 8, such as 768x432: portrait videos are then
    not cropped to a square. With several, each clip takes the nearest to its own shape; `buckets`
    makes five, from 9:16 to 16:9. Unless given, what --init was trained with, or the preset's."""
    pose: Annotated[bool, Parameter(group=_NETWORK)] = True
    """Stage 1: with a Pose Guider. Without one the network animates an image freely, and so do the
    stages that follow."""
    draw_face: Annotated[bool, Parameter(group=_NETWORK, negative=())] = False
    """Stage 1: skeletons show the face's points where clips have them; later stages follow."""
    reference_latents: Annotated[bool, Parameter(group=_NETWORK, negative=())] = False
    """Stage 1: the denoising UNet reads the reference's latents next to the noisy ones, too, which
    keeps the background; not in the paper. Later stages follow."""
    time_limit_s: Annotated[float, Parameter(group=_WATCH, show_default=False)] = math.inf
    """Stop after this many seconds of training."""
    save_every: Annotated[PositiveInt, Parameter(group=_WATCH)] = 500
    """Steps between checkpoints."""
    keep: Annotated[NonNegativeInt, Parameter(group=_WATCH)] = 0
    """Keep so many of the last checkpoints, each in OUT/kept/step-N; 0 keeps the newest only."""
    samples_every: Annotated[NonNegativeInt, Parameter(group=_WATCH)] = 0
    """Every so many steps, and before the first: animate two clips and measure whether reference
    and pose change the result; 0 is off."""
    samples_from: Annotated[
        tuple[Path, ...], Parameter(group=_WATCH, consume_multiple=True, show_default=False)
    ] = ()
    """Take the two clips from these shards, such as held-out ones; by default the first two of the
    training's."""
    held_out: Annotated[
        tuple[Path, ...], Parameter(group=_WATCH, consume_multiple=True, show_default=False)
    ] = ()
    """Shards of clips that are not trained on, for the held-out loss: of fixed windows, timesteps
    and noise, written to OUT/held_out.csv, and equal between runs that are to be compared."""
    held_out_every: Annotated[NonNegativeInt, Parameter(group=_WATCH)] = 0
    """Measure it every so many steps, and before the first."""
    held_out_clips: Annotated[PositiveInt, Parameter(group=_WATCH)] = 32
    """Look at no more than so many of the clips; always the same ones."""
    tensorboard: Annotated[bool, Parameter(group=_WATCH, negative=())] = False
    """Write losses, rates and samples to OUT/tensorboard too."""
    wandb: Annotated[str | None, Parameter(group=_WATCH)] = None
    """Send them to this project of Weights & Biases; WANDB_MODE=offline keeps them in OUT/wandb."""
    num_workers: Annotated[NonNegativeInt, Parameter(group=_MACHINE)] = 0
    """Processes that decode ahead."""
    cache_gb: Annotated[float, Parameter(group=_MACHINE)] = 1.0
    """Decoded clips that each process keeps in memory."""
    device: Annotated[str | None, Parameter(group=_MACHINE)] = None
    """By default cuda if torch sees a GPU, else cpu."""
    training: Annotated[TrainConfig | None, Parameter(parse=False)] = None
    """Steps, batch size, learning rate...; None takes the preset's for the stage."""

    def __post_init__(self) -> None:
        take_paths(self)

    def check_files(self) -> None:
        """Name the first input that is not there, before anything slow is done.

        Raises:
            CheckpointError: a folder of `init` is missing.
            DatasetError: a shard is.
        """
        from aa_datasets.shards import find_shards  # here: it needs NumPy, which help does not

        for shards in (self.shards, self.samples_from, self.held_out):
            find_shards(shards)
        for folder in self.init:
            refuse_other_folders(folder)

    @property
    def config(self) -> TrainConfig:
        """`training`, or the preset's.

        Raises:
            ModelError: the preset cannot train this stage.
        """
        found = self.training or preset_training(self.preset, self.stage)
        if found is None:
            raise ModelError(
                f"preset {self.preset} has no stage {self.stage}: load its frozen parts by --init"
            )
        return found


def to_toml(options: TrainOptions) -> bytes:
    """All options as `aa-train --options` reads them; what only starts or stops a run is left out.

    The training's numbers are those of the preset where none were given.
    """
    rows = {name: getattr(options, name) for name in (f.name for f in fields(options))}
    for name in ("resume", "resume_step", "dry_run", "training"):
        del rows[name]
    rows |= to_json(options.config)
    named = {name.replace("_", "-"): value for name, value in rows.items()}
    given = {name: value for name, value in named.items() if value not in (None, ())}
    return msgspec.toml.encode(given, enc_hook=str)


@dataclass(frozen=True)
class PrecomputeOptions:
    """What to encode once for training with `precomputed_latents`, for `precompute`."""

    shards: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)]
    """Tar files, or an `aa-curate` corpus folder (all its shards)."""
    _: KW_ONLY
    preset: PresetName
    """The preset of the training."""
    init: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)]
    """Checkpoints with vae and image_encoder, as --init of aa-train."""
    batch_size: PositiveInt = 8
    """Frames encoded together."""
    size: str | None = None
    """Height x width of the training; unless given, that of --init or the preset."""
    replace: bool = False
    """Replace latents that other encoders made."""
    device: str | None = None
    """By default cuda if torch sees a GPU, else cpu."""

    def __post_init__(self) -> None:
        take_paths(self)


def preset_training(preset: str, stage: str) -> TrainConfig | None:
    """A preset's training of a stage; stage 1-controlnet has the budget of stage 1, as Table 3, and
    distill half of stage 2's."""
    training = PRESETS[preset].training
    if stage == "distill" and "2" in training:
        # What its loss does not read has the default.
        same: dict[str, Any] = {
            f.name: f.default for f in fields(TrainConfig) if f.name in _OF_NOISE_ALONE
        }
        return replace(training["2"], steps=max(1, training["2"].steps // 2), **same)
    return training.get("1" if stage == "1-controlnet" else stage)
