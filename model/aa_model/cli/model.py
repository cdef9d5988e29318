"""aa-model: look at checkpoints, make them small, and a small keypoint network for puppets."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging

from aa_datasets.arguments import positive
from aa_model.checkpoints.animatediff import import_animatediff
from aa_model.checkpoints.moore import Companions, export_moore, import_moore
from aa_model.checkpoints.stable_diffusion import import_stable_diffusion
from aa_model.checkpoints.store import load_part, read_info, read_model, write_checkpoint
from aa_model.cli.command_line import run_command
from aa_model.cli.puppet_keypoints import detect_command, train_command
from aa_model.config import to_json
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import PRESETS

# What can be imported -> the preset that says what the files do not.
_IMPORTS = {"moore": "moore", "musepose": "musepose", "animatediff": "moore"}
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aa-model", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    info = commands.add_parser("info", help="what a checkpoint holds, and whether it is whole")
    info.add_argument("checkpoint", type=Path, metavar="DIR")
    info.set_defaults(run=_info)

    export = commands.add_parser("export", help="copy a checkpoint's weights, e.g. as fp16")
    export.add_argument("checkpoint", type=Path, metavar="DIR")
    export.add_argument("--to", choices=["moore"], help="in this public format, not in our own")
    export.add_argument("--out", type=Path, required=True)
    export.add_argument("--dtype", choices=list(_DTYPES), default="fp16",
                        help="of the weights that are written (default fp16)")  # fmt: skip
    export.set_defaults(run=_export)

    sd = commands.add_parser(
        "import-sd", help="make a checkpoint to start stage 1 from, of Stable Diffusion's weights"
    )
    sd.add_argument("--sd", type=Path, required=True, metavar="DIR", help="with unet/ and vae/")
    sd.add_argument("--image-encoder", type=Path, required=True, metavar="DIR")
    sd.add_argument("--preset", choices=list(PRESETS), default="paper",
                    help="what the files do not say (default paper)")  # fmt: skip
    sd.add_argument("--out", type=Path, required=True)
    sd.set_defaults(run=_import_sd)

    public = commands.add_parser("import", help="make a checkpoint of one in a public format")
    public.add_argument("--from", dest="kind", choices=list(_IMPORTS), required=True,
                        help="whose format it is")  # fmt: skip
    public.add_argument("source", type=Path, metavar="DIR_OR_FILE")
    public.add_argument("--out", type=Path, required=True)
    public.add_argument(
        "--preset", choices=list(PRESETS), help="for what the files do not say, e.g. the schedule"
    )
    public.add_argument("--beta-schedule", choices=["linear", "scaled_linear"],
                        help="the preset's unless given; moore trained with scaled_linear, and "
                        "its published inference settings say linear")  # fmt: skip
    for name, text in (("base", "UNet of the base"), ("vae", "VAE"), ("image-encoder", "encoder")):
        public.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"{text}, if elsewhere")
    public.set_defaults(run=_import)

    keypoints = commands.add_parser(
        "puppet-keypoints", help="a small keypoint network, trained where the pose is exact"
    ).add_subparsers(dest="verb", required=True)
    train = keypoints.add_parser("train", help="train it on shards")
    train.add_argument("shards", nargs="+", type=Path, metavar="SHARD")
    train.add_argument("--out", type=Path, required=True, metavar="FILE", help=".safetensors")
    train.add_argument("--steps", type=positive, default=1500)
    train.add_argument("--batch-size", type=positive, default=16)
    train.add_argument("--lr", type=float, default=2e-3)
    train.add_argument("--seed", type=int, default=0)
    train.set_defaults(run=train_command)
    detect = keypoints.add_parser("detect", help="keypoints of videos, one npz each")
    detect.add_argument(
        "videos",
        nargs="+",
        type=Path,
        metavar="FRAMES_OR_SHARD",
        help="a folder of <video>/<frame>.png, or tar shards",
    )
    detect.add_argument("--weights", type=Path, required=True, metavar="FILE")
    detect.add_argument("--out", type=Path, required=True, metavar="DIR")
    detect.set_defaults(run=detect_command)
    return parser


def _info(args: argparse.Namespace) -> None:
    info = read_info(args.checkpoint)
    model = AnimateAnyone(info.model, temporal="temporal_layers" in info.parts)
    for part in info.parts:
        load_part(model, args.checkpoint, part)
    absent = [part for part in parts_of(info.model) if part not in info.parts]
    height, width = info.model.size_hw
    print(f"{args.checkpoint}: preset {info.model.preset}, {height}x{width}, every hash is right")
    if absent:
        print(f"  absent: {', '.join(absent)}")
    for part, record in info.parts.items():
        size_mb = (args.checkpoint / f"{part}.safetensors").stat().st_size / 1e6
        print(
            f"  {part:16} {record.num_parameters / 1e6:8.3f} M {record.dtype:9} {size_mb:7.2f} MB  "
            f"sha256 {record.sha256[:16]}  {record.made_by}"
        )
    for name, value in to_json(info.model).items():
        print(f"  {name}: {value}")


def _export(args: argparse.Namespace) -> None:
    if args.to == "moore":
        export_moore(args.checkpoint, args.out, _DTYPES[args.dtype])
        print(f"{args.out}: the four files, base, VAE and image encoder as {args.dtype}")
        return
    info = read_info(args.checkpoint)
    model = read_model(args.checkpoint)
    made_by = {part: record.made_by for part, record in info.parts.items()}
    write_checkpoint(args.out, model, made_by, _DTYPES[args.dtype])
    size = sum(path.stat().st_size for path in args.out.glob("*.safetensors"))
    print(f"{args.out}: {size / 1e6:.2f} MB of weights as {args.dtype}")


def _import_sd(args: argparse.Namespace) -> None:
    import_stable_diffusion(PRESETS[args.preset].model, args.sd, args.image_encoder, args.out)
    print(f"{args.out}: start stage 1 with --init {args.out}")


def _import(args: argparse.Namespace) -> None:
    config = PRESETS[args.preset or _IMPORTS[args.kind]].model
    if args.beta_schedule:
        noise = replace(config.noise, beta_schedule=args.beta_schedule)
        config = replace(config, noise=noise)
    if args.kind == "animatediff":
        import_animatediff(config, args.source, args.out)
        print(f"{args.out}: start stage 2 with --init STAGE_1 {args.out}")
        return
    companions = Companions(args.base, args.vae, args.image_encoder)
    import_moore(config, args.source, args.out, companions)
    print(f"{args.out}: animate with --checkpoint {args.out}")


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    return run_command(
        "aa-model", lambda: args.run(args), when_stopped="no finished file is half written"
    )


if __name__ == "__main__":
    sys.exit(main())
