"""Print a training plan, its time and memory, and a summary at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from aa_model.config import TrainConfig, to_json
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import count_parameters
from aa_model.training.loop import Step, TrainingState
from aa_model.training.memory import training_memory
from aa_model.training.peak_memory import PeakMemory
from aa_model.training.run_folder import Origin
from aa_model.training.stages import Stage


def print_plan(
    stage: Stage,
    config: TrainConfig,
    model: AnimateAnyone,
    origin: Origin,
) -> None:
    """Print sizes, parts, and the memory that they take."""
    sizes = ", ".join("{}x{}".format(*size_hw) for size_hw in model.config.sizes_hw)
    print(f"stage {stage.name} at {sizes}")
    print("  training: " + _in_words(to_json(config)))
    network = to_json(model.config)
    parts = {name: value for name, value in network.items() if isinstance(value, dict)}
    print("  network: " + _in_words({k: v for k, v in network.items() if k not in parts}))
    for name, values in parts.items():
        print(f"    {name}: {_in_words(values)}")
    for part, count in count_parameters(model).items():
        if count and (part in stage.needs or part in stage.trains or part in origin.sources):
            role = "trained" if part in stage.trains else "frozen"
            if config.lora_rank and part in stage.trains:
                role = f"rank {config.lora_rank}"
            source = "new" if part in stage.trains else "absent: give --init"
            if part in origin.sources:
                source = f"from {origin.sources[part]}"
            print(f"  {part:16} {count / 1e6:8.3f} M  {role:8} {source}")
    need = training_memory(model, config)
    print(
        f"  memory before activations: {need.total / 1e9:.2f} GB (weights {need.weights / 1e9:.2f},"
        f" gradients {need.gradients / 1e9:.2f}, optimizer {need.optimizer / 1e9:.2f}, average "
        f"{need.ema / 1e9:.2f})"
    )


def print_step_costs(peak: PeakMemory, tflop: float, config: TrainConfig) -> None:
    """Print what a step holds at its peak and what it computes, in each process."""
    clips = config.batch_size * config.accumulate
    print(
        f"  memory at a step's peak on a GPU, counted: {peak.total / 1e9:.2f} GB "
        f"({peak.held / 1e9:.2f} held, the passes add {peak.passes / 1e9:.2f})"
    )
    print(
        f"  a step computes {tflop:.3g} TFLOP in each process: {clips} x {config.num_frames} "
        "frames, forward and backward, without the updates"
    )


def _in_words(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items())


def print_step_time(
    step_s: float,
    config: TrainConfig,
    state: TrainingState,
    model: AnimateAnyone,
    time_limit_s: float,
) -> None:
    """How long the rest takes by what `measure_step_s` found, and a GPU's peak of memory."""
    rest = config.steps - state.step
    print(
        f"  time per step: {step_s:.3g} s forward and backward, measured on random pictures, "
        "without reading and updates"
    )
    left_s = time_limit_s - state.seconds
    if rest * step_s > left_s:
        print(f"  the time limit leaves {duration(left_s)}: about {left_s / step_s:.0f} of the "
              f"{rest} steps")  # fmt: skip
    else:
        steps = "1 step takes" if rest == 1 else f"{rest} steps take"
        print(f"  {steps} about {duration(rest * step_s)}")
    if model.device.type == "cuda":
        # The optimizer's state comes with its first update, which was not measured.
        peak = (
            torch.cuda.max_memory_allocated(model.device) + training_memory(model, config).optimizer
        )
        print(f"  memory at a step's peak: {peak / 1e9:.2f} GB, activations and optimizer included")


def duration(seconds: float) -> str:
    """Seconds in the largest unit that they fill."""
    for unit, length_s in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def print_summary(losses: list[Step], state: TrainingState, out: Path) -> None:
    if not losses:
        print(f"nothing to do: {state.step} steps were already made; raise --steps")
        return
    tenth = max(1, len(losses) // 10)
    first = sum(s.loss for s in losses[:tenth]) / tenth
    last = sum(s.loss for s in losses[-tenth:]) / tenth
    print(
        f"{state.step} steps in {state.seconds:.0f} s; mean loss of the first tenth {first:.4f}, "
        f"of the last {last:.4f}; checkpoint and loss.csv in {out}"
    )
