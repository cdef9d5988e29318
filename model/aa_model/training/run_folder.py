"""A run's folder: checkpoint, exact training state, loss curve, and what was asked for.

OUT/config.json  OUT/<part>.safetensors   the checkpoint, averaged weights if EMA is on
OUT/training_state.pt                     everything an exact resume needs
OUT/pytorch_lora_weights.safetensors      the updates alone, with --lora-rank
OUT/run.json                              stage, resolved configuration, shards
OUT/options.toml                          every option, for `aa-train --options`
OUT/held_out.csv                          the held-out loss, with --held-out
OUT/loss.csv                              step, loss, lr, grad_norm
OUT/loss_by_timestep.csv                  mean error by tenths of the timesteps, stages 1 and 2
OUT/kept/step-000500/                     the first three as they were at that step, with --keep
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from aa_datasets.atomic_file import replace_file, replacing
from aa_model.checkpoints.lora import merged_tensors, write_lora
from aa_model.checkpoints.store import (
    find_parts,
    load_part,
    resolve_config,
    write_checkpoint,
    write_parts,
)
from aa_model.config import ModelConfig, TrainConfig, from_json, parse_sizes, to_json
from aa_model.errors import CheckpointError, ModelError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.training.loop import Step, TrainingState
from aa_model.training.post_hoc_ema import write_snapshots
from aa_model.training.stages import STAGES, Stage
from aa_model.training.timestep_losses import TimestepLosses

T_co = TypeVar("T_co", covariant=True)


class Loader(Protocol[T_co]):
    """Batches without end, that can say where they are and go back there."""

    def __iter__(self) -> Iterator[T_co]: ...
    def __next__(self) -> T_co: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Origin:
    """Which folder each part is loaded from at the start."""

    sources: dict[str, Path]

    @classmethod
    def of(cls, stage: Stage, init: Sequence[Path], *, complete: bool = True) -> Origin:
        """Find in `init` the parts that the stage needs or trains.

        Other parts are left out: stage 1 from a checkpoint with temporal layers drops them.

        Args:
            complete: whether everything that the stage needs must be there.

        Raises:
            CheckpointError: a part that the stage needs is in none of the folders.
        """
        wanted = (*stage.needs, *stage.trains)
        sources = {part: path for part, path in find_parts(init).items() if part in wanted}
        needed = wanted if stage.fine_tunes else stage.needs
        absent = [part for part in needed if part not in sources]
        if absent and complete:
            first_trained = [each for each in STAGES.values() if not each.fine_tunes]
            made_by = {part: each.name for each in first_trained for part in each.trains}
            first = dict.fromkeys(f"--stage {made_by[part]}" for part in absent)
            raise CheckpointError(
                f"stage {stage.name} needs {', '.join(absent)}, which "
                f"{'no --init was given for' if not init else 'no --init folder holds'}: "
                f"train {', '.join(first)} first, and give its folder to --init (several may be "
                "given); aa-model import-sd and import make such folders of public weights"
            )
        return cls(sources)


def make_model(
    config: ModelConfig,
    stage: Stage,
    origin: Origin,
    seed: int,
    num_frames: int | None = None,
    sizes: Sequence[str] = (),
    distill_guidance: float | None = None,
    *,
    reference_latents: bool = False,
) -> AnimateAnyone:
    """The network before the first step: loaded parts, and new ones from `seed`.

    Args:
        num_frames: per clip, where temporal layers are trained; stored with them.
        sizes: of the pictures, as `--size`; as the loaded parts were trained, or as in `config`,
            unless given.
        distill_guidance: of the teacher, in stage distill; stored with the network.
        reference_latents: let the denoising UNet read the reference's latents, if it does not yet.
    """
    temporal = stage.loader_stage == 2
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = resolve_config(config, origin.sources)
        if sizes:
            first, *more = parse_sizes(sizes, config.size_hw)
            config = replace(config, size_hw=first, more_sizes_hw=tuple(more) or None)
        model = AnimateAnyone(config, temporal=temporal)
    for part, folder in origin.sources.items():
        load_part(model, folder, part)
    if reference_latents:
        model.read_reference_latents()
    if "temporal_layers" in stage.trains:
        model.set_trained_frames(num_frames)
    if stage.name == "distill":
        model.set_distilled_guidance(distill_guidance)
    if "controlnet" in stage.trains and "controlnet" not in origin.sources:
        assert model.controlnet is not None
        model.controlnet.start_from(model.denoising_unet)
    return model


class RunFolder:
    """Writes and reads a run's folder."""

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        self.keep = keep
        self.state_path = path / "training_state.pt"
        self.loss_path = path / "loss.csv"

    def begin(
        self, description: dict[str, Any], *, resume: bool, resume_step: int | None = None
    ) -> None:
        """Make the folder and note what was asked for.

        Args:
            resume_step: go back to the checkpoint that was kept at this step.

        Raises:
            ModelError: a run is there and `resume` is off; its options differ in what decides its
                numbers (a lower learning rate is allowed, and recorded); or no checkpoint was kept
                at `resume_step`.
        """
        exists = self.state_path.is_file() or self.loss_path.is_file()
        if exists and not resume:
            raise ModelError(
                f"{self.path} already holds a run: add --resume, or choose another --out"
            )
        source = self.path if resume_step is None else self._kept(resume_step)
        self.path.mkdir(parents=True, exist_ok=True)
        if (source / self.state_path.name).is_file():
            before = json.loads((source / "run.json").read_text())
            _refuse_another(self.path, before, description)
            lowered = before.get("lowered_lr", [])
            if (lr := before["training"]["lr"]) != description["training"]["lr"]:
                lowered = [*lowered, lr]
            if lowered:  # what the learning rate was before it was lowered at a resume
                description = {**description, "lowered_lr": lowered}
        if source != self.path:  # now that nothing is refused: the state there may be the only one
            with replacing(self.state_path) as to, (source / self.state_path.name).open("rb") as of:
                shutil.copyfileobj(of, to)
        replace_file(self.path / "run.json", (json.dumps(description, indent=2) + "\n").encode())

    def save_state(
        self,
        content: dict[str, Any],
        model: AnimateAnyone,
        loader: Loader[Any],
        losses: list[Step],
        by_timestep: TimestepLosses,
    ) -> None:
        """Write the state that `TrainingState.state_dict` gave, and the loss curves."""
        content = {
            **content,
            "loader": loader.state_dict(),
            "scaling_factor": model.config.vae.scaling_factor,
            "losses": [astuple(step) for step in losses],
            "by_timestep": by_timestep.state_dict(),
        }
        if content["averages"]:
            names = [*content["weights"]]
            write_snapshots(self.path, content["step"], names, content["averages"])
        with replacing(self.state_path) as file:  # no second copy of it in memory
            torch.save(content, file)
        self._write_losses(losses)
        self._write_by_timestep(by_timestep)

    def save_checkpoint(
        self, model: AnimateAnyone, stage: Stage, origin: Origin, state: TrainingState
    ) -> None:
        """Write the checkpoint, of the weights as they are now. A kill at any moment, between the
        two saves as well, loses nothing before it."""
        line = f"stage {stage.name}, {state.step} steps, {state.seconds:.0f} s"
        made_by = dict.fromkeys(stage.trains, line)
        frozen = {p: folder for p, folder in origin.sources.items() if p not in made_by}
        if state.config.lora_rank:
            merged = merged_tensors(model, origin.sources, stage.trains)
            made_by = dict.fromkeys(made_by, f"{line}, LoRA merged")
            write_parts(self.path, model.config, merged, made_by, copied=frozen)
            write_lora(self.path, model)
        else:
            write_checkpoint(self.path, model, made_by, copied=frozen)
        if self.keep:
            self._keep(state.step)

    def resume(
        self,
        model: AnimateAnyone,
        state: TrainingState,
        loader: Loader[Any],
        by_timestep: TimestepLosses,
    ) -> list[Step]:
        """Go back to the last save, if there is one; returns the loss curve until then."""
        if not self.state_path.is_file():
            return []
        content = torch.load(self.state_path, map_location="cpu", weights_only=True)
        state.load_state_dict(content)
        loader.load_state_dict(content["loader"])
        model.set_scaling_factor(content["scaling_factor"])
        if "by_timestep" in content:  # older runs have no such entry
            by_timestep.load_state_dict(content["by_timestep"])
        return [Step(*row) for row in content["losses"]]

    def _keep(self, step: int) -> None:
        """Link the files of this save into a folder of its own, and drop the oldest folders.

        Files are replaced and never written again, so that a link keeps what it was made of.
        """
        kept = self.path / "kept"
        folder = kept / f"step-{step:06d}"
        temporary = kept / f".step-{step:06d}.tmp"
        for old in (folder, temporary):
            if old.is_dir():
                shutil.rmtree(old)
        temporary.mkdir(parents=True)
        names = ["training_state.pt", "config.json", "run.json"]
        for path in (*map(self.path.joinpath, names), *self.path.glob("*.safetensors")):
            _link(path, temporary / path.name)
        temporary.rename(folder)
        # Steps after this one are of before the run went back; they are dropped first.
        oldest_first = sorted(_kept_steps(self.path), key=lambda n: (n <= step, n))
        for old_step in oldest_first[: -self.keep]:
            shutil.rmtree(kept / f"step-{old_step:06d}")

    def _kept(self, step: int) -> Path:
        """The folder of a checkpoint that was kept."""
        folder = self.path / "kept" / f"step-{step:06d}"
        if not folder.is_dir():
            raise ModelError(
                f"{self.path} kept no checkpoint at step {step}: kept are "
                f"{_kept_steps(self.path) or 'none'} (--keep N keeps the last N)"
            )
        return folder

    def _write_losses(self, losses: list[Step]) -> None:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([f.name for f in fields(Step)])
        writer.writerows(
            (s.step, f"{s.loss:.6g}", f"{s.lr:.4g}", f"{s.grad_norm:.4g}") for s in losses
        )
        replace_file(self.loss_path, text.getvalue().encode())

    def _write_by_timestep(self, losses: TimestepLosses) -> None:
        """One row per save: the means since the save before it."""
        if not losses.rows:
            return
        span = losses.num_train_timesteps // losses.buckets
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["step", *(f"from_{i * span}" for i in range(losses.buckets))])
        writer.writerows((int(step), *(f"{m:.6g}" for m in means)) for step, *means in losses.rows)
        replace_file(self.path / "loss_by_timestep.csv", text.getvalue().encode())


