"""aa-train: train one stage from shards."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated, get_type_hints

from cyclopts import App, Group, Parameter

from aa_datasets.command_line import make_app
from aa_model.cli.command_line import run_command
from aa_model.config import TrainConfig
from aa_model.presets import PRESETS
from aa_model.training.options import PrecomputeOptions, TrainOptions, preset_training

_SHOWN = ("base-24gb", "1")  # whose numbers --help shows unless --preset and --stage are given


def make_train_app(argv: Sequence[str]) -> App:
    """The command; the defaults of its training are those of the preset and stage in `argv`."""
    app = make_app(
        "aa-train",
        "Train one stage from shards. On several GPUs: `accelerate launch -m aa_model.cli.train "
        "...` (--batch-size is per process).",
        example="aa-train corpus --stage 1 --preset base-24gb --init start --out run-1",
    )
    chosen = _option(argv, "--preset"), _option(argv, "--stage")
    found = preset_training(*chosen) if chosen[0] in PRESETS else None
    config = found or preset_training(*_SHOWN)
    assert config is not None
    preset, stage = chosen if found else _SHOWN
    title = f"Training (defaults: {preset}, stage {stage}"
    title += ")" if found else "; add --preset and --stage to see theirs)"
    defaults = _with_defaults(config)

    def train(
        options: Annotated[TrainOptions, Parameter(name="*")], training: TrainConfig = defaults
    ) -> None:
        from aa_model.training.run import train_stage

        given = TrainConfig(**dataclasses.asdict(training)) if found else None
        train_stage(dataclasses.replace(options, training=given))

    group = Group(title, sort_key=9)
    train.__annotations__["training"] = Annotated[type(defaults), Parameter("*", group=group)]
    app.default(train)

    @app.command(
        help_epilogue="Example: `aa-train precompute corpus --preset base-24gb --init start`"
    )
    def precompute(options: Annotated[PrecomputeOptions, Parameter(name="*")]) -> None:
        """Store the output of the frozen encoders for every frame, next to the shards.

        Stages 1 and 2 read it with --precomputed-latents. Finished shards are skipped.
        """
        from aa_model.training import precompute as module

        module.precompute(options)

    return app


def _with_defaults(config: TrainConfig) -> TrainConfig:
    """`config` as an instance of a class whose defaults it is, so that help shows its numbers."""
    hints = get_type_hints(TrainConfig)
    fields = [
        (f.name, hints[f.name], dataclasses.field(default=getattr(config, f.name)))
        for f in dataclasses.fields(TrainConfig)
    ]
    made: TrainConfig = dataclasses.make_dataclass(
        "Training", fields, bases=(TrainConfig,), frozen=True, kw_only=True,
        namespace={"__module__": __name__},
    )()  # fmt: skip
    return made


def _option(argv: Sequence[str], name: str) -> str:
    """The value of an option, before the command line is parsed; "" if it is not there."""
    for word, following in zip(argv, [*argv, ""][1:], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return run_command(
        make_train_app(argv),
        argv,
        when_stopped="--resume resumes from the last save; finished shards of latents are kept",
    )


if __name__ == "__main__":
    sys.exit(main())
