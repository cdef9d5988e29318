"""Pictures while training, and the three questions that users ask first of a run.

OUT/samples/step-000500-<clip>.png   reference, pose, generated and true frames
OUT/samples/probes.csv               in grey levels: by how much the video changes, on average, when
                                     the reference, or the pose, is another clip's (0 means
                                     "ignored"); by how much the still background changes from frame
                                     to frame, in the true video, in the generated one, and in one
                                     without the temporal layers
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aa_model.config import GenerateConfig
from aa_model.errors import ModelError
from aa_model.inference.animate_shards import Job, read_jobs, swapped
from aa_model.inference.options import Swap
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.inference.visualize import draw_strip, pick_moments
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.temporal import without_temporal_layers
from aa_model.training.step_table import write_row

# Where the true video changes by no more than its codec does, in grey levels, nothing moves.
_STILL = 6


def background_flicker(video: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Mean change from frame to frame, in grey levels, where the true video stands still.

    NaN where all of it moves, and for a single frame.

    Args:
        video, true: uint8 [T, H, W, 3].
    """
    spans = true.max(axis=0).astype(np.int16) - true.min(axis=0)  # [H, W, 3]
    still = spans.max(axis=-1) <= _STILL
    if len(video) < 2 or not still.any():
        return math.nan
    changes = np.abs(np.diff(video.astype(np.int16), axis=0))
    return float(changes[:, still].mean())


@dataclass(frozen=True, slots=True)
class Shown:
    """What was written of one step, by video id.

    Attributes:
        strips: reference, pose, generated and true frames of five moments, uint8 [H', W', 3].
        videos: the four side by side, uint8 [T, H, 4 W, 3], at `fps`.
        probes: reference_swapped, pose_swapped, flicker_true, flicker and, of a network with
            temporal layers, flicker_without_temporal_layers, in grey levels.
    """

    strips: dict[str, NDArray[np.uint8]]
    videos: dict[str, NDArray[np.uint8]]
    fps: float
    probes: dict[str, float]

    def line(self, step: int) -> str:
        """What the probes say, for a reader of the log."""
        p = self.probes
        without = p.get("flicker_without_temporal_layers")
        off = "" if without is None else f", {without:.2f} without the temporal layers"
        return (
            f"samples of step {step}: another reference changes {p['reference_swapped']:.1f} grey "
            f"levels, another pose {p['pose_swapped']:.1f}; still background flickers by "
            f"{p['flicker']:.2f} ({p['flicker_true']:.2f} in the true video{off})"
        )


class TrainingSamples:
    """Animates the first two clips of the shards; takes no random number from the training.

    Args:
        model: the network in training; it is not changed.
        folder: of the run.
        max_frames: of each clip.
        autocast: as in the training; halved weights need it.
    """

    def __init__(
        self,
        model: AnimateAnyone,
        shards: Sequence[Path],
        folder: Path,
        max_frames: int = 8,
        *,
        autocast: bool = False,
    ) -> None:
        self.pipeline = AnimatePipeline.from_model(model)
        self.folder = folder / "samples"
        self.config = GenerateConfig(steps=10, guidance=1, merge="mean", autocast=autocast)
        jobs = read_jobs(shards, model.config.size_hw, max_frames=max_frames)
        self.jobs = list(itertools.islice(jobs, 2))
        if len(self.jobs) < 2:
            raise ModelError("samples need two clips or more, to swap their references")

    def write(self, step: int) -> Shown:
        """Write the pictures of this step, and its row of probes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        found = [self._animate(job) for job in self.jobs]
        strips, videos = {}, {}
        for job, frames in zip(self.jobs, found, strict=True):
            moments = pick_moments(len(frames))
            poses = self.pipeline.draw(job.pose.at_frames(moments))
            columns = [poses, frames[moments], job.true_frames(moments)]
            strip = draw_strip(job.reference, columns)
            Image.fromarray(strip).save(self.folder / f"step-{step:06d}-{job.video_id}.png")
            strips[job.video_id] = strip
            videos[job.video_id] = self._side_by_side(job, frames)
        probes = {f"{swap}_swapped": self._change(found, swap) for swap in get_args(Swap)}
        probes |= self._flicker(found)
        self._write_probes(step, probes)
        return Shown(strips, videos, self.jobs[0].fps, probes)

    def _write_probes(self, step: int, probes: dict[str, float]) -> None:
        values = {name: f"{change:.4f}" for name, change in probes.items()}
        write_row(self.folder / "probes.csv", step, values)

    def _side_by_side(self, job: Job, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        poses = self.pipeline.draw(job.pose)
        reference = np.broadcast_to(job.reference, frames.shape)
        true = job.true_frames(np.arange(len(frames)))
        return np.concatenate([reference, poses, frames, true], axis=2)

    def _change(self, found: list[NDArray[np.uint8]], swap: Swap) -> float:
        others = [self._animate(job) for job in swapped(self.jobs, swap)]
        changes = []
        for a, b in zip(found, others, strict=True):
            T = min(len(a), len(b))
            changes.append(np.abs(a[:T].astype(np.int16) - b[:T]).mean())
        return float(np.mean(changes))

    def _flicker(self, found: list[NDArray[np.uint8]]) -> dict[str, float]:
        true = [j.true_frames(np.arange(len(f))) for j, f in zip(self.jobs, found, strict=True)]
        videos = {"flicker_true": true, "flicker": found}
        if self.pipeline.model.has_temporal_layers:
            with without_temporal_layers(self.pipeline.model.denoising_unet):
                videos["flicker_without_temporal_layers"] = [self._animate(j) for j in self.jobs]
        return {
            name: float(np.mean([background_flicker(v, t) for v, t in zip(of, true, strict=True)]))
            for name, of in videos.items()
        }

    def _animate(self, job: Job) -> NDArray[np.uint8]:
        return np.stack(list(self.pipeline.stream(job.reference, job.pose, self.config)))
