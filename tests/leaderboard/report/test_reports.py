"""CSV, Markdown and LaTeX: the paper's tables read back, and nothing of a submission runs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_eval.result import MetricValue, Result
from aa_leaderboard.paper_tables import paper_table
from aa_leaderboard.published import package_text, read_published
from aa_leaderboard.report.frame import board_csv, rows_frame
from aa_leaderboard.report.text_tables import (
    board_latex,
    board_markdown,
    escape_latex,
    escape_markdown,
    paper_table_csv,
    paper_table_latex,
    paper_table_markdown,
)
from aa_leaderboard.row import row_of_result
from aa_leaderboard.table import tables_of

Make = Callable[..., Result]


def cells_of(number: int) -> list[list[str]]:
    return [[method, *(cell.text for cell in cells)] for method, cells in paper_table(number).lines]


def markdown_cells(text: str) -> list[list[str]]:
    """The cells of every table line, without the padding."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_paper_table_reads_back_from_csv_markdown_and_latex(number: int) -> None:
    table = paper_table(number)
    head, *lines = csv.reader(io.StringIO(paper_table_csv(table)))
    assert head == ["Method", "SSIM", "PSNR", "LPIPS", "FVD"]
    assert lines == cells_of(number)

    markdown = [
        [re.sub(r"\*\*|</?u>|\\|†", "", cell) for cell in cells]
        for cells in markdown_cells(paper_table_markdown(table))
    ]
    assert markdown[0] == ["Method", "SSIM ↑", "PSNR ↑", "LPIPS ↓", "FVD ↓"]
    assert markdown[2:] == cells_of(number)

    body = paper_table_latex(table).split(r"\midrule")[1].split(r"\bottomrule")[0]
    plain = re.sub(r"\\textbf|\\underline|[{}]|\$\^\\dagger\$", "", body)
    latex = [[c.strip() for c in line.split("&")] for line in plain.split(r"\\") if line.strip()]
    assert latex == cells_of(number)


def test_best_is_bold_and_second_is_underlined() -> None:
    latex = paper_table_latex(paper_table(2))
    assert re.findall(r"\\textbf\{([^}]*)\}", latex) == ["0.718", "29.56", "0.285", "171.9"]
    assert re.findall(r"\\underline\{([^}]*)\}", latex) == ["29.39", "284.8", "0.673", "0.292"]
    markdown = paper_table_markdown(paper_table(2))
    assert ["Animate Anyone", "**0.718**", "**29.56**", "**0.285**", "**171.9**"] in (
        markdown_cells(markdown)
    )
    assert "<u>0.673</u>" in markdown


def test_what_was_measured_as_a_table_was_stands_beneath_it_without_a_place(
    make_result: Make,
) -> None:
    values = {"ssim": 0.9, "psnr_overflow": 40.0, "psnr": 20.0, "lpips": 0.1, "lpips_alex": 0.2}
    metrics = {key: MetricValue(value, None, None, None, 72, None) for key, value in values.items()}
    board = [
        row_of_result("a", make_result("o|urs", label="", metrics=metrics, **scored))
        for scored in (
            {"protocol": "tiktok-disco-2023", "benchmark": "tiktok"},
            {"protocol": "tiktok-disco-2023", "benchmark": None},  # other videos
            {"protocol": "aa-clean-v1", "benchmark": "tiktok"},
        )
    ]
    table = paper_table(2, board)
    assert table.lines[:-1] == paper_table(2).lines
    assert table.num_measured == 1
    assert paper_table_csv(table).splitlines()[-1] == "o|urs (measured),0.900,40.00,0.100,-"
    # The best of all, and not bold.
    assert [r"o\|urs (measured)", "0.900", "40.00", "0.100", "-"] in (
        markdown_cells(paper_table_markdown(table))
    )
    assert "(measured) & 0.900 & 40.00 & 0.100 & - " in paper_table_latex(table)
    assert "aa-eval, protocol tiktok-disco-2023" in table.notes[-1]
    assert paper_table(1, board) == paper_table(1)


