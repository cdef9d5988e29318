"""What all seven commands share: light help, a version, an example in each help."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from cyclopts import App

ROOT = Path(__file__).parents[1]
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
HEAVY = ("torch", "diffusers", "transformers", "ray", "pandas", "cv2", "onnxruntime", "scipy", "av")
WORDS = {"--help": "Usage:", "--version": metadata.version("animate-anyone-toolkit")}

RUN = """
import sys
from importlib import import_module
try:
    status = getattr(import_module(sys.argv[1]), sys.argv[2])(sys.argv[3:])
except SystemExit as stop:
    status = stop.code
print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize("option", WORDS)
@pytest.mark.parametrize("command", SCRIPTS)
def test_help_and_version_load_nothing_heavy(command: str, option: str) -> None:
    """`benchmarks/help_times.py` measures the seconds; this holds what they depend on."""
    module, function = SCRIPTS[command].split(":")
    done = subprocess.run(
        [sys.executable, "-c", RUN, module, function, option],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert WORDS[option] in done.stdout
    loaded = done.stderr.rpartition("loaded:")[2].split()
    assert set(loaded) & set(HEAVY) == set()


@pytest.mark.parametrize(
    ("command", "line", "wrong", "help_of"),
    [
        ("aa-datasets", "show --cuont 1", "--cuont", "aa-datasets show"),
        ("aa-datasets", "--cuont 1", "--cuont", "aa-datasets"),
        ("aa-eval", "protocols shwo", ": shwo.", "aa-eval protocols"),
        ("aa-leaderboard", "study make --otu x", "--otu", "aa-leaderboard study make"),
    ],
)
def test_a_wrong_word_points_to_the_help_of_its_own_command(
    command: str, line: str, wrong: str, help_of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, function = SCRIPTS[command].split(":")
    assert getattr(importlib.import_module(module), function)(line.split()) == 2
    said = capsys.readouterr().err
    assert wrong in said
    assert said.endswith(f"See `{help_of} --help`.\n")


@pytest.mark.parametrize("command", SCRIPTS)
def test_a_command_alone_shows_its_help_or_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, function = SCRIPTS[command].split(":")
    status = getattr(importlib.import_module(module), function)([])
    output = capsys.readouterr()
    if status == 0:
        assert f"Usage: {command}" in output.out
    else:
        assert status == 2
        assert output.err.startswith(f"{command}: error: ")
        assert output.err.count("\n") == 1


def sub_apps(app: App, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], App]]:
    """An app with the words that start it, then its sub-commands, all the way down."""
    yield words, app
    for name in app:
        if not name.startswith("-"):
            yield from sub_apps(app[name], (*words, name))


@pytest.mark.parametrize("command", SCRIPTS)
def test_every_help_ends_with_an_example(command: str, app_of: Callable[[str], App]) -> None:
    for words, app in sub_apps(app_of(command), (command,)):
        example = f"Example: `{' '.join(words)}"
        assert app.default_command is None or example in str(app.help_epilogue), words
