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

from aa_datasets.errors import DatasetError
from aa_datasets.loader import make_loader
from aa_datasets.sample import Batch
from aa_model.config import TrainConfig, to_json
from aa_model.errors import ModelError, TrainingDiverged
from aa_model.parts import count_parameters
from aa_model.presets import PRESETS
from aa_model.stages import STAGES, Stage, finish_stage, make_loss, trained_parameters
from aa_model.train import Step, TrainingState, train
from aa_model.training_run import Loader, Origin, RunFolder, make_model

_HELP = {
    "batch_size": "clips per step",
    "num_frames": "frames per clip: a window in stage 2, single ones before it",
    "lr_schedule": "constant, or cosine to 0 over the steps or the time limit",
    "reference_drop": "probability per sample of no reference",
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
        "autoencoder and image-encoder train the frozen parts where none can be had.",
    )
    parser.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="tar files")
    parser.add_argument("--stage", required=True, choices=list(STAGES))
    parser.add_argument("--preset", required=True, choices=list(PRESETS))
    parser.add_argument("--out", required=True, type=Path, help="the run's folder")
    parser.add_argument(
        "--init",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="checkpoints to start from; the parts of later ones win",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--time-limit-s", type=float, default=math.inf, help="stop after this")
    parser.add_argument("--save-every", type=int, default=500, metavar="N", help="in steps")
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
    if args.stage not in preset.training:
        raise ModelError(
            f"preset {args.preset} has no stage {args.stage}: load its frozen parts by --init"
        )
    names = [f.name for f in dataclasses.fields(TrainConfig)]
    given = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
    return dataclasses.replace(preset.training[args.stage], **given)


def run(args: argparse.Namespace) -> None:
    stage, config = STAGES[args.stage], resolve(args)
    torch.manual_seed(config.seed)
    origin = Origin.of(stage, args.init)
    model = make_model(PRESETS[args.preset].model, stage, origin, config.seed)
    trained = trained_parameters(model, stage)
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    _print_plan(stage, config, model.config.size_hw, count_parameters(model), origin)
    if args.dry_run:
        return
    folder = RunFolder(args.out)
    description = {
        "stage": stage.name,
        "training": to_json(config),
        "model": to_json(model.config),
        "shards": [path.name for path in args.shards],
        "init": [str(path) for path in args.init],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    folder.begin(description, resume=args.resume)
    loader = make_loader(
        args.shards,
        stage=stage.loader_stage,
        batch_size=config.batch_size,
        size_hw=model.config.size_hw,
        num_frames=config.num_frames,
        seed=config.seed,
        num_workers=args.num_workers,
        cache_bytes=int(args.cache_gb * 1e9),
    )
    model.to(args.device).to(memory_format=torch.channels_last)
    state = TrainingState(trained, config)
    losses = folder.resume(model, state, loader)
    feed = _OnDevice(loader, torch.device(args.device))

    def save() -> None:
        if feed.last is not None:
            finish_stage(model, stage, feed.last)
        folder.save(model, stage, origin, state, loader, losses)

    bar = tqdm(
        total=config.steps,
        initial=state.step,
        desc=f"stage {stage.name}",
        unit="step",
        mininterval=0.5 if sys.stderr.isatty() else 20,
    )
    shown = None
    try:
        for step in train(
            state, make_loss(model, stage, config), feed, config, time_limit_s=args.time_limit_s
        ):
            losses.append(step)
            shown = step.loss if shown is None else 0.98 * shown + 0.02 * step.loss
            bar.set_postfix_str(f"loss {shown:.4f} |grad| {step.grad_norm:.2f}", refresh=False)
            bar.update()
            if step.step % args.save_every == 0:
                save()
    except TrainingDiverged as error:
        save()
        raise TrainingDiverged(f"{error}; the weights before it are in {args.out}") from error
    finally:
        bar.close()
    save()
    _print_summary(losses, state, args.out)


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


def _print_plan(
    stage: Stage,
    config: TrainConfig,
    size_hw: tuple[int, int],
    counts: dict[str, int],
    origin: Origin,
) -> None:
    print(f"stage {stage.name} at {size_hw[0]}x{size_hw[1]}")
    print("  " + ", ".join(f"{name} {value}" for name, value in to_json(config).items()))
    for part, count in counts.items():
        if count and (part in stage.needs or part in stage.trains or part in origin.sources):
            role = "trained" if part in stage.trains else "frozen"
            source = f"from {origin.sources[part]}" if part in origin.sources else "new"
            print(f"  {part:16} {count / 1e6:8.3f} M  {role:8} {source}")


def _print_summary(losses: list[Step], state: TrainingState, out: Path) -> None:
    if not losses:
        print(f"nothing to do: {state.step} steps were already made; raise --steps")
        return
    tenth = max(1, len(losses) // 10)
    first = sum(s.loss for s in losses[:tenth]) / tenth
    last = sum(s.loss for s in losses[-tenth:]) / tenth
    print(
        f"{state.step} steps in {state.seconds:.0f} s; mean loss of the first tenth {first:.4f}, "
        f"of the last {last:.4f}; checkpoint and loss.csv in {out}"
    )


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