def test_the_board_csv_keeps_printed_text_and_every_digit_of_measured_values(
    make_result: Make,
) -> None:
    value = 0.1 + 0.2  # 0.30000000000000004: a rounded report would lose the last digit
    ssim = MetricValue(value, 0.25, 0.35, None, 72, None)
    row = row_of_result("a", make_result("ours", metrics={"ssim": ssim}))
    records = list(csv.DictReader(io.StringIO(board_csv([row, *read_published()]))))
    assert [r["kind"] for r in records] == ["measured"] + ["published"] * 204
    assert float(records[0]["ssim"]) == value
    assert (records[0]["ssim_ci_low"], records[0]["ssim_ci_high"]) == ("0.25", "0.35")
    assert records[0]["label"] == "demo"
    source = list(csv.DictReader(io.StringIO(package_text("published.csv"))))
    for ours, theirs in zip(records[1:], source, strict=True):
        for field in ("method", "ssim", "lpips", "fvd", "fid_vid", "fid", "l1", "csim", "source"):
            assert ours[field] == theirs[field]
        printed = theirs["psnr"] if theirs["psnr_kind"] == "overflow" else ""
        assert ours["psnr_overflow"] == printed
    order = list(records[0])
    assert [k for k in order if k in ("ssim", "psnr_overflow", "psnr", "lpips", "fvd")] == [
        "ssim", "psnr_overflow", "psnr", "lpips", "fvd",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1+cmd", "@SUM(A1)", "-2+3", "=1\t2"])
def test_a_spreadsheet_runs_no_formula_of_a_submission(make_result: Make, name: str) -> None:
    (record,) = csv.DictReader(io.StringIO(board_csv([row_of_result("a", make_result(name))])))
    assert record["method"] == "'" + name


@given(st.text())
def test_no_character_of_a_name_is_a_latex_command(name: str) -> None:
    escaped = escape_latex(name)
    left = re.sub(
        r"\\(textbackslash|textascii(tilde|circum)|text(less|greater|bar|quotedbl))\{\}"
        r"|\$\\(up|down)arrow\$|\$\^\\dagger\$",
        "",
        escaped,
    )
    left = re.sub(r"\\[{}$&#_%]", "", left)
    assert not set(left) & set('\\{}$&#_%~^<>|"\n')


@given(st.text())
def test_no_character_of_a_name_is_markdown_or_html(name: str) -> None:
    escaped = escape_markdown(name)
    assert "\n" not in escaped
    left = re.sub(r"\\[\\`*_\[\]|~#!]", "", escaped)
    assert not set(left) & set("\\`*_[]|~!<>")


def test_names_of_submissions_stay_text_in_every_report(make_result: Make) -> None:
    name = "<script>alert(1)</script> | **x** \\input{/etc/passwd}"
    rows = [row_of_result("a", make_result(name, label="a|b")), *read_published()]
    tables = tables_of(rows)
    markdown = board_markdown("T", tables, [])
    assert "<script" not in markdown
    widths = {len(cells) for cells in markdown_cells(markdown) if "alert" in cells[0]}
    assert widths == {6}  # method, four metrics, source: its own bars split no cell
    assert r"\input" not in board_latex(tables, [])


def test_every_row_of_every_report_says_what_it_is(make_result: Make) -> None:
    rows: list[Any] = [row_of_result("a", make_result("ours")), *read_published()]
    markdown = board_markdown("T", tables_of(rows), [])
    body = [
        cells
        for cells in markdown_cells(markdown)
        if cells[0] != "Method" and not cells[0].startswith(":-")
    ]
    assert len(body) == 205
    assert all("(published" in cells[0] or "(measured" in cells[0] for cells in body)
    assert body[0][0] == "ours (measured, demo: synthetic puppets)"
    ssim = row_of_result("a", make_result("ours")).cells["ssim"]
    assert body[0][1] == (rf"**{ssim.text} \[{ssim.ci_low:.3f}, {ssim.ci_high:.3f}\]**")


def test_the_frame_holds_numbers_and_says_where_each_row_comes_from(make_result: Make) -> None:
    result = make_result("ours", overrides=("allow size: 'video_0'",))
    frame = rows_frame([row_of_result("a", result), *read_published()])
    ours, fomm = frame.iloc[0], frame.iloc[1]
    assert ours.ssim == result.metrics["ssim"].value
    assert (ours.ssim_ci_low, ours.ssim_ci_high) == (
        result.metrics["ssim"].ci_low, result.metrics["ssim"].ci_high,
    )  # fmt: skip
    assert (ours.kind, ours.marks) == (
        "measured", "demo: synthetic puppets; checks overridden",
    )  # fmt: skip
    assert (fomm.kind, fomm.method, fomm.ssim, fomm.year) == ("published", "FOMM", 0.648, 2019)
    assert frame.psnr_overflow.dtype == frame.csim.dtype == float
    assert "lpips_ci_low" not in frame
    best = rows_frame().query("protocol == 'tiktok-disco'").nsmallest(1, "fvd")
    assert best.method.item() == "PoseAnything"


def test_a_baseline_that_wins_takes_the_marks_of_every_report(make_result: Make) -> None:
    rows = []
    for method, label, value in (("ours", "measured", 0.3), ("repeat-reference", "baseline", 0.8)):
        metrics = {"ssim": MetricValue(value, None, None, None, 9, None)}
        rows.append(row_of_result(method, make_result(method, label=label, metrics=metrics)))
    tables = tables_of(rows)
    words = "is better than every method in SSIM: nothing is marked best there"
    markdown, latex = board_markdown("T", tables, []), board_latex(tables, [])
    assert words in markdown
    assert "\n- SSIM: repeat-reference 0.800 against 0.300\n" in markdown
    assert words in latex
    assert "**0.300**" not in markdown
    assert "textbf" not in latex
