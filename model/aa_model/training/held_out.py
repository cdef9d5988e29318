"""The held-out loss: the one curve by which runs can be compared.

The training loss is that of other clips, timesteps and noise at every step, and of weights that
differ between runs. This is the plain squared error on clips that are not trained on, always the
same windows of them, at the same timesteps, under the same noise, with the weights that are saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.loader import make_loader
from aa_datasets.shards import read_places
from aa_model.config import TrainConfig
from aa_model.errors import ModelError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.training.diffusion_loss import as_videos, diffusion_loss
from aa_model.training.distributed import Processes, sum_over_processes
from aa_model.training.memory import training_autocast

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the schedule's timesteps


class HeldOutLoss:
    """Measures the loss on held-out clips; takes no random number from the training.

    Args:
        model: the network in training.
        shards: whose clips are held out.
        trained_on: shards of the training.
        loader: as the training's; its order, windows and batches are replaced by fixed ones.
        most_clips: no more than so many of the clips are looked at.

    Raises:
        ModelError: a clip is trained on.
    """

    def __init__(
        self,
        model: AnimateAnyone,
        shards: Sequence[Path],
        trained_on: Sequence[Path],
        config: TrainConfig,
        loader: LoaderConfig,
        processes: Processes,
        most_clips: int,
    ) -> None:
        both = {place.clip_id for path in shards for place in read_places(path)} & {
            place.clip_id
            for path in trained_on
            for place in read_places(path)
            if loader.split in {None, place.split}
        }
        if both:
            raise ModelError(
                f"{len(both)} clips of --held-out are trained on, such as {min(both)}: give others"
            )
        self.model, self.processes = model, processes
        self.single_frames = loader.stage == 1
        fixed = replace(loader, seed=0, batch_size=1, split=None, num_workers=0, cache_bytes=0)
        if self.single_frames:
            fixed = replace(fixed, num_frames=1)
        self.loader = make_loader(shards, fixed)
        self.begin = self.loader.state_dict()
        self.num_clips = min(most_clips, self.loader.num_clips)
        self.scheduler = make_scheduler(model.config.noise)
        # What weighs errors differs between runs.
        self.config = replace(
            config, reference_drop=0.0, noise_offset=0.0, min_snr_gamma=None, person_weight=1.0
        )

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """The mean `loss`, and that of each timestep as `at_T`; every process must call it."""
        steps: int = self.scheduler.config.num_train_timesteps
        timesteps = [round(share * steps) for share in SHARES]
        world, device = self.processes.world_size, self.processes.device
        total = torch.zeros(len(timesteps), dtype=torch.float64)
        self.loader.load_state_dict(self.begin)
        # As many passes in every process: sharded weights are gathered by all at once.
        for number in range(-(-self.num_clips // world) * world):
            frames = next(self.loader)
            if number % world != self.processes.rank:
                continue
            videos = as_videos(frames.to(device), single_frames=self.single_frames)
            for i, timestep in enumerate(timesteps):
                # On the CPU: the same noise on every device.
                generator = torch.Generator().manual_seed(len(timesteps) * number + i)
                fixed = torch.full((len(videos.target),), timestep, device=device)
                with training_autocast(device, self.config):
                    error = diffusion_loss(
                        self.model, self.scheduler, self.model.encode, self.config, videos,
                        generator, timesteps=fixed,
                    )  # fmt: skip
                total[i] += error.item() if number < self.num_clips else 0.0
        means = sum_over_processes(total, self.processes) / self.num_clips
        by_timestep = {f"at_{t}": m for t, m in zip(timesteps, means.tolist(), strict=True)}
        return {"loss": float(means.mean()), **by_timestep}
