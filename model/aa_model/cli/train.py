"""aa-train: train one stage from shards."""

from __future__ import annotations

import dataclasses
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import App, Group, Parameter
from cyclopts.config import Dict

from aa_datasets.command_line import make_app
from aa_model.cli.command_line import run_command, say_loading
from aa_model.config import TrainConfig
from aa_model.errors import ModelError
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
    stored = _read_options(_option(argv, "--options"))
    chosen = tuple(
        _option(argv, f"--{name}") or str(stored.get(name, "")) for name in ("preset", "stage")
    )
    found = preset_training(*chosen) if chosen[0] in PRESETS else None
    config = found or preset_training(*_SHOWN)
    assert config is not None
    preset, stage = chosen if found else _SHOWN
    title = f"Training (defaults: {preset}, stage {stage}"
    title += ")" if found else "; add --preset and --stage to see theirs)"
    defaults = _with_defaults(config)

    def train(
        options: Annotated[TrainOptions, Parameter(name="*")],
        training: TrainConfig = defaults,
        options_file: Annotated[Path | None, Parameter(name="--options")] = None,
    ) -> None:
        """Train.

        Parameters
        ----------
        options_file
            TOML file of options, such as OUT/options.toml of another run; options that are given
            here as well win.
        """
        options.check_files()
        say_loading("aa-train")
        from aa_model.training.run import train_stage

        given = TrainConfig(**dataclasses.asdict(training)) if found else None
        train_stage(dataclasses.replace(options, training=given))

    group = Group(title, sort_key=9)
    train.__annotations__["training"] = Annotated[type(defaults), Parameter("*", group=group)]
    app.default(train)
    if stored:  # what is given on the command line wins
        app.config = Dict(stored, source=_option(argv, "--options"), use_commands_as_keys=False)

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
    hints = get_type_hints(TrainConfig, include_extras=True)
    fields = [
        (f.name, hints[f.name], dataclasses.field(default=getattr(config, f.name)))
        for f in dataclasses.fields(TrainConfig)
    ]
    made: TrainConfig = dataclasses.make_dataclass(
        "Training", fields, bases=(TrainConfig,), frozen=True, kw_only=True,
        namespace={"__module__": __name__},
    )()  # fmt: skip
    return made


def _read_options(path: str) -> dict[str, Any]:
    """The options of a TOML file; none without one."""
    try:
        return tomllib.loads(Path(path).read_text()) if path else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not TOML: {error}") from error


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
    try:
        app = make_train_app(argv)
    except (ModelError, OSError) as error:  # the file of --options
        print(f"aa-train: error: {error}", file=sys.stderr)
        return 2
    return run_command(
        app,
        argv,
        when_stopped="--resume resumes from the last save; finished shards of latents are kept",
    )


if __name__ == "__main__":
    sys.exit(main())
