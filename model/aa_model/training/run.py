"""train_stage: one stage of training from options to a checkpoint; resumable at any save."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from aa_datasets.atomic_file import replace_file
from aa_datasets.benchmarks.split import refuse_test_clips
from aa_datasets.clip import Clip
from aa_datasets.loader.batch import Batch, FrameBatch
from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.loader import make_loader
from aa_datasets.shards import find_shards, read_record
from aa_model.checkpoints.store import find_parts, read_checkpoint
from aa_model.config import ModelConfig, TrainConfig, to_json
from aa_model.errors import ModelError, TrainingDiverged
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.compile_blocks import compile_blocks
from aa_model.networks.precision import choose_device, freeze_as_bfloat16
from aa_model.presets import PRESETS
from aa_model.training import precompute
from aa_model.training.distillation_loss import Teacher
from aa_model.training.distributed import (
    Processes,
    join_processes,
    make_generator,
    refuse_launcher_options,
    refuse_mixed_precision,
    shard_weights,
    share_loss,
    wait_for_all,
    wants_sharding,
    whole_weights,
)
from aa_model.training.held_out import HeldOutLoss
from aa_model.training.loop import Step, TrainingState, train
from aa_model.training.options import TrainOptions, to_toml
from aa_model.training.peak_memory import count_peak_memory
from aa_model.training.progress import TrainingWatch
from aa_model.training.report import (
    print_plan,
    print_step_costs,
    print_step_time,
    print_summary,
)
from aa_model.training.run_folder import Loader, Origin, RunFolder, make_model
from aa_model.training.stages import STAGES, Stage, finish_stage, make_loss, trained_parameters
from aa_model.training.step_table import write_row
from aa_model.training.step_time import count_step_tflop, measure_step_s
from aa_model.training.timestep_losses import TimestepLosses


@dataclass(frozen=True)
class Plan:
    """The network and what is trained of it, before anything is written."""

    config: TrainConfig
    stage: Stage
    processes: Processes
    origin: Origin
    model: AnimateAnyone
    trained: dict[str, nn.Parameter]
    teacher: Teacher | None = None


def train_stage(options: TrainOptions) -> list[Step]:
    """Train one stage, write its checkpoint to `options.out`, and return the loss curve.

    Raises:
        ModelError, DatasetError: an input cannot be used; the message is for the user.
        TrainingDiverged: the loss became NaN or infinite; the weights before it are saved.

    Example:
        >>> steps = train_stage(TrainOptions(
        ...     (Path("corpus"),), stage="1", preset="base-24gb", out=Path("run-1"),
        ...     init=(Path("start"),)))  # doctest: +SKIP
    """
    as_given = options
    options = replace(
        options,
        shards=tuple(find_shards(options.shards)),
        samples_from=tuple(find_shards(options.samples_from)),
        held_out=tuple(find_shards(options.held_out)),
    )
    every = [entry.clip for path in options.shards for entry in read_record(path).clips]
    clips = [clip for clip in every if options.split in {None, clip.split}]
    for path in options.samples_from:
        read_record(path)  # now, not when the first samples are due
    plan = make_plan(options)
    config, stage, processes, model = plan.config, plan.stage, plan.processes, plan.model
    if processes.is_first:
        print_plan(stage, config, model, plan.origin)
    _check_clips(clips, options, plan)
    if options.dry_run:
        if processes.is_first and "denoising_unet" in (*stage.needs, *stage.trains):
            peak = count_peak_memory(model, stage, config, plan.teacher)
            print_step_costs(peak, count_step_tflop(model, stage, config, plan.teacher), config)
        return []
    folder = RunFolder(options.out, options.keep)
    if processes.is_first:
        resume = options.resume or options.resume_step is not None
        folder.begin(describe(options, plan), resume=resume, resume_step=options.resume_step)
        replace_file(options.out / "options.toml", to_toml(as_given))
    wait_for_all(processes)
    loader_config = make_loader_config(options, plan)
    loader = make_loader(
        options.shards, loader_config, rank=processes.rank, world_size=processes.world_size
    )
    held_out = None
    if options.held_out:
        held_out = HeldOutLoss(
            model, options.held_out, options.shards, config, loader_config, processes,
            options.held_out_clips,
        )  # fmt: skip
    model.place(processes.device)
    if plan.teacher is not None and plan.teacher.unet is not None:
        plan.teacher.unet.to(processes.device)
    trained, sharded = plan.trained, None
    if processes.world_size > 1 and wants_sharding():
        sharded, trained = shard_weights(model, trained, processes)
        plan.trained.clear()  # the whole weights
    state = TrainingState(trained, config, make_generator(processes, config))
    by_timestep = TimestepLosses(model.config.noise.num_train_timesteps, processes)
    losses = folder.resume(model, state, loader, by_timestep)
    feed = _Feed(loader, processes.device, config, state)
    loss = make_loss(model, stage, config, by_timestep.observe, plan.teacher)
    if processes.is_first and state.step < config.steps and sharded is None:
        step_s = measure_step_s(model, stage, config, processes.device, plan.teacher)
        print_step_time(step_s, config, state, model, options.time_limit_s)
    shared = share_loss(loss, model, processes, config, sharded)

    with TrainingWatch.of(options, model, config, state, processes) as watch:

        def measure() -> None:
            if held_out is None or state.step % options.held_out_every:
                return
            with state.averaged(), whole_weights(shared):
                found = held_out.measure()
            if processes.is_first:
                write_row(
                    options.out / "held_out.csv",
                    state.step,
                    {name: f"{value:.6g}" for name, value in found.items()},
                )
                watch.measured(state.step, found)

        def save() -> None:
            by_timestep.take_row(state.step)
            content = state.state_dict()  # in every process: it gathers what is sharded
            if processes.is_first:
                if feed.last is not None:
                    finish_stage(model, stage, feed.last)
                folder.save_state(content, model, loader, losses, by_timestep)
            with state.averaged(), whole_weights(shared):
                if processes.is_first:
                    folder.save_checkpoint(model, stage, plan.origin, state)
                    watch.saved(by_timestep)

        try:
            if state.step == 0:
                measure()
            for step in train(state, shared, feed, config, time_limit_s=options.time_limit_s):
                losses.append(step)
                watch.stepped(step)
                measure()
                if step.step % options.save_every == 0:
                    save()
        except TrainingDiverged as error:
            save()
            wait_for_all(processes)  # the first process to leave ends the others
            seen = ", ".join(feed.last.clip_ids) if feed.last else "none"
            raise TrainingDiverged(
                f"{error}; the last clips were {seen}; the weights before it are in {options.out}"
            ) from error
        save()
    wait_for_all(processes)
    if processes.is_first:
        print_summary(losses, state, options.out)
    if state.step <= config.warmup_steps:
        raise ModelError(
            f"training ended after {state.step} steps, inside its warm-up of "
            f"{config.warmup_steps}: the learning rate never reached {config.lr:g}, and little was "
            f"learned; give more --steps or --time-limit-s (--resume continues what is saved in "
            f"{options.out}), or a lower --warmup-steps"
        )
    return losses


def make_plan(options: TrainOptions) -> Plan:
    """Build the network, load its parts, freeze what the stage does not train."""
    config, network = options.config, resolve_network(options)
    stage = STAGES[options.stage].of(network)
    _refuse_options(options, stage, network)
    if config.lora_rank:
        stage = stage.with_lora(config.lora_parts)
    refuse_mixed_precision(config)
    refuse_launcher_options(config)
    processes = join_processes(choose_device(options.device))
    if processes.world_size > 1 and wants_sharding() and options.samples_every:
        raise ModelError(
            "samples are of whole weights, which FSDP shards: leave out --samples-every"
        )
    if processes.world_size > 1 and math.isfinite(options.time_limit_s):
        raise ModelError("--time-limit-s is for one process: clocks differ; give --steps")
    torch.manual_seed(config.seed)
    origin = Origin.of(stage, options.init, complete=not options.dry_run)
    absent = set(stage.needs) - set(origin.sources)
    with torch.device("meta") if absent else nullcontext():  # a dry run without weights
        loaded = Origin({}) if absent else origin
        model = make_model(
            network, stage, loaded, config.seed, config.num_frames, options.size,
            config.distill_guidance, reference_latents=options.reference_latents,
        )  # fmt: skip
    if model.has_temporal_layers and config.num_frames > model.config.temporal.max_frames:
        raise ModelError(
            f"{config.num_frames} frames a clip: the temporal layers have positions for "
            f"{model.config.temporal.max_frames}: lower --num-frames"
        )
    if config.precomputed_latents and model.config.more_sizes_hw:
        raise ModelError(
            "latents are stored at one size: leave out --precomputed-latents, or --size"
        )
    trained = trained_parameters(model, stage, config)
    teacher = Teacher(model, config) if stage.name == "distill" else None
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    if config.frozen_bfloat16:
        freeze_as_bfloat16(model)
        if teacher is not None and teacher.unet is not None:
            freeze_as_bfloat16(teacher.unet)
    if config.compile:
        for unet in (model.denoising_unet, model.reference_net, model.controlnet):
            if unet is not None:
                compile_blocks(unet)
    return Plan(config, stage, processes, origin, model, trained, teacher)


def _refuse_options(options: TrainOptions, stage: Stage, network: ModelConfig) -> None:
    """Options that this stage would ignore."""
    options.config.check_stage(options.stage)
    used = (*stage.needs, *stage.trains)
    if network.vae.kind == "dc" and options.config.kl_weight != TrainConfig.kl_weight:
        raise ModelError("latents of kind dc have no KL divergence: leave out --kl-weight")
    if options.config.precomputed_latents:
        precompute.check_applies(stage, network)
    if options.stage in ("autoencoder", "image-encoder"):
        if options.appearance is not None:
            raise ModelError(f"stage {stage.name} shows no reference: leave out --appearance")
        if not options.pose:
            raise ModelError(f"stage {stage.name} sees no skeletons: leave out --no-pose")
    if stage.loader_stage == 1 and options.too_short_at_most != TrainOptions.too_short_at_most:
        raise ModelError(
            f"stage {stage.name} takes single frames, for which no clip is too short: leave out "
            "--too-short-at-most"
        )
    if options.samples_every and "denoising_unet" not in used:
        raise ModelError(f"stage {stage.name} makes no videos: leave out --samples-every")
    if options.samples_from and not options.samples_every:
        raise ModelError("--samples-from needs --samples-every N, which says when")
    if bool(options.held_out) != bool(options.held_out_every):
        raise ModelError("--held-out SHARDS and --held-out-every N belong together: give both")
    if options.held_out_clips != TrainOptions.held_out_clips and not options.held_out:
        raise ModelError("--held-out-clips needs --held-out SHARDS, which says of what")
    if options.held_out and options.stage == "distill":
        raise ModelError("distillation leaves the error of the noise behind: leave out --held-out")
    if options.held_out and "denoising_unet" not in used:
        raise ModelError(f"stage {stage.name} has no diffusion loss: leave out --held-out")
    if options.text_mask and "denoising_unet" not in used:
        raise ModelError(f"stage {stage.name} has no diffusion loss: leave out --text-mask")
    if options.reference_latents and options.stage != "1":
        raise ModelError("--reference-latents is chosen in stage 1; later stages follow it")
    if options.draw_face and "pose_guider" not in used:
        raise ModelError(f"stage {stage.name} sees no skeletons: leave out --draw-face")


def resolve_network(options: TrainOptions) -> ModelConfig:
    """The preset's network with the appearance and pose that stage 1 chooses; later ones keep it.

    Raises:
        ModelError: --no-pose with a network that was trained with poses, or --draw-face with one
            that was trained on skeletons without faces, or without poses.
    """
    preset = PRESETS[options.preset].model
    first = options.stage in ("1", "autoencoder", "image-encoder")
    found = find_parts(options.init)
    folder = None if first else found.get("denoising_unet")
    before = read_checkpoint(folder).model if folder else preset
    if not options.pose and folder and before.use_pose:
        raise ModelError(f"{folder} was trained with poses: give --no-pose to stage 1 already")
    use_pose = before.use_pose and options.pose
    if options.draw_face and not use_pose:
        raise ModelError("--draw-face without poses: leave one of --draw-face and --no-pose out")
    trained = found.get("pose_guider")
    if options.draw_face and trained and not read_checkpoint(trained).model.pose_guider.face:
        raise ModelError(
            f"{trained} was trained on skeletons without faces: give --draw-face to its stage 1, "
            "or leave it out"
        )
    guider = preset.pose_guider
    return replace(
        preset,
        appearance=options.appearance or before.appearance,
        use_pose=use_pose,
        pose_guider=replace(guider, face=guider.face or options.draw_face),
    )


def _check_clips(clips: list[Clip], options: TrainOptions, plan: Plan) -> None:
    """Refuse a benchmark's test videos, and warn of other splits."""
    benchmark = options.exclude_test_of
    count = refuse_test_clips(benchmark, clips) if benchmark else 0
    if not plan.processes.is_first:
        return
    if benchmark:
        print(f"  benchmark {benchmark}: none of {count} clips is of its test split")
    held_out = sum(clip.split != "train" for clip in clips)
    if held_out:
        print(
            f"  warning: {held_out} of {len(clips)} clips are of another split than train: "
            "--split train leaves them out"
        )


