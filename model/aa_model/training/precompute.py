"""aa-train precompute: the frozen encoders see every frame of the shards once, before training.

Stages 1 and 2 with `--precomputed-latents` then read moments and image tokens from there;
they decode no video and run neither VAE nor image encoder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Never

import numpy as np
import torch
from numpy.typing import NDArray

from aa_datasets.errors import LatentsError
from aa_datasets.loader.crop_resize import resize_frames
from aa_datasets.loader.latents import LatentsKey, has_latents, read_latents_record, write_latents
from aa_datasets.progress import progress
from aa_datasets.shards import ShardRecord, find_shards, read_entry, verify_shard
from aa_datasets.video.canonical import read_canonical
from aa_model.checkpoints.store import (
    copy_tensors,
    find_parts,
    read_checkpoint,
    read_part,
    resolve_config,
)
from aa_model.config import ModelConfig, parse_size, to_json
from aa_model.errors import CheckpointError, ModelError
from aa_model.inference.image_input import to_pixels
from aa_model.networks.image_encoder import ImageEncoder
from aa_model.networks.precision import choose_device, layout_for
from aa_model.networks.vae import Autoencoder, encode_moments, make_vae
from aa_model.presets import PRESETS
from aa_model.training.options import PrecomputeOptions
from aa_model.training.stages import Stage

if TYPE_CHECKING:
    from tqdm import tqdm

_ENCODERS = ("vae", "image_encoder")


def latents_key(config: ModelConfig, sources: Mapping[str, Path]) -> LatentsKey:
    """What latents of these encoders depend on: their weights' files, configuration, the size.

    Args:
        config: the resolved one.
        sources: part -> checkpoint folder that it is loaded from.
    """
    # Moments are stored unscaled: another factor leaves them as they are.
    vae = {k: v for k, v in to_json(config.vae).items() if k != "scaling_factor"}
    parts = {"vae": vae, "image_encoder": to_json(config.image_encoder)}
    hashes = {}
    for part, row in parts.items():
        content = json.dumps(
            [read_checkpoint(sources[part]).parts[part].sha256, row], sort_keys=True
        )
        hashes[part] = hashlib.sha256(content.encode()).hexdigest()
    height, width = config.size_hw
    return LatentsKey(height, width, **hashes)


def check_applies(stage: Stage, config: ModelConfig) -> None:
    """Whether a stage can do without the pictures.

    Raises:
        ModelError: it cannot.
    """
    reason = None
    if any(part in stage.trains for part in _ENCODERS):
        reason = f"stage {stage.name} trains an encoder, on crops that differ each time"
    elif "controlnet" in config.appearance:
        reason = f"appearance {config.appearance} reads the reference's pixels"
    if reason:
        raise ModelError(f"{reason}: leave out --precomputed-latents")


@dataclass(frozen=True)
class Encoders:
    """The two frozen encoders alone, without the UNets."""

    vae: Autoencoder
    image_encoder: ImageEncoder
    size_hw: tuple[int, int]

    @classmethod
    def load(cls, config: ModelConfig, sources: Mapping[str, Path], device: str) -> Encoders:
        """Load both from checkpoints, their hashes checked."""
        encoders = cls(make_vae(config), ImageEncoder(config), config.size_hw)
        for part in _ENCODERS:
            module: torch.nn.Module = getattr(encoders, part)
            _, tensors = read_part(sources[part], part)
            copy_tensors(dict(module.named_parameters()), tensors, f"{sources[part]}/{part}")
            # As aa-train holds them: the same kernels, the same last bits.
            module.to(device).to(memory_format=layout_for(device))
            module.eval().requires_grad_(False)
        return encoders

    @torch.no_grad()
    def encode(
        self, path: Path, shard: ShardRecord, batch_size: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Moments [n, 2C, h, w] and tokens [n, S, D] of a shard's frames, clip by clip."""
        device = next(self.image_encoder.parameters()).device
        for entry in shard.clips:
            stored = read_entry(path, entry)
            frames = resize_frames(
                read_canonical(stored.mp4, num_frames=entry.clip.num_frames), self.size_hw
            )
            for start in range(0, len(frames), batch_size):
                images = to_pixels(frames[start : start + batch_size]).to(device)
                moments = torch.cat(encode_moments(self.vae, images), dim=1)
                yield moments.cpu().numpy(), self.image_encoder(images).cpu().numpy()


def precompute(options: PrecomputeOptions) -> None:
    """Write the encoders' output for every frame next to its shard; finished shards are skipped.

    Raises:
        CheckpointError: a folder of `options.init` lacks the VAE or the image encoder.
        LatentsError: other encoders' latents are there, and `options.replace` is off.
    """
    sources = find_parts(options.init)
    absent = [part for part in _ENCODERS if part not in sources]
    if absent:
        raise CheckpointError(f"no --init folder holds {', '.join(absent)}: train or import it")
    config = resolve_config(PRESETS[options.preset].model, sources)
    if options.size:
        config = dataclasses.replace(config, size_hw=parse_size(options.size))
    key = latents_key(config, sources)
    shards = [(path, verify_shard(path)) for path in find_shards(options.shards)]
    wanted = [item for item in shards if not _is_done(*item, key, replace=options.replace)]
    for path, _ in shards:
        if path not in dict(wanted):
            print(f"{path.name}: already there")
    if not wanted:
        return
    encoders = Encoders.load(config, sources, choose_device(options.device))
    total = sum(entry.clip.num_frames for _, shard in wanted for entry in shard.clips)
    bar: tqdm[Never] = progress(desc="precompute", unit="frame", total=total)
    with bar:
        for path, shard in wanted:
            record = write_latents(
                path, shard, key, _shown(encoders, path, shard, options.batch_size, bar)
            )
            bar.write(f"{path.name}: {record.num_bytes / 1e6:.1f} MB of latents")


def _is_done(path: Path, shard: ShardRecord, key: LatentsKey, *, replace: bool) -> bool:
    """Whether these very latents are there; others are refused, unless they may be replaced."""
    if not has_latents(path):
        return False
    try:
        read_latents_record(path, shard, key, whole=True)
    except LatentsError:
        if replace:
            return False
        raise
    return True


def _shown(
    encoders: Encoders,
    path: Path,
    shard: ShardRecord,
    batch_size: int,
    bar: tqdm[Never],
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    for moments, tokens in encoders.encode(path, shard, batch_size):
        yield moments, tokens
        bar.update(len(moments))
