"""Devices that are refused, and what Ctrl-C and a full device come to."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest
import torch

from aa_model.cli.command_line import add_device, run_command
from aa_model.config import TrainConfig
from aa_model.errors import ConfigError, ModelError


@pytest.mark.parametrize(("text", "message"), [("gpu7", "no device"), ("cuda:99", "CUDA devices")])
def test_a_device_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    parser = argparse.ArgumentParser()
    add_device(parser)
    assert parser.parse_args(["--device", "cpu"]).device == "cpu"
    with pytest.raises(SystemExit):
        parser.parse_args(["--device", text])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ModelError("two\nlines"), 2, "aa-x: error: two lines\n"),
        (torch.OutOfMemoryError("CUDA out of memory."), 2, "aa-x: error: CUDA out of memory.\n"),
        (KeyboardInterrupt(), 130, "aa-x: stopped: it goes on\n"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def fail() -> None:
        raise error

    assert run_command("aa-x", fail, when_stopped="it goes on") == code
    assert capsys.readouterr().err == line


def test_a_bug_keeps_its_traceback() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_command("aa-x", fail, when_stopped="")


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
