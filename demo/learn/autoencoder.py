"""The ceiling that an autoencoder sets: true frames of held-out puppets, encoded and decoded again.

usage: python demo/learn/autoencoder.py CHECKPOINT SHARD... [--every N] [--picture FILE]
       python demo/learn/autoencoder.py CHECKPOINT --decoded OUT VIDEO_FOLDER...

Prints PSNR, LPIPS of both networks and SSIM over frames, as aa-clean-v1 defines them. LPIPS (alex)
is what the autoencoder was trained on, so LPIPS (vgg) is the one to believe. The second form writes
folders of pictures to OUT as predictions for aa-eval: what a network that is right would score.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cyclopts
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import aa_eval
from aa_datasets.loader.crop_resize import resize_frames
from aa_datasets.shards import read_shards
from aa_datasets.video.canonical import read_canonical
from aa_model.checkpoints.store import load_part, read_checkpoint
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.vae import decode_latents, encode_moments

_SHOWN = 8  # puppets in the picture


def main(
    checkpoint: Path,
    *inputs: Path,
    every: int = 10,
    picture: Path | None = None,
    decoded: Path | None = None,
) -> None:
    """Measure a checkpoint's autoencoder on every `every`-th frame of the shards' clips."""
    model = AnimateAnyone(read_checkpoint(checkpoint).model).eval()
    load_part(model, checkpoint, "vae")
    if decoded is None:
        _measure(model, inputs, every, picture)
        return
    for folder in inputs:
        (decoded / folder.name).mkdir(parents=True, exist_ok=True)
        files = sorted(folder.glob("*.png"))
        true = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
        for file, frame in zip(files, _through(model, true), strict=True):
            Image.fromarray(frame).save(decoded / folder.name / file.name)


def _measure(
    model: AnimateAnyone, shards: Iterable[Path], every: int, picture: Path | None
) -> None:
    size_hw = model.config.size_hw
    true = np.concatenate(
        [resize_frames(read_canonical(s.mp4)[::every], size_hw) for s in read_shards(shards)]
    )
    decoded = _through(model, true)
    values = {
        "psnr": aa_eval.psnr(decoded, true),
        "lpips_vgg": aa_eval.lpips(decoded, true, "vgg"),
        "lpips_alex": aa_eval.lpips(decoded, true, "alex"),
        "ssim": aa_eval.ssim(decoded, true),
    }
    print(f"{len(true)} frames of {size_hw[0]}x{size_hw[1]}")
    for name, value in values.items():
        print(f"  {name:<10} {value.mean():.4f} +- {value.std() / len(value) ** 0.5:.4f}")
    if picture is not None:
        step = max(len(true) // _SHOWN, 1)
        rows = [np.concatenate(list(frames[::step][:_SHOWN]), axis=1) for frames in (true, decoded)]
        Image.fromarray(np.concatenate(rows)).save(picture)


@torch.no_grad()
def _through(model: AnimateAnyone, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    decoded = []
    for part in torch.from_numpy(frames).movedim(-1, 1).split(8):
        mean, _ = encode_moments(model.vae, part.float() / 127.5 - 1)
        decoded.append(decode_latents(model.vae, mean).clamp(-1, 1))
    found: NDArray[np.uint8] = (
        ((torch.cat(decoded) + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    )
    return found


if __name__ == "__main__":
    cyclopts.run(main)
