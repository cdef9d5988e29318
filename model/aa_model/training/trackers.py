"""Show a run in TensorBoard and Weights & Biases, through accelerate's trackers.

Scalars of every step, the held-out loss, and the samples as moving pictures. A resumed run writes a
TensorBoard file of its own, which tells TensorBoard to forget what came after the save that it
resumed from; in Weights & Biases it is the same run.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker
from accelerate.utils import is_tensorboard_available, is_wandb_available
from numpy.typing import NDArray
from PIL import Image

from aa_model.config import TrainConfig, to_json
from aa_model.errors import ModelError
from aa_model.training.loop import Step
from aa_model.training.options import TrainOptions
from aa_model.training.samples import Shown
from aa_model.training.timestep_losses import TimestepLosses


def make_trackers(options: TrainOptions, config: TrainConfig, step: int) -> list[GeneralTracker]:
    """What the options ask for, started; `step` is where the run stands.

    Raises:
        ModelError: a package is missing, or Weights & Biases cannot be reached.
    """
    trackers: list[GeneralTracker] = []
    if options.tensorboard:
        _need(is_tensorboard_available(), "tensorboard")
        purge = {"purge_step": step + 1} if step else {}
        trackers.append(TensorBoardTracker("tensorboard", options.out, **purge))
    if options.wandb:
        _need(is_wandb_available(), "wandb")
        trackers.append(_make_wandb(options))
    for tracker in trackers:
        if tracker.name == "wandb":
            _start_wandb(tracker, {"stage": options.stage, **to_json(config)})
        else:
            tracker.start()
    return trackers


def _make_wandb(options: TrainOptions) -> WandBTracker:
    out = options.out.resolve()
    return WandBTracker(
        options.wandb,
        name=out.name,
        dir=str(out),  # in OUT/wandb
        id=hashlib.sha256(str(out).encode()).hexdigest()[:12],
        resume="allow",
        mode=os.environ.get("WANDB_MODE", "online"),
    )


def _start_wandb(tracker: WandBTracker, config: dict[str, Any]) -> None:
    import wandb  # an extra: not everybody has it

    try:
        tracker.start()
    except wandb.Error as error:
        raise ModelError(
            f"--wandb: {error} Or set WANDB_MODE=offline, and send the run later by `wandb sync`"
        ) from error
    tracker.store_init_configuration(config)


def _need(there: bool, package: str) -> None:
    if not there:
        raise ModelError(
            f"--{package} needs the package {package}: pip install "
            f"'animate-anyone-toolkit[{package}]'"
        )


class RunLog:
    """Writes to trackers what a run shows."""

    def __init__(self, trackers: list[GeneralTracker]) -> None:
        self.trackers = trackers

    def write(self, values: dict[str, float], step: int) -> None:
        for tracker in self.trackers:
            tracker.log(values, step=step)

    def write_step(self, step: Step, images_per_s: float) -> None:
        values = {
            "train/loss": step.loss,
            "train/grad_norm": step.grad_norm,
            "train/lr": step.lr,
            "train/images_per_s": images_per_s,
        }
        self.write(values, step.step)

    def write_by_timestep(self, losses: TimestepLosses) -> None:
        """The last row; a bucket into which no loss fell has no value."""
        if not losses.rows:
            return
        step, *means = losses.rows[-1]
        span = losses.num_train_timesteps // losses.buckets
        found = {
            f"loss_by_timestep/{i * span:04d}-{(i + 1) * span - 1:04d}": mean
            for i, mean in enumerate(means)
            if mean == mean
        }
        self.write(found, int(step))

    def write_samples(self, step: int, shown: Shown) -> None:
        """Probes as scalars, strips as pictures, videos as GIF."""
        self.write({f"probe/{name}": change for name, change in shown.probes.items()}, step)
        strips = {f"strip/{video_id}": strip for video_id, strip in shown.strips.items()}
        gifs = {
            f"video/{video_id}": _make_gif(frames, shown.fps)
            for video_id, frames in shown.videos.items()
        }
        for tracker in self.trackers:
            if tracker.name == "tensorboard":
                for tag, strip in strips.items():
                    tracker.writer.add_image(tag, strip, step, dataformats="HWC")
                for (tag, gif), frames in zip(gifs.items(), shown.videos.values(), strict=True):
                    _add_gif(tracker.writer, tag, gif, frames.shape[1:3], step)
                tracker.writer.flush()
            else:
                _log_to_wandb(tracker, strips, gifs, step)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.finish()


def _make_gif(frames: NDArray[np.uint8], fps: float) -> bytes:
    pictures = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    pictures[0].save(
        file, "GIF", save_all=True, append_images=pictures[1:], duration=1000 / fps, loop=0
    )
    return file.getvalue()


def _add_gif(writer: Any, tag: str, gif: bytes, size_hw: tuple[int, int], step: int) -> None:
    """As `SummaryWriter.add_video` does, which asks for moviepy where Pillow is enough."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    height, width = size_hw
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def _log_to_wandb(
    tracker: WandBTracker,
    strips: dict[str, NDArray[np.uint8]],
    gifs: dict[str, bytes],
    step: int,
) -> None:
    import wandb

    tracker.log_images({tag: strip[None] for tag, strip in strips.items()}, step=step)
    folder = Path(tracker.run.dir)
    for tag, gif in gifs.items():
        path = folder / f"{tag.replace('/', '-')}-{step:06d}.gif"
        path.write_bytes(gif)
        tracker.log({tag: wandb.Video(str(path), format="gif")}, step=step)
