"""aa-train: train one stage from shards."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from torch import nn

from aa_datasets.benchmarks.split import refuse_test_clips
from aa_datasets.loader.batch import Batch, FrameBatch
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.loader import ShardLoader, make_loader
from aa_datasets.shards import find_shards, read_record
from aa_model.checkpoints.store import read_info
from aa_model.cli.command_line import run_command
from aa_model.cli.train_parser import make_parser, resolve, resolve_network
from aa_model.config import TrainConfig, to_json
from aa_model.errors import ModelError, TrainingDiverged
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.training import precompute
from aa_model.training.distributed import (
    Processes,
    join_processes,
    make_generator,
    share_loss,
    wait_for_all,
)
from aa_model.training.loop import TrainingState, train
from aa_model.training.memory import freeze_as_bfloat16
from aa_model.training.progress import TrainingWatch
from aa_model.training.report import print_plan, print_step_time, print_summary
from aa_model.training.run_folder import Loader, Origin, RunFolder, make_model
from aa_model.training.stages import STAGES, Stage, finish_stage, make_loss, trained_parameters
from aa_model.training.step_time import measure_step_s
from aa_model.training.timestep_losses import TimestepLosses


@dataclass(frozen=True)
class Plan:
    """What the arguments come to, before anything is written."""

    config: TrainConfig
    stage: Stage
    processes: Processes
    origin: Origin
    model: AnimateAnyone
    trained: dict[str, nn.Parameter]


def make_plan(args: argparse.Namespace) -> Plan:
    """Build the network, load its parts, freeze what the stage does not train."""
    config = resolve(args)
    network = resolve_network(args)
    stage = STAGES[args.stage].of(network)
    if config.precomputed_latents:
        precompute.check_applies(stage, network)
    if args.samples_every and "denoising_unet" not in (*stage.needs, *stage.trains):
        raise ModelError(f"stage {stage.name} makes no videos: leave out --samples-every")
    if args.samples_from and not args.samples_every:
        raise ModelError("--samples-from needs --samples-every N, which says when")
    if args.text_mask and "denoising_unet" not in (*stage.needs, *stage.trains):
        raise ModelError(f"stage {stage.name} has no diffusion loss: leave out --text-mask")
    if args.draw_face and "pose_guider" not in (*stage.needs, *stage.trains):
        raise ModelError(f"stage {stage.name} sees no skeletons: leave out --draw-face")
    processes = join_processes(args.device)
    if processes.world_size > 1 and math.isfinite(args.time_limit_s):
        raise ModelError("--time-limit-s is for one process: clocks differ; give --steps")
    torch.manual_seed(config.seed)
    origin = Origin.of(stage, args.init)
    model = make_model(network, stage, origin, config.seed)
    if model.has_temporal_layers and config.num_frames > model.config.temporal.max_frames:
        raise ModelError(
            f"{config.num_frames} frames a clip: the temporal layers have positions for "
            f"{model.config.temporal.max_frames}: lower --num-frames"
        )
    trained = trained_parameters(model, stage)
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
    return Plan(config, stage, processes, origin, model, trained)


def describe(args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """What run.json tells of a run."""
    return {
        "stage": plan.stage.name,
        "training": to_json(plan.config),
        "model": to_json(plan.model.config),
        "recipe": args.recipe,
        "text_mask": args.text_mask,
        "shards": [path.name for path in args.shards],
        "split": args.split,
        "too_short_at_most": args.too_short_at_most,
        "init": [str(path) for path in args.init],
        "frozen": {
            part: read_info(folder).parts[part].sha256
            for part, folder in plan.origin.sources.items()
            if part not in plan.stage.trains
        },
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": plan.processes.world_size,
    }


def open_loader(args: argparse.Namespace, plan: Plan) -> ShardLoader:
    config, model = plan.config, plan.model.config
    key = None
    if config.precomputed_latents:
        key = precompute.latents_key(model, plan.origin.sources)
    return make_loader(
        args.shards,
        LoaderConfig(
            stage=plan.stage.loader_stage,
            batch_size=config.batch_size,
            size_hw=model.size_hw,
            num_frames=config.num_frames,
            seed=config.seed,
            num_workers=args.num_workers,
            cache_bytes=int(args.cache_gb * 1e9),
            latents=key,
            text_mask=args.text_mask,
            draw_face=model.pose_guider.face,
            split=args.split,
            too_short_at_most=args.too_short_at_most,
        ),
        rank=plan.processes.rank,
        world_size=plan.processes.world_size,
    )


def run(args: argparse.Namespace) -> None:
    args.shards = find_shards(args.shards)
    args.samples_from = find_shards(args.samples_from)
    for path in args.samples_from:
        read_record(path)  # now, not when the first samples are due
    plan = make_plan(args)
    config, stage, processes, model = plan.config, plan.stage, plan.processes, plan.model
    if processes.is_first:
        print_plan(stage, config, model, plan.origin)
    every = [entry.clip for path in args.shards for entry in read_record(path).clips]
    clips = [clip for clip in every if args.split in {None, clip.split}]
    if args.recipe:
        count = refuse_test_clips(args.recipe, clips)
        if processes.is_first:
            print(f"  recipe {args.recipe}: none of {count} clips is of its test split")
    held_out = sum(clip.split != "train" for clip in clips)
    if held_out and processes.is_first:
        print(
            f"  warning: {held_out} of {len(clips)} clips are of another split than train: "
            "--split train leaves them out"
        )
    if args.dry_run:
        return
    folder = RunFolder(args.out)
    if processes.is_first:
        folder.begin(describe(args, plan), resume=args.resume)
    wait_for_all(processes)
    loader = open_loader(args, plan)
    model.place(processes.device)
    state = TrainingState(plan.trained, config, make_generator(processes, config))
    by_timestep = TimestepLosses(model.config.noise.num_train_timesteps, processes)
    losses = folder.resume(model, state, loader, by_timestep)
    feed = _OnDevice(loader, processes.device)
    loss = make_loss(model, stage, config, by_timestep.observe)
    if processes.is_first and state.step < config.steps:
        step_s = measure_step_s(model, stage, config, processes.device)
        print_step_time(step_s, config, state.step, model)

    with TrainingWatch.of(args, model, stage, config, state, processes) as watch:

        def save() -> None:
            by_timestep.take_row(state.step)
            if not processes.is_first:
                return
            if feed.last is not None:
                finish_stage(model, stage, feed.last)
            folder.save(model, stage, plan.origin, state, loader, losses, by_timestep)
            watch.saved(by_timestep)

        try:
            shared = share_loss(loss, model, processes, config)
            for step in train(state, shared, feed, config, time_limit_s=args.time_limit_s):
                losses.append(step)
                watch.stepped(step)
                if step.step % args.save_every == 0:
                    save()
        except TrainingDiverged as error:
            save()
            wait_for_all(processes)  # whoever leaves first ends the others
            seen = ", ".join(feed.last.clip_ids) if feed.last else "none"
            raise TrainingDiverged(
                f"{error}; the last clips were {seen}; the weights before it are in {args.out}"
            ) from error
        save()
    wait_for_all(processes)
    if processes.is_first:
        print_summary(losses, state, args.out)


class _OnDevice:
    """Batches moved to a device; keeps the last one, which finish_stage measures on."""

    def __init__(self, loader: Loader[FrameBatch], device: torch.device) -> None:
        self.loader = loader
        self.device = device
        self.last: Batch | None = None

    def __iter__(self) -> _OnDevice:
        return self

    def __next__(self) -> Batch:
        self.last = next(self.loader).to(self.device)
        return self.last


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    if argv[:1] == ["precompute"]:
        args = precompute.make_parser().parse_args(argv[1:])
        return run_command(
            "aa-train",
            lambda: precompute.precompute(args),
            when_stopped="finished shards are kept, the same command goes on behind them",
        )
    args = make_parser().parse_args(argv)
    return run_command(
        "aa-train",
        lambda: run(args),
        when_stopped="--resume goes on from the last save, if there was one",
    )


if __name__ == "__main__":
    sys.exit(main())
