"""aa-leaderboard: what it prints, writes and refuses."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from aa_eval.result import Result
from aa_leaderboard.cli import main


def test_add_then_render_writes_all_four_reports_and_the_clips(
    make_result: Callable[..., Result],
    write: Callable[[Result], Path],
    tmp_path: Path,
    mp4: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write(make_result("our & method"))
    (folder / "media").mkdir()
    for role in ("reference", "ground_truth", "prediction"):
        (folder / "media" / f"video_0.{role}.mp4").write_bytes(mp4)
    board, site = str(tmp_path / "board"), tmp_path / "site"
    assert main(["add", str(folder), "--board", board, "--dry-run"]) == 0
    assert not Path(board).exists()
    assert main(["add", str(folder), "--board", board]) == 0
    assert main(["render", "--board", board, "--out", str(site), "--title", "T & t"]) == 0
    printed = capsys.readouterr().out
    assert "1 measured row (" in printed
    assert "among them 0 trivial baselines" in printed
    assert main(["table", "2", "--board", board]) == 0  # the row is of aa-clean-v1
    assert f"not shown: 1 row of {board}; table 2 takes those" in capsys.readouterr().err
    assert f"{site / 'index.html'}\n{site / 'sources.html'}\n" in printed
    names = {path.name for path in site.iterdir()}
    assert names == {
        "index.html",
        "sources.html",
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        "media",
    }
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "T &amp; t" in page
    clips = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.mp4"))]
    assert len(clips) == 3
    assert all(f'"{clip}"' in page for clip in clips)


@pytest.mark.parametrize("format_", ["csv", "md", "tex", "html"])
def test_render_writes_only_the_format_asked_for(tmp_path: Path, format_: str) -> None:
    assert main(["render", "--out", str(tmp_path), "--format", format_]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {f".{format_}"}


@pytest.mark.parametrize("number", ["1", "2", "3"])
@pytest.mark.parametrize("format_", ["md", "csv", "tex"])
def test_table_prints_a_table_of_the_paper(
    capsys: pytest.CaptureFixture[str], number: str, format_: str
) -> None:
    assert main(["table", number, "--format", format_]) == 0
    assert "Animate Anyone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "no-such-folder"], "not a folder: expected one that `aa-eval"),
        (["render", "--out", "site", "--board", "no-such-board"], "no such board: make one"),
        (["render", "--out", "file/site"], "file"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("not a folder")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("aa-leaderboard: error: ")
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize(
    "arguments", [["table", "4"], ["render"], ["add"], ["table", "x"], ["nonsense"]]
)
def test_a_wrong_option_exits_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("aa-leaderboard: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [[], ["add"], ["clips"], ["render"], ["table"], ["study", "make"], ["study", "report"]],
)
def test_every_help_has_an_example_that_names_the_command(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"Example: aa-leaderboard {' '.join(command)}".strip() in told


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == metadata.version("animate-anyone-toolkit")
