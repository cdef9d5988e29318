"""The stages of training: what each freezes, feeds and minimises. They differ in nothing else.

The paper has two stages (Sec. 3.3) and starts from Stable Diffusion's VAE and CLIP. Where neither
can be had, `autoencoder` and `image-encoder` train small ones of the same classes first.
`personalize` fine-tunes a finished network on one person's clips, as Table 1's DreamPose; `distill`
makes a network of few steps of stage 2's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from aa_datasets.loader.batch import Batch
from aa_model.checkpoints.lora import LORA_PARTS, add_lora
from aa_model.config import ModelConfig, TrainConfig
from aa_model.errors import ModelError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.networks.parts import PARTS, part_parameters, parts_of
from aa_model.training.autoencoder_loss import autoencoder_loss, measure_scaling_factor
from aa_model.training.contrastive_loss import contrastive_loss
from aa_model.training.diffusion_loss import Observe, as_videos, diffusion_loss
from aa_model.training.distillation_loss import Teacher, distillation_loss
from aa_model.training.latent_cache import LatentCache

Loss = Callable[[Batch, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of training.

    Attributes:
        name: as on the command line.
        needs: parts that must come from an earlier checkpoint; frozen.
        trains: parts whose weights move; every other weight stays.
        loader_stage: 1 feeds single frames of a clip, each a video of its own; 2 feeds windows.
        fine_tunes: whether what it trains must come from an earlier checkpoint, too.
    """

    name: str
    needs: tuple[str, ...]
    trains: tuple[str, ...]
    loader_stage: Literal[1, 2]
    fine_tunes: bool = False

    def of(self, config: ModelConfig) -> Stage:
        """The stage for a network of this appearance: only with the parts that it has.

        Raises:
            ModelError: nothing is left to train.
        """
        has = parts_of(config)
        needs, trains = (tuple(p for p in x if p in has) for x in (self.needs, self.trains))
        if not trains:
            raise ModelError(
                f"stage {self.name} trains {', '.join(self.trains)}, which a network with "
                f"appearance {config.appearance} does not have"
            )
        return replace(self, needs=needs, trains=trains)

    def with_lora(self, parts: tuple[str, ...]) -> Stage:
        """The stage that trains low-rank updates of a network which is trained already.

        Args:
            parts: which get updates; the UNets that the stage trains, unless given.

        Raises:
            ModelError: the stage's network does not have one of them.
        """
        everything = (*self.needs, *self.trains)
        trains = parts or tuple(part for part in self.trains if part in LORA_PARTS)
        absent = [part for part in trains if part not in everything]
        if absent or not trains:
            raise ModelError(
                f"stage {self.name} has no {', '.join(absent)} to adapt: --lora-parts takes "
                f"{', '.join(p for p in everything if p in LORA_PARTS)} here"
            )
        needs = tuple(part for part in everything if part not in trains)
        return replace(self, needs=needs, trains=trains, fine_tunes=True)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("autoencoder", (), ("vae",), 1),
        Stage("image-encoder", (), ("image_encoder",), 1),
        Stage("1", ("vae", "image_encoder"), ("reference_net", "denoising_unet", "pose_guider"), 1),
        # Table 3: stage 1 fine-tunes SD, then the ControlNet is trained on the frozen UNet.
        Stage(
            "1-controlnet",
            ("vae", "image_encoder", "denoising_unet", "pose_guider"),
            ("controlnet",),
            1,
        ),
        Stage(
            "2",
            tuple(part for part in PARTS if part != "temporal_layers"),
            ("temporal_layers",),
            2,
        ),
        # Windows, so that the temporal layers stay as they are and in their place.
        Stage(
            "personalize",
            ("vae", "image_encoder", "temporal_layers"),
            ("reference_net", "controlnet", "denoising_unet", "pose_guider"),
            2,
            fine_tunes=True,
        ),
        Stage(
            "distill",
            tuple(part for part in PARTS if part not in ("denoising_unet", "temporal_layers")),
            ("denoising_unet", "temporal_layers"),
            2,
            fine_tunes=True,
        ),
    )
}


def trained_parameters(
    model: AnimateAnyone, stage: Stage, config: TrainConfig | None = None
) -> dict[str, nn.Parameter]:
    """Freeze everything but what the stage trains, and return that, as `part.name`."""
    if stage.loader_stage == 2:
        model.add_temporal_layers()
    model.requires_grad_(False)
    model.eval()
    if config is not None and config.lora_rank:
        alpha = config.lora_rank if config.lora_alpha is None else config.lora_alpha
        return add_lora(model, stage.trains, config.lora_rank, alpha)
    trained = {
        f"{part}.{name}": parameter
        for part in PARTS
        if part in stage.trains
        for name, parameter in part_parameters(model, part).items()
    }
    for parameter in trained.values():
        parameter.requires_grad_(True)
    return trained


class StageLoss(nn.Module):
    """A stage's loss as a module over the whole network, which DistributedDataParallel can wrap."""

    def __init__(self, model: AnimateAnyone, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
        loss = self.loss(batch, generator)
        if isinstance(self, FSDPModule):
            # Every process must have every gradient: ReferenceNet rests in one whose clips all
            # lost their reference. (Of what this module itself gathered: it is whole now.)
            whole = [p for p in self.parameters() if not isinstance(p, DTensor) and p.requires_grad]
            loss = loss + 0 * sum(p.sum() for p in whole)
        return loss


def make_loss(
    model: AnimateAnyone,
    stage: Stage,
    config: TrainConfig,
    observe: Observe | None = None,
    teacher: Teacher | None = None,
) -> Loss:
    """The function of batch and generator that the stage minimises.

    Args:
        observe: told the timesteps [V] and the unweighted errors [V] of every diffusion loss.
        teacher: of stage distill; `model` as it is now unless given.
    """
    if stage.name == "autoencoder":
        perceptual = None
        if config.perceptual_weight:
            # Imported here: it needs lpips and torchvision, which nothing else of training does.
            from aa_model.training.perceptual_loss import MIN_SIDE_PX, make_perceptual_distance

            sides = itertools.chain(*model.config.sizes_hw)
            side_px = min(config.crop_px or math.inf, *sides)
            if side_px < MIN_SIDE_PX:
                raise ModelError(
                    f"a perceptual loss of pictures of {side_px} px: AlexNet needs {MIN_SIDE_PX}: "
                    "raise --crop-px, or leave out --perceptual-weight"
                )
            perceptual = make_perceptual_distance(model.device)
        return lambda batch, generator: autoencoder_loss(
            model, config, batch, generator, perceptual
        )
    if stage.name == "image-encoder":
        return lambda batch, generator: contrastive_loss(model, config, batch, generator)
    scheduler = make_scheduler(model.config.noise)
    encode = LatentCache(model).encode if config.cache_latents else model.encode
    single_frames = stage.loader_stage == 1

    if stage.name == "distill":
        taught_by = teacher or Teacher(model, config)
        return lambda batch, generator: distillation_loss(
            model, taught_by, scheduler, encode, config, as_videos(batch, single_frames=False),
            generator,
        )  # fmt: skip

    def loss(batch: Batch, generator: torch.Generator) -> Tensor:
        videos = as_videos(batch, single_frames=single_frames)
        return diffusion_loss(model, scheduler, encode, config, videos, generator, observe)

    return loss


def finish_stage(model: AnimateAnyone, stage: Stage, batch: Batch) -> None:
    """What must be measured before the weights are saved."""
    if stage.name == "autoencoder":
        model.set_scaling_factor(measure_scaling_factor(model, batch))
