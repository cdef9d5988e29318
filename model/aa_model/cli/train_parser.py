"""aa-train's arguments, and what they and the preset come to."""

from __future__ import annotations

import argparse
import dataclasses
import math
import types
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from aa_datasets.arguments import positive, share
from aa_datasets.benchmarks.split import TEST_SPLITS
from aa_model.checkpoints.store import find_parts, read_info
from aa_model.cli.command_line import add_device
from aa_model.config import Appearance, ModelConfig, TrainConfig
from aa_model.errors import ModelError
from aa_model.presets import PRESETS
from aa_model.training.stages import STAGES

_HELP = {
    "steps": "of the optimizer",
    "batch_size": "clips per step and process",
    "lr": "the highest learning rate",
    "warmup_steps": "the learning rate rises to it over these",
    "weight_decay": "of AdamW",
    "max_grad_norm": "gradients are scaled down to this norm",
    "gradient_checkpointing": "compute activations again in the backward pass: less memory",
    "seed": "of the weights, the order of the clips and the noise",
    "num_frames": "frames per clip: a window in stage 2, single ones before it",
    "lr_schedule": "constant, or cosine to 0 over the steps or the time limit",
    "reference_drop": "probability per sample of no reference",
    "accumulate": "batches whose gradients are averaged into one step",
    "optimizer": "adafactor keeps no second weight per weight; its lr is relative",
    "frozen_bfloat16": "half the memory for what is not trained; needs --autocast",
    "timestep_shift": "above 1 trains more on noisy timesteps",
    "noise_offset": "0 is off",
    "min_snr_gamma": "gamma of min-SNR weights; off unless given",
    "ema_decay": "decay of the averaged weights that are saved; 0 is off",
    "person_weight": "what an error inside of the person's box counts; 1 is off",
    "kl_weight": "autoencoder only",
    "perceptual_weight": "autoencoder only: weight of LPIPS of AlexNet; 0 is off",
    "latent_noise": "autoencoder only: in standard deviations of the latents",
    "gradient_weight": "autoencoder only: weight of the edges' L1",
    "crop_px": "autoencoder only: train on random windows of this side; 0 is off",
    "temperature": "image-encoder only",
    "autocast": "bfloat16 matrix products",
    "cache_latents": "encode each picture once, keep it in memory",
    "precomputed_latents": "read what `aa-train precompute` stored; comes before cache_latents",
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aa-train",
        description="Train one stage from shards. Stages 1 and 2 are the paper's (Sec. 3.3); "
        "autoencoder and image-encoder train the frozen parts where none can be had. On several "
        "GPUs: accelerate launch -m aa_model.cli.train ... (--batch-size is per process). "
        "`aa-train precompute --help`: the frozen encoders' output, stored once beside the shards.",
    )
    parser.add_argument("shards", nargs="+", type=Path, metavar="SHARD",
                        help="tar files, or a corpus of aa-curate with all of its")  # fmt: skip
    parser.add_argument("--split", help="train on clips of this split alone, such as train")
    parser.add_argument("--too-short-at-most", type=share, default=0.5, metavar="SHARE",
                        help="of clips that are left out, being shorter than the stage's window "
                        "(default 0.5; more is an error)")  # fmt: skip
    parser.add_argument("--stage", required=True, choices=list(STAGES), help="what is trained")
    parser.add_argument("--preset", required=True, choices=list(PRESETS),
                        help="sizes of the networks, and the stage's training")  # fmt: skip
    parser.add_argument(
        "--appearance",
        choices=get_args(Appearance),
        help="how the reference is shown (Table 3): the preset's unless given, which is "
        "reference_net; stage 1-controlnet follows stage 1 where a ControlNet is wanted",
    )
    parser.add_argument("--no-pose", action="store_true", help="stage 1: leave the Pose Guider "
                        "out, image to video; later stages follow")  # fmt: skip
    parser.add_argument("--draw-face", action="store_true", help="stage 1: skeletons show the "
                        "face's points, where clips have them; all that follows does")  # fmt: skip
    parser.add_argument("--text-mask", action="store_true", help="stages 1 and 2: no loss on text "
                        "that aa-curate found laid over a clip")  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, help="the run's folder")
    parser.add_argument(
        "--init",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="checkpoints to start from; the parts of later ones win",
    )
    parser.add_argument(
        "--recipe",
        choices=TEST_SPLITS,
        help="train on this benchmark's train split alone (Sec. 4.3): stop if a clip is of its "
        "test videos, or of another split",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--time-limit-s", type=float, default=math.inf, help="stop after this")
    parser.add_argument("--save-every", type=positive, default=500, metavar="N",
                        help="steps between checkpoints (default 500)")  # fmt: skip
    parser.add_argument("--samples-every", type=int, default=0, metavar="N",
                        help="in steps, and before the first: pictures of two clips, and whether "
                        "reference and pose are heeded; 0 is off")  # fmt: skip
    parser.add_argument("--samples-from", nargs="+", type=Path, default=[], metavar="SHARD",
                        help="take the two clips from here, such as held-out ones (default: the "
                        "first two of the training's shards)")  # fmt: skip
    parser.add_argument("--tensorboard", action="store_true",
                        help="OUT/tensorboard too: losses, rates, samples as videos")  # fmt: skip
    parser.add_argument("--num-workers", type=int, default=0, metavar="N",
                        help="processes that decode ahead (default 0: none)")  # fmt: skip
    parser.add_argument(
        "--cache-gb",
        type=float,
        default=1.0,
        help="for decoded clips, per worker (default 1)",
    )
    add_device(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would be trained")
    group = parser.add_argument_group("training (defaults: the preset's)")
    hints = get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        text = _HELP.get(field.name)
        hint = hints[field.name]
        if hint is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif get_origin(hint) is Literal:
            group.add_argument(flag, choices=get_args(hint), help=text)
        else:
            kind = get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
            group.add_argument(flag, type=kind, help=text)
    return parser


def resolve(args: argparse.Namespace) -> TrainConfig:
    """The preset's training configuration with the flags that were given."""
    preset = PRESETS[args.preset]
    stage = "1" if args.stage == "1-controlnet" else args.stage  # of equal budget, as Table 3 asks
    if stage not in preset.training:
        raise ModelError(
            f"preset {args.preset} has no stage {args.stage}: load its frozen parts by --init"
        )
    names = [f.name for f in dataclasses.fields(TrainConfig)]
    given = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
    return dataclasses.replace(preset.training[stage], **given)


def resolve_network(args: argparse.Namespace) -> ModelConfig:
    """The preset's network with appearance and pose as asked for in stage 1.

    Later stages go on with the network that stage 1 trained.

    Raises:
        ModelError: --no-pose with a network that was trained with poses, or --draw-face with one
            that was trained without, or with no poses at all.
    """
    preset = PRESETS[args.preset].model
    first = args.stage in ("1", "autoencoder", "image-encoder")
    folder = None if first else find_parts(args.init).get("denoising_unet")
    before = read_info(folder).model if folder else preset
    if args.no_pose and folder and before.use_pose:
        raise ModelError(f"{folder} was trained with poses: give --no-pose to stage 1 already")
    use_pose = before.use_pose and not args.no_pose
    if args.draw_face and not use_pose:
        raise ModelError("--draw-face without poses: leave one of --draw-face and --no-pose out")
    trained = find_parts(args.init).get("pose_guider")
    if args.draw_face and trained and not read_info(trained).model.pose_guider.face:
        raise ModelError(
            f"{trained} was trained on skeletons without faces: give --draw-face to its stage 1, "
            "or leave it out"
        )
    guider = preset.pose_guider
    return dataclasses.replace(
        preset,
        appearance=args.appearance or before.appearance,
        use_pose=use_pose,
        pose_guider=dataclasses.replace(guider, face=guider.face or args.draw_face),
    )
