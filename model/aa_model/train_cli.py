"""aa-train: train one stage from shards."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import types
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import torch
from diffusers.utils import logging as diffusers_logging
from tqdm import tqdm

from aa_datasets.benchmark_split import TEST_SPLITS, refuse_test_clips
from aa_datasets.errors import DatasetError
from aa_datasets.loader import make_loader
from aa_datasets.sample import Batch
from aa_datasets.shards import read_record
from aa_model.checkpoint import find_parts, read_info
from aa_model.config import Appearance, TrainConfig, to_json
from aa_model.errors import ModelError, TrainingDiverged
from aa_model.memory import freeze_as_bfloat16
from aa_model.presets import PRESETS
from aa_model.processes import join_processes, make_generator, share_loss, wait_for_all
from aa_model.stages import STAGES, finish_stage, make_loss, trained_parameters
from aa_model.timestep_losses import TimestepLosses
from aa_model.train import TrainingState, train
from aa_model.train_report import print_plan, print_summary
from aa_model.training_run import Loader, Origin, RunFolder, make_model
from aa_model.training_samples import TrainingSamples

_HELP = {
    "batch_size": "clips per step",
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
    "kl_weight": "autoencoder only",
    "latent_noise": "autoencoder only: in standard deviations of the latents",
    "gradient_weight": "autoencoder only: weight of the edges' L1",
    "crop_px": "autoencoder only: train on random windows of this side; 0 is off",
    "temperature": "image-encoder only",
    "autocast": "bfloat16 matrix products",
    "cache_latents": "encode each picture once, keep it in memory",
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aa-train",
        description="Train one stage from shards. Stages 1 and 2 are the paper's (Sec. 3.3); "
        "autoencoder and image-encoder train the frozen parts where none can be had. On several "
        "GPUs: accelerate launch -m aa_model.train_cli ... (--batch-size is per process).",
    )
    parser.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="tar files")
    parser.add_argument("--stage", required=True, choices=list(STAGES))
    parser.add_argument("--preset", required=True, choices=list(PRESETS))
    parser.add_argument(
        "--appearance",
        choices=get_args(Appearance),
        help="how the reference is shown (Table 3): the preset's unless given, which is "
        "reference_net; stage 1-controlnet follows stage 1 where a ControlNet is wanted",
    )
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
    parser.add_argument("--save-every", type=int, default=500, metavar="N", help="in steps")
    parser.add_argument("--samples-every", type=int, default=0, metavar="N",
                        help="in steps, and before the first: pictures of two clips, and whether "
                        "reference and pose are heeded; 0 is off")  # fmt: skip
    parser.add_argument("--num-workers", type=int, default=0, help="processes that decode ahead")
    parser.add_argument(
        "--cache-gb", type=float, default=1.0, help="memory for decoded clips, per worker"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
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


def resolve_appearance(args: argparse.Namespace) -> Appearance:
    """As asked for; stage 1 else follows the preset, and later ones the network they go on with."""
    preset: Appearance = PRESETS[args.preset].model.appearance
    asked: Appearance | None = args.appearance
    if args.stage in ("1", "autoencoder", "image-encoder"):
        return asked or preset
    folder = find_parts(args.init).get("denoising_unet")
    return asked or (read_info(folder).model.appearance if folder else preset)


def run(args: argparse.Namespace) -> None:
    config = resolve(args)
    network = dataclasses.replace(PRESETS[args.preset].model, appearance=resolve_appearance(args))
    stage = STAGES[args.stage].of(network)
    processes = join_processes(args.device)
    if processes.world_size > 1 and math.isfinite(args.time_limit_s):
        raise ModelError("--time-limit-s is for one process: clocks differ; give --steps")
    torch.manual_seed(config.seed)
    origin = Origin.of(stage, args.init)
    model = make_model(network, stage, origin, config.seed)
    trained = trained_parameters(model, stage)
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
    if processes.is_first:
        print_plan(stage, config, model, origin)
    if args.recipe:
        clips = (entry.clip for path in args.shards for entry in read_record(path).clips)
        count = refuse_test_clips(args.recipe, clips)
        if processes.is_first:
            print(f"  recipe {args.recipe}: none of {count} clips is of its test split")
    if args.dry_run:
        return
    folder = RunFolder(args.out)
    description = {
        "stage": stage.name,
        "training": to_json(config),
        "model": to_json(model.config),
        "recipe": args.recipe,
        "shards": [path.name for path in args.shards],
        "init": [str(path) for path in args.init],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": processes.world_size,
    }
    if processes.is_first:
        folder.begin(description, resume=args.resume)
    wait_for_all(processes)
    loader = make_loader(
        args.shards,
        stage=stage.loader_stage,
        batch_size=config.batch_size,
        size_hw=model.config.size_hw,
        num_frames=config.num_frames,
        seed=config.seed,
        rank=processes.rank,
        world_size=processes.world_size,
        num_workers=args.num_workers,
        cache_bytes=int(args.cache_gb * 1e9),
    )
    model.to(processes.device).to(memory_format=torch.channels_last)
    state = TrainingState(trained, config, make_generator(processes, config))
    by_timestep = TimestepLosses(model.config.noise.num_train_timesteps)
    losses = folder.resume(model, state, loader, by_timestep)
    feed = _OnDevice(loader, processes.device)
    loss = make_loss(model, stage, config, by_timestep.observe)

    def save() -> None:
        if not processes.is_first:
            return
        if feed.last is not None:
            finish_stage(model, stage, feed.last)
        folder.save(model, stage, origin, state, loader, losses, by_timestep)

    samples = None
    if args.samples_every and processes.is_first:
        if "denoising_unet" not in (*stage.needs, *stage.trains):
            raise ModelError(f"stage {stage.name} makes no videos: leave out --samples-every")
        samples = TrainingSamples(model, args.shards, args.out)

    def sample() -> None:
        if samples is not None and state.step % args.samples_every == 0:
            with state.averaged():
                samples.write(state.step)

    if state.step == 0:
        sample()
    bar = tqdm(
        total=config.steps,
        initial=state.step,
        desc=f"stage {stage.name}",
        unit="step",
        mininterval=0.5 if sys.stderr.isatty() else 20,
        disable=not processes.is_first,
    )
    shown = None
    try:
        shared = share_loss(loss, model, processes, config)
        for step in train(state, shared, feed, config, time_limit_s=args.time_limit_s):
            losses.append(step)
            shown = step.loss if shown is None else 0.98 * shown + 0.02 * step.loss
            bar.set_postfix_str(f"loss {shown:.4f} |grad| {step.grad_norm:.2f}", refresh=False)
            bar.update()
            sample()
            if step.step % args.save_every == 0:
                save()
    except TrainingDiverged as error:
        save()
        raise TrainingDiverged(f"{error}; the weights before it are in {args.out}") from error
    finally:
        bar.close()
    save()
    wait_for_all(processes)
    if processes.is_first:
        print_summary(losses, state, args.out)


class _OnDevice:
    """Batches moved to a device; keeps the last one, which finish_stage measures on."""

    def __init__(self, loader: Loader[Batch], device: torch.device) -> None:
        self.loader = loader
        self.device = device
        self.last: Batch | None = None

    def __iter__(self) -> _OnDevice:
        return self

    def __next__(self) -> Batch:
        batch = next(self.loader)
        self.last = dataclasses.replace(
            batch,
            reference=batch.reference.to(self.device),
            target=batch.target.to(self.device),
            pose=batch.pose.to(self.device),
        )
        return self.last


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    try:
        run(args)
    except (ModelError, DatasetError, OSError) as error:
        print(f"aa-train: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
