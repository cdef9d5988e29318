"""Devices that are refused; exit codes of errors, Ctrl-C and a full device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aa_datasets.command_line import make_app
from aa_model.cli.animate import Bars
from aa_model.cli.command_line import run_command
from aa_model.config import TrainConfig
from aa_model.errors import ConfigError, ModelError
from aa_model.networks.precision import choose_device


@pytest.mark.parametrize("name", ["gpu7", "cuda:99", "mps", "xpu", "meta:x"])
def test_a_device_that_is_not_there_is_refused_by_name(name: str) -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ModelError, match=f"device '{name}' cannot be used here"):
        choose_device(name)


def run(error: BaseException, when_stopped: str = "") -> int:
    app = make_app("aa-x", "Fail.", example="aa-x")

    @app.default
    def fail() -> None:
        raise error

    return run_command(app, [], when_stopped=when_stopped)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ModelError("two\nlines"), 2, "aa-x: error: two lines\n"),
        (torch.OutOfMemoryError("CUDA out of memory."), 2, "aa-x: error: CUDA out of memory.\n"),
        (KeyboardInterrupt(), 130, "aa-x: stopped: resume it\n"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert run(error, "resume it") == code
    assert capsys.readouterr().err == line


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run(RuntimeError("a bug"))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: TrainConfig(steps=n, batch_size=1, lr=1e-3),
        lambda n: TrainConfig(steps=1, batch_size=n, lr=1e-3),
        lambda n: TrainConfig(steps=1, batch_size=1, lr=1e-3, num_frames=n),
        lambda n: TrainConfig(steps=1, batch_size=1, lr=1e-3, accumulate=n),
    ],
)
def test_training_needs_at_least_one_of_each(make: Callable[[int], TrainConfig]) -> None:
    assert make(1)
    with pytest.raises(ConfigError, match="is 0: expected 1 or more"):
        make(0)


def test_a_bar_ends_before_what_is_said_next(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        for done in (1, 2):
            bars.show("finding poses", done, 2)
        assert "finding poses: 2/2 frames" in capsys.readouterr().err
        bars.show("denoising", 1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "denoising: 0/2 steps",
        "denoising: 1/2 steps",
    ]
