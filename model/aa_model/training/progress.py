"""Show a run while it trains: a progress bar, samples, TensorBoard, Weights & Biases."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from aa_datasets.progress import progress
from aa_model.config import TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.training.distributed import Processes
from aa_model.training.loop import Step, TrainingState
from aa_model.training.options import TrainOptions
from aa_model.training.samples import TrainingSamples
from aa_model.training.timestep_losses import TimestepLosses

if TYPE_CHECKING:
    from tqdm import tqdm

    from aa_model.training.trackers import RunLog


class TrainingWatch:
    """Told of every step and save; takes no part in the run.

    Args:
        samples: written every `samples_every` steps, and before the first.
        log: gets everything that is shown.
        config: of the training.
        clips_per_step: of all processes.
    """

    def __init__(
        self,
        bar: tqdm[Any],
        state: TrainingState,
        samples: TrainingSamples | None,
        samples_every: int,
        log: RunLog | None,
        config: TrainConfig,
        clips_per_step: int,
    ) -> None:
        self.bar, self.state = bar, state
        self.samples, self.samples_every = samples, samples_every
        self.log = log
        self.config, self.clips_per_step = config, clips_per_step
        self._seconds = state.seconds
        self._loss: float | None = None  # smoothed, for the bar

    @classmethod
    def of(
        cls,
        options: TrainOptions,
        model: AnimateAnyone,
        config: TrainConfig,
        state: TrainingState,
        processes: Processes,
    ) -> TrainingWatch:
        """As the options ask; only the first process shows anything."""
        samples, log = None, None
        if processes.is_first and options.samples_every:
            shards = options.samples_from or options.shards
            samples = TrainingSamples(model, shards, options.out, autocast=config.autocast)
        if processes.is_first and (options.tensorboard or options.wandb):
            from aa_model.training.trackers import RunLog, make_trackers  # takes a while

            log = RunLog(make_trackers(options, config, state.step))
        bar: tqdm[Any] = progress(
            desc=f"stage {options.stage}",
            unit="step",
            total=config.steps,
            initial=state.step,
            disable=not processes.is_first,
        )
        clips = config.batch_size * config.accumulate * processes.world_size
        return cls(bar, state, samples, options.samples_every, log, config, clips)

    def __enter__(self) -> TrainingWatch:
        if self.state.step == 0:
            self._sample()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.close()
        if self.log is not None:
            self.log.close()

    def stepped(self, step: Step) -> None:
        self._loss = step.loss if self._loss is None else 0.98 * self._loss + 0.02 * step.loss
        spent_s = self.state.seconds - self._seconds
        images = self.clips_per_step * self.config.frames_after(step.step - 1)
        images_per_s = images / spent_s if spent_s else 0.0
        self.bar.set_postfix_str(
            f"loss {self._loss:.4f} |grad| {step.grad_norm:.2f} {images_per_s:.1f} images/s",
            refresh=False,
        )
        self.bar.update()
        if self.log is not None:
            self.log.write_step(step, images_per_s)
        self._seconds = self.state.seconds
        self._sample()

    def saved(self, by_timestep: TimestepLosses) -> None:
        if self.log is not None:
            self.log.write_by_timestep(by_timestep)

    def measured(self, step: int, held_out: dict[str, float]) -> None:
        self.bar.write(f"held-out loss of step {step}: {held_out['loss']:.5f}")
        if self.log is not None:
            self.log.write({f"held_out/{name}": v for name, v in held_out.items()}, step)

    def _sample(self) -> None:
        if self.samples is None or self.state.step % self.samples_every:
            return
        with self.state.averaged():
            shown = self.samples.write(self.state.step)
        self.bar.write(shown.line(self.state.step))
        if self.log is not None:
            self.log.write_samples(self.state.step, shown)