def describe(options: TrainOptions, plan: Plan) -> dict[str, Any]:
    """The content of run.json."""
    return {
        "stage": plan.stage.name,
        "training": to_json(plan.config),
        "model": to_json(plan.model.config),
        "exclude_test_of": options.exclude_test_of,
        "text_mask": options.text_mask,
        "shards": [path.name for path in options.shards],
        "split": options.split,
        "too_short_at_most": options.too_short_at_most,
        "init": [str(path) for path in options.init],
        "frozen": {
            part: read_checkpoint(folder).parts[part].sha256
            for part, folder in plan.origin.sources.items()
            if part not in plan.stage.trains or plan.config.lora_rank
        },
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": plan.processes.world_size,
    }


def make_loader_config(options: TrainOptions, plan: Plan) -> LoaderConfig:
    """Which batches the run asks for."""
    config, model = plan.config, plan.model.config
    key = None
    if config.precomputed_latents:
        key = precompute.latents_key(model, plan.origin.sources)
    return LoaderConfig(
        stage=plan.stage.loader_stage,
        batch_size=config.batch_size,
        size_hw=model.size_hw,
        buckets_hw=model.more_sizes_hw or (),
        num_frames=config.num_frames,
        stride=config.stride,
        seed=config.seed,
        num_workers=options.num_workers,
        cache_bytes=int(options.cache_gb * 1e9),
        latents=key,
        text_mask=options.text_mask,
        draw_face=model.pose_guider.face,
        split=options.split,
        too_short_at_most=options.too_short_at_most,
    )


class _Feed:
    """Batches of as many frames as the step asks for, on a device; keeps the last one, which
    finish_stage measures on."""

    def __init__(
        self,
        loader: Loader[FrameBatch],
        device: torch.device,
        config: TrainConfig,
        state: TrainingState,
    ) -> None:
        self.loader, self.device = loader, device
        self.config, self.state = config, state
        self.last: Batch | None = None

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> Batch:
        count = self.config.frames_after(self.state.step)
        self.last = _first_frames(next(self.loader), count).to(self.device)
        return self.last


def _first_frames(batch: FrameBatch, count: int) -> FrameBatch:
    """Only the first `count` target frames of each clip, and what belongs to them."""
    if count == batch.target.shape[1]:
        return batch
    latents, skeletons = batch.latents, batch.skeletons
    if latents is not None:
        latents = replace(latents, target_moments=latents.target_moments[:, :count])
    return replace(
        batch,
        target=batch.target[:, :count],
        poses=tuple(pose.at_frames(slice(count)) for pose in batch.poses),
        latents=latents,
        skeletons=None if skeletons is None else skeletons[:, :count],
    )