def _kept_steps(run: Path) -> list[int]:
    return sorted(int(folder.name.removeprefix("step-")) for folder in run.glob("kept/step-*"))


def _link(path: Path, to: Path) -> None:
    """A hard link, or a copy where the file system has none."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copyfile(path, to)


# Options that may change at a resume: the numbers stay the same, or are meant to go further.
_FREE = {"steps", "batch_size", "accumulate", "cache_latents", "precomputed_latents",
         "gradient_checkpointing", "offload_optimizer", "compile"}  # fmt: skip


def _refuse_another(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to resume with options that differ from the saved run's."""
    was, wanted = _identity(before), _identity(json.loads(json.dumps(now)))
    differ = [key for key in wanted if was.get(key) != wanted[key]]
    if "lr" in differ and wanted["lr"] < was["lr"]:  # the remedy of a run that diverged
        differ.remove("lr")
    if differ:
        old, new = (_flat({key: row.get(key) for key in differ}) for row in (was, wanted))
        changed = [
            f"{name} was {old.get(name, 'not set')}, not {new.get(name, 'unset')}"
            for name in {**old, **new}
            if old.get(name) != new.get(name)
        ]
        raise ModelError(
            f"the run in {path} was started with other options ({'; '.join(changed)}): give its "
            "own, or another --out"
        )


def _flat(row: dict[str, Any], before: str = "") -> dict[str, Any]:
    """A dict of dicts as one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        name = before + key
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _identity(description: dict[str, Any]) -> dict[str, Any]:
    """What decides a run's numbers, of what run.json tells."""
    # A run of before there was an option has its default.
    training = to_json(from_json(TrainConfig, description["training"]))
    clips = training["batch_size"] * training["accumulate"] * description["processes"]
    named = {key: description.get(key) for key in ("stage", "text_mask", "frozen")}
    # Runs of before the option was renamed have it as "recipe".
    named["exclude_test_of"] = description.get("exclude_test_of", description.get("recipe"))
    model = from_json(ModelConfig, description["model"])
    # Runs of before it was stored lack it; `num_frames` of the training says the same.
    temporal = replace(model.temporal, trained_frames=None)
    named["model"] = to_json(replace(model, temporal=temporal))
    chosen = {key: value for key, value in training.items() if key not in _FREE}
    return {**named, "clips per step": clips, **chosen}
