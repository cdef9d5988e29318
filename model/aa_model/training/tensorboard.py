"""TensorBoard's event file of a run: scalars of every step, and the samples as moving pictures.

Needs the extra `tensorboard`. A resumed run writes a file of its own, which tells TensorBoard
to forget what came after the save that it resumed from.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aa_model.errors import ModelError
from aa_model.training.loop import Step
from aa_model.training.samples import Shown
from aa_model.training.timestep_losses import TimestepLosses

try:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise ModelError(
        "--tensorboard needs the package tensorboard: pip install 'animate-anyone-toolkit"
        "[tensorboard]'"
    ) from error


class TensorBoardLog:
    """Writes to `folder`; `step` is where the run stands."""

    def __init__(self, folder: Path, step: int) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def write_step(self, step: Step, images_per_s: float) -> None:
        values = {
            "train/loss": step.loss,
            "train/grad_norm": step.grad_norm,
            "train/lr": step.lr,
            "train/images_per_s": images_per_s,
        }
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step.step)

    def write_by_timestep(self, losses: TimestepLosses) -> None:
        """The last row; a bucket into which no loss fell has no value."""
        if not losses.rows:
            return
        step, *means = losses.rows[-1]
        span = losses.num_train_timesteps // losses.buckets
        for i, mean in enumerate(means):
            if mean == mean:
                tag = f"loss_by_timestep/{i * span:04d}-{(i + 1) * span - 1:04d}"
                self.writer.add_scalar(tag, mean, int(step))

    def write_samples(self, step: int, shown: Shown) -> None:
        """Probes as scalars, strips as pictures, videos as GIF."""
        for name, change in shown.probes.items():
            self.writer.add_scalar(f"probe/{name}", change, step)
        for video_id, strip in shown.strips.items():
            self.writer.add_image(f"strip/{video_id}", strip, step, dataformats="HWC")
        for video_id, frames in shown.videos.items():
            self._add_gif(f"video/{video_id}", frames, shown.fps, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()

    def _add_gif(self, tag: str, frames: NDArray[np.uint8], fps: float, step: int) -> None:
        """As `SummaryWriter.add_video` does, which asks for moviepy where Pillow is enough."""
        pictures = [Image.fromarray(frame) for frame in frames]
        file = io.BytesIO()
        pictures[0].save(
            file, "GIF", save_all=True, append_images=pictures[1:], duration=1000 / fps, loop=0
        )
        height, width = frames.shape[1:3]
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=file.getvalue()
        )
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        file_writer: Any = self.writer.file_writer  # typed as None, which it is once closed
        file_writer.add_summary(summary, step)
