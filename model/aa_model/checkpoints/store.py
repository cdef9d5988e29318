"""Checkpoints: one safetensors file per part, and config.json with their hashes, sizes, history.

A part that is absent is an error where it is needed; nothing ever runs on weights left random.
Folders that `AnimatePipeline.save_pretrained` wrote are read as checkpoints, too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from aa_datasets.atomic_file import replace_file, replacing, sha256_of_file
from aa_model.checkpoints.folder import MODEL_INDEX, refuse_other_folders
from aa_model.checkpoints.pipeline_folder import (
    hash_of,
    read_index,
    read_tensors,
)
from aa_model.config import ModelConfig, from_json, to_json
from aa_model.errors import CheckpointError, ConfigError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import PARTS, part_parameters, parts_of

_FORMAT = "aa-model 1"


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A part's file, and what made it.

    Attributes:
        sha256: of the file.
        dtype: of every tensor in it, e.g. "float16".
        num_parameters: numbers stored.
        made_by: one line: stage, steps, seed, or where it was imported from.
    """

    sha256: str
    dtype: str
    num_parameters: int
    made_by: str


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What config.json holds."""

    model: ModelConfig
    parts: dict[str, PartRecord]


def write_checkpoint(
    folder: Path | str,
    model: AnimateAnyone,
    made_by: dict[str, str],
    dtype: torch.dtype | None = None,
    copied: Mapping[str, Path | str] | None = None,
) -> CheckpointInfo:
    """Write the parts named in `made_by`, as `write_parts` does.

    Args:
        made_by: part -> one line that says what made it.
        dtype: to store the weights in; None keeps theirs.
        copied: part -> the checkpoint whose file of it is taken over as it is.
    """
    folder = Path(folder)
    parts = {part: part_parameters(model, part) for part in made_by}
    return write_parts(folder, model.config, parts, made_by, dtype, copied)


def write_parts(
    folder: Path,
    config: ModelConfig,
    parts: Mapping[str, Mapping[str, Tensor]],
    made_by: Mapping[str, str],
    dtype: torch.dtype | None = None,
    copied: Mapping[str, Path | str] | None = None,
) -> CheckpointInfo:
    """Write each part's tensors and config.json; files are replaced whole, all of them or none.

    Args:
        parts: part -> name -> tensor, under the names of `part_parameters`.
        made_by, dtype, copied: as in `write_checkpoint`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = {part: _copy_part(Path(path), folder, part) for part, path in (copied or {}).items()}
    # All are renamed at the end, in a moment: writing them may take minutes, and a kill in between
    # would leave parts that config.json denies.
    with ExitStack() as files:
        config_file = files.enter_context(replacing(folder / "config.json"))
        for part, named in parts.items():
            tensors = {
                n: t.detach().to("cpu", dtype or t.dtype).contiguous() for n, t in named.items()
            }
            content = save(tensors)
            file = files.enter_context(replacing(folder / f"{part}.safetensors"))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            records[part] = PartRecord(
                sha256=hashlib.sha256(content).hexdigest(),
                dtype=str(next(iter(tensors.values())).dtype).removeprefix("torch."),
                num_parameters=sum(t.numel() for t in tensors.values()),
                made_by=made_by[part],
            )
        info = CheckpointInfo(config, {part: records[part] for part in PARTS if part in records})
        row = {
            "format": _FORMAT,
            "model": to_json(config),
            "parts": {part: asdict(record) for part, record in info.parts.items()},
        }
        config_file.write((json.dumps(row, indent=2) + "\n").encode())
    return info


def is_our_checkpoint(folder: Path | str) -> bool:
    """Whether it is not a folder, or a repository of the Hub, that `save_pretrained` wrote."""
    return Path(folder).is_dir() and not _is_of_pipeline(Path(folder))


def _is_of_pipeline(folder: Path) -> bool:
    return (folder / MODEL_INDEX).is_file() and not (folder / "config.json").is_file()


