"""Pages say what is true: options exist, commands are accepted, marked examples run, links resolve.

A fenced block that follows `<!-- run -->` is run, in the order of its page, in a folder that holds
what the page names in `<!-- given: ... -->`. Every other command line of a page is parsed by the
command's own parser.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
from cyclopts import App, CycloptsError

from aa_datasets import render_puppet, render_puppets

ROOT = Path(__file__).parents[1]
ROOMS = ("datasets", "curation", "model", "eval", "leaderboard")
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *(ROOT / room / "README.md" for room in ROOMS)]
)
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
# Options of programs that are not ours.
FOREIGN = {"--no-deps", "--strict", "--require-hashes", "--num_processes", "--standalone",
           "--nproc-per-node", "--head", "--port", "--dashboard-host", "--disable-usage-stats",
           "--address", "--config_file", "--mixed_precision", "--autoscaling-config",
           "--object-store-memory",
           "--working-dir", "--runtime-env", "--python-version", "--target",
           "--data_file_keys", "--dataset_base_path", "--dataset_metadata_path",
           "--train_data_dir", "--train_data_meta"}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and whether the page wants it run."""

    page: Path
    line: int
    language: str
    text: str
    run: bool


def _read_blocks(page: Path) -> list[Block]:
    blocks: list[Block] = []
    lines = page.read_text().splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = number
            continue
        indent = len(lines[start]) - len(lines[start].lstrip())
        language = lines[start].strip().removeprefix("```").split(" ")[0]
        text = "\n".join(each[indent:] for each in lines[start + 1 : number])
        run = start > 0 and lines[start - 1].strip() == "<!-- run -->"
        blocks.append(Block(page, start + 1, language, text, run))
        start = None
    assert start is None, f"{page}: a block is not closed"
    return blocks


def _name(page: object) -> str:
    return str(page.relative_to(ROOT)) if isinstance(page, Path) else str(page)


def _command_lines(page: Path) -> Iterator[tuple[int, list[str]]]:
    """The words of each command of ours, from blocks of shell."""
    for block in _read_blocks(page):
        if block.language not in ("", "sh", "bash", "console"):
            continue
        for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
            if not re.search(r"\baa[-_]", line):
                continue
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if "-m" in words and "aa_model.cli.train" in words:  # accelerate launch, torchrun
                words = ["aa-train", *words[words.index("aa_model.cli.train") + 1 :]]
            if "-m" in words and "aa_curation" in words:
                words = ["aa-curate", *words[words.index("aa_curation") + 1 :]]
            if words and words[0] in SCRIPTS:
                end = next((n for n, word in enumerate(words) if word in (">", "|", "&&")), None)
                yield block.line, words[:end]


PAGES_WITH_COMMANDS = [page for page in PAGES if list(_command_lines(page))]
AppOf = Callable[[str, Sequence[str]], App]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=_name)
def test_commands_on_a_page_are_accepted_by_their_parser(page: Path, app_of: AppOf) -> None:
    for line, (command, *words) in _command_lines(page):
        try:
            app_of(command, words).parse_args(words, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            pytest.fail(f"{_name(page)}:{line}: {shlex.join([command, *words])}: {error}")


@pytest.fixture(scope="module")
def options(app_of: AppOf) -> frozenset[str]:
    """Every option of every command."""
    found: set[str] = {"--help", "--version"}

    def collect(app: App) -> None:
        for name in app:
            if not name.startswith("-"):
                collect(app[name])
        if app.default_command:
            for argument in app.assemble_argument_collection():
                found.update(argument.names)

    for command in SCRIPTS:
        collect(app_of(command, ()))
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_options_that_a_page_names_exist(page: Path, options: frozenset[str]) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("tells what options were called before")
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", page.read_text()))
    benchmarks = "".join(path.read_text() for path in ROOT.glob("benchmarks/**/*.py"))
    assert {o for o in named - options - FOREIGN if f'"{o}"' not in benchmarks} == set()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_tests_and_targets_that_a_page_names_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("tells where things were before")
    text = page.read_text()
    paths = re.findall(r"(?<![\w/.<])((?:benchmarks|demo|docs|examples|tests|requirements|curation"
                       r"|datasets|eval|model|leaderboard)/[\w/.-]+\.(?:py|sh|md|toml|txt|csv|yaml))",
                       text)  # fmt: skip
    lost = {path for path in paths if not any(map(Path.exists, _places(page, path)))}
    assert lost == set()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text, re.MULTILINE))
    for target in {one or other for one, other in targets}:
        assert f"\n{target}:" in makefile, target
    functions = _test_functions()
    for test in re.findall(r"`(test_\w+)`", text):
        assert test in functions, test


def _places(page: Path, path: str) -> list[Path]:
    return [ROOT / path, page.parent / path, *(ROOT / room / path for room in ROOMS)]


@functools.cache
def _test_functions() -> frozenset[str]:
    files = [*ROOT.glob("tests/**/test_*.py")]
    text = "".join(path.read_text() for path in files)
    return frozenset(re.findall(r"^def (test_\w+)", text, re.MULTILINE)) | {p.stem for p in files}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            content = target.read_text()
            anchors = {_slug(title) for title in re.findall(r"^#+ (.+)$", content, re.MULTILINE)}
            assert anchor in anchors | set(re.findall(r"^::: ([\w.]+)$", content, re.MULTILINE)), (
                link
            )


def _slug(heading: str) -> str:
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def _make_videos(folder: Path) -> None:
    render_puppets(folder / "videos", count=3, num_frames=30, fps=15)


def _make_corpus(folder: Path) -> None:
    shard = folder / "corpus" / "shards" / "train-000000.tar"
    render_puppets(shard, count=3, num_frames=24, size_hw=(64, 64))


def _make_predictions(folder: Path) -> None:
    for kind, shift in (("references", 0), ("predictions", 8)):
        for seed in range(2):
            video = folder / kind / f"puppet_{seed}"
            video.mkdir(parents=True)
            frames = render_puppet(seed, seed, num_frames=16, size_hw=(64, 64)).frames
            for number, frame in enumerate(frames):
                assert cv2.imwrite(str(video / f"{number:04d}.png"), cv2.add(frame, shift))


GIVEN: dict[str, Callable[[Path], None]] = {
    "videos": _make_videos,
    "corpus": _make_corpus,
    "predictions": _make_predictions,
}
PAGES_THAT_RUN = [page for page in PAGES if any(block.run for block in _read_blocks(page))]


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=_name)
def test_marked_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    for given in re.findall(r"<!-- given: ([\w ]+) -->", page.read_text()):
        for name in given.split():
            GIVEN[name](tmp_path)
    # The commands of this environment, as after `. .venv/bin/activate`.
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    for block in (block for block in _read_blocks(page) if block.run):
        words = {"python": [sys.executable, "-c"], "sh": ["bash", "-euo", "pipefail", "-c"]}
        done = subprocess.run(
            [*words[block.language], block.text],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=env,
        )  # fmt: skip
        shown = done.stdout[-2000:] + done.stderr[-2000:]
        assert done.returncode == 0, f"{_name(page)}:{block.line}: {shown}"
        assert done.stdout, f"{_name(page)}:{block.line} prints nothing"
