"""What aa-train says before the first step and after the last."""

from __future__ import annotations

from pathlib import Path

from aa_model.animate_anyone import AnimateAnyone
from aa_model.config import TrainConfig, to_json
from aa_model.memory import training_memory
from aa_model.parts import count_parameters
from aa_model.stages import Stage
from aa_model.train import Step, TrainingState
from aa_model.training_run import Origin


def print_plan(
    stage: Stage,
    config: TrainConfig,
    model: AnimateAnyone,
    origin: Origin,
) -> None:
    print("stage {} at {}x{}".format(stage.name, *model.config.size_hw))
    print("  " + ", ".join(f"{name} {value}" for name, value in to_json(config).items()))
    for part, count in count_parameters(model).items():
        if count and (part in stage.needs or part in stage.trains or part in origin.sources):
            role = "trained" if part in stage.trains else "frozen"
            source = f"from {origin.sources[part]}" if part in origin.sources else "new"
            print(f"  {part:16} {count / 1e6:8.3f} M  {role:8} {source}")
    need = training_memory(model, config)
    print(
        f"  memory before activations: {need.total / 1e9:.2f} GB (weights {need.weights / 1e9:.2f},"
        f" gradients {need.gradients / 1e9:.2f}, optimizer {need.optimizer / 1e9:.2f}, average "
        f"{need.ema / 1e9:.2f})"
    )


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