def read_checkpoint(folder: Path | str) -> CheckpointInfo:
    """Read config.json, or model_index.json.

    Raises:
        CheckpointError: it is missing, or not of this format.
    """
    folder = Path(folder)
    refuse_other_folders(folder)
    if _is_of_pipeline(folder):
        model, made_by = read_index(folder)
        return CheckpointInfo(
            model, {part: _measure(folder, part, by) for part, by in made_by.items()}
        )
    path = folder / "config.json"
    try:
        row: dict[str, Any] = json.loads(path.read_text())
        if row.get("format") != _FORMAT:
            raise CheckpointError(f"{path} is of format {row.get('format')!r}, not {_FORMAT!r}")
        parts = {part: from_json(PartRecord, record) for part, record in row["parts"].items()}
        unknown = sorted(set(parts) - set(PARTS))
        if unknown:
            raise CheckpointError(f"{path} names parts that this version does not know: {unknown}")
        return CheckpointInfo(from_json(ModelConfig, row["model"]), parts)
    except (json.JSONDecodeError, KeyError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error


def read_part(folder: Path, part: str) -> tuple[PartRecord, dict[str, Tensor]]:
    """One part's record and tensors, after its hash was checked.

    Raises:
        CheckpointError: the part is absent, or its content is not what config.json says.
    """
    record = read_checkpoint(folder).parts.get(part)
    if record is not None and _is_of_pipeline(folder):
        return record, read_tensors(folder, part)
    path = folder / f"{part}.safetensors"
    if record is None or not path.is_file():
        raise CheckpointError(
            f"{folder} holds no {part}: train the stage that makes it, or name a folder that has it"
        )
    found = sha256_of_file(path)
    if found != record.sha256:
        raise CheckpointError(
            f"{path} was altered: sha256 {found[:12]}..., config.json says "
            f"{record.sha256[:12]}...; fetch or train it again"
        )
    try:
        return record, load_file(path)  # mapped: a part is not held twice while it is loaded
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def _measure(folder: Path, part: str, made_by: str) -> PartRecord:
    tensors = read_tensors(folder, part).values()
    dtype = str(next(iter(tensors)).dtype).removeprefix("torch.")
    count = sum(t.numel() for t in tensors)
    return PartRecord(hash_of(folder, part), dtype, count, made_by)


def _copy_part(source: Path, folder: Path, part: str) -> PartRecord:
    """Take over a part's file, unless it is there already."""
    if _is_of_pipeline(source):
        record, tensors = read_part(source, part)
        content = save(tensors)
        replace_file(folder / f"{part}.safetensors", content)
        return replace(record, sha256=hashlib.sha256(content).hexdigest())
    record = read_checkpoint(source).parts[part]
    name = f"{part}.safetensors"
    target = folder / name
    if not target.is_file() or sha256_of_file(target) != record.sha256:
        replace_file(target, (source / name).read_bytes())
    return record


def load_part(model: AnimateAnyone, folder: Path, part: str) -> PartRecord:
    """Load one part's weights into `model`, casting them to its dtype.

    Raises:
        CheckpointError: as `read_part`; or its tensors are not exactly the model's: missing,
            surplus and misshapen ones are named.
    """
    record, tensors = read_part(folder, part)
    parameters = part_parameters(model, part)
    if part == "reference_net" and _is_of_pipeline(folder):  # a whole UNet (trap T4)
        tensors = {name: tensors[name] for name in parameters if name in tensors}
    copy_tensors(parameters, tensors, str(folder / f"{part}.safetensors"))
    return record


def check_tensors(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str) -> None:
    """Hold names and shapes of `found` against `expected`, which may be on the meta device.

    Raises:
        CheckpointError: a tensor is missing, surplus or misshapen; all are listed.
    """
    faults = [f"missing {key}" for key in sorted(set(expected) - set(found))]
    faults += [f"surplus {key}" for key in sorted(set(found) - set(expected))]
    faults += [
        f"{key} is {list(found[key].shape)} instead of {list(expected[key].shape)}"
        for key in sorted(set(expected) & set(found))
        if found[key].shape != expected[key].shape
    ]
    if faults:
        shown = "; ".join(faults[:20]) + (f"; and {len(faults) - 20} more" if faults[20:] else "")
        raise CheckpointError(f"{name} is of another network: {shown}")


def copy_tensors(
    parameters: Mapping[str, torch.nn.Parameter], tensors: Mapping[str, Tensor], name: str
) -> None:
    """Copy `tensors` into `parameters`; `name` says where they came from in errors.

    Raises:
        CheckpointError: as `check_tensors`.
    """
    check_tensors(parameters, tensors, name)
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(tensors[key])


def find_parts(folders: Iterable[Path]) -> dict[str, Path]:
    """Which folder each part comes from; a later folder wins."""
    return {part: folder for folder in folders for part in read_checkpoint(folder).parts}


def _is_base(info: CheckpointInfo) -> bool:
    """Whether its UNet is Stable Diffusion's, not trained here: it then has no size or schedule."""
    imported = info.parts["denoising_unet"].made_by.startswith("imported")
    # Checkpoints of before they were marked: an import without a pose guider.
    return info.model.untrained or (imported and "pose_guider" not in info.parts)


def resolve_config(config: ModelConfig, sources: dict[str, Path]) -> ModelConfig:
    """`config`, but as the parts that will be loaded were built: a checkpoint knows its shape.

    The noise schedule and size follow the denoising UNet, if it was trained with them.
    Positions are a sinusoid, of which `config` may ask for more than the temporal layers have seen.
    """
    for part, folder in sources.items():
        info = read_checkpoint(folder)
        stored = info.model
        positions = max(config.temporal.max_frames, stored.temporal.max_frames)
        config = replace(config, **{PARTS[part]: getattr(stored, PARTS[part])})
        if part == "temporal_layers":
            config = replace(config, temporal=replace(config.temporal, max_frames=positions))
        if part == "denoising_unet":
            config = replace(config, reference_latents=stored.reference_latents)
            if not _is_base(info):
                config = replace(
                    config,
                    noise=stored.noise,
                    size_hw=stored.size_hw,
                    more_sizes_hw=stored.more_sizes_hw,
                )
    return config


def read_model(folder: Path | str) -> AnimateAnyone:
    """The whole network of a checkpoint, for inference: with temporal layers if it has them.

    Raises:
        CheckpointError: as `load_part`; every part but the temporal layers must be there.
    """
    folder = Path(folder)
    info = read_checkpoint(folder)
    model = AnimateAnyone(info.model, temporal="temporal_layers" in info.parts)
    for part in parts_of(info.model):
        if part != "temporal_layers" or model.has_temporal_layers:
            load_part(model, folder, part)
    return model.eval().requires_grad_(False)
