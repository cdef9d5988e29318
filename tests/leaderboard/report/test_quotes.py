"""Who quotes whom: copied rows are found, a changed value is told, and time runs one way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aa_leaderboard.published import read_conflicts, read_published
from aa_leaderboard.report.html_page import render_sources
from aa_leaderboard.report.quotes import Timeline, difference, printings, quotes, timeline
from aa_leaderboard.row import Cell, Published, Row


@pytest.mark.parametrize(
    ("earlier", "later", "kind"),
    [
        ("0.718", "0.718", ""),
        ("171.9", "171.90", ""),
        ("3.61E-04", "0.000361", ""),
        ("306.17", "306.2", "rounded"),
        ("306.17", "306.1", "cut"),
        ("306.1", "306.17", "more digits"),
        ("0.285", "0.29", "rounded"),
        ("148.3", "168.3", "changed"),
        ("2.70E-04", "2.79E-05", "changed"),
        ("306.17", "306.3", "changed"),
        ("306.1", "306.27", "changed"),
        ("306.1", "306.06", "more digits"),
        ("0.295", "0.3", "rounded"),
        ("0.25", "0.3", "rounded"),
    ],
)
def test_how_a_later_printing_differs(earlier: str, later: str, kind: str) -> None:
    assert difference(earlier, later) == kind


def row(method: str, paper: str, protocol: str = "p", **texts: str) -> Row:
    template = next(r for r in read_published() if isinstance(r.origin, Published))
    assert isinstance(template.origin, Published)
    return replace(
        template,
        method=method,
        protocol=protocol,
        cells={key: Cell(text, float(text)) for key, text in texts.items()},
        origin=replace(template.origin, paper=paper, source=paper),
    )


OLD, MIDDLE, NEW = "Old (arXiv 2301.1)", "Middle (arXiv 2312.1)", "New (arXiv 2402.1)"


def test_a_row_is_quoted_from_the_paper_that_agrees_most_and_only_from_an_earlier_one() -> None:
    rows = [
        row("m", NEW, ssim="0.7", fvd="99.5", lpips="0.9"),
        row("m", OLD, ssim="0.7", fvd="300", lpips="0.3"),
        row("m", MIDDLE, ssim="0.7", fvd="99.5", lpips="0.25"),
    ]
    found = {(q.paper, q.quoted): q for q in quotes(rows)}
    assert found.keys() == {(MIDDLE, OLD), (NEW, MIDDLE)}
    assert found[NEW, MIDDLE].num_equal == 2
    assert found[NEW, MIDDLE].changes == ("m LPIPS: 0.25, then 0.9 (changed)",)
    assert "m FVD: 300, then 99.5 (changed)" in found[MIDDLE, OLD].changes


def test_of_papers_that_agree_alike_the_earliest_is_quoted_and_a_paper_never_quotes_itself() -> (
    None
):
    equal = {"ssim": "0.7", "fvd": "99.5"}
    found = quotes([row("m", NEW, **equal), row("m", MIDDLE, **equal), row("m", OLD, **equal)])
    assert [(q.paper, q.quoted, q.methods, q.num_equal) for q in found] == [
        (MIDDLE, OLD, ("m",), 2), (NEW, OLD, ("m",), 2)
    ]  # fmt: skip
    twice = [row("m", OLD, **equal), row("m", OLD, protocol="another", **equal)]
    assert quotes(twice) == []
    told = [replace(r, origin=replace(r.origin, paper="")) for r in (row("m", "", **equal),)]
    assert quotes([*told, row("m", NEW, **equal)]) == [], "an issue is not a paper"


def test_papers_of_one_date_stand_by_their_names() -> None:
    first, second = "A (arXiv 2402.1)", "B (arXiv 2402.1)"
    old = {first: "Z (arXiv 2301.1)", second: "Y (arXiv 2301.1)"}
    rows = [
        row(method, paper, ssim=f"0.{number}", fvd=f"9{number}.5")
        for number, (method, new) in enumerate((("m", second), ("n", first)), start=1)
        for paper in (new, old[new])
    ]
    assert [(q.paper, q.quoted) for q in quotes(rows)] == [
        (first, old[first]), (second, old[second])
    ]  # fmt: skip


def test_a_digit_less_or_more_agrees_and_is_told() -> None:
    earlier = row("m", OLD, ssim="0.71", fvd="300", lpips="0.255")
    (found,) = quotes([earlier, row("m", NEW, ssim="0.712", fvd="300", lpips="0.25")])
    assert found.num_equal == 3
    assert found.changes == (
        "m SSIM: 0.71, then 0.712 (more digits)", "m LPIPS: 0.255, then 0.25 (cut)"
    )  # fmt: skip
    assert timeline([found]).arcs == ((1, 0, 3, False),)
    (both,) = quotes([earlier, row("m", NEW, ssim="0.71", fvd="301", lpips="0.25")])
    assert [change.rpartition(" ")[2] for change in both.changes] == ["(cut)", "(changed)"]
    assert timeline([both]).arcs[0][3], "one that changed is enough"
    (found,) = quotes([earlier, row("m", NEW, ssim="0.71", fvd="301")])
    assert timeline([found]) == Timeline((OLD, NEW), ((1, 0, 1, True),))


def test_papers_are_dated_by_arxiv_else_by_the_end_of_their_year() -> None:
    names = [
        "Paper of 2023",
        "P (arXiv 2401.1)",
        "P (arXiv 2312.1)",
        "no year",
        "Q 2023 (arXiv 2201.1)",
    ]
    rows = [row(f"m{n}", name, ssim="0.7") for n, name in enumerate(names)]
    rows += [row(f"m{n}", "P (arXiv 2501.1)" if name != "no year" else "Z 2024", ssim="0.7")
             for n, name in enumerate(names)]  # fmt: skip
    assert timeline(quotes(rows)).papers == (
        "Q 2023 (arXiv 2201.1)", "Paper of 2023", "P (arXiv 2312.1)", "P (arXiv 2401.1)",
        "Z 2024", "P (arXiv 2501.1)", "no year",
    )  # fmt: skip


def test_without_an_equal_value_nothing_is_quoted() -> None:
    assert quotes([row("m", OLD, ssim="0.7"), row("m", NEW, ssim="0.8")]) == []
    assert quotes([row("m", OLD, ssim="0.7"), row("other", NEW, ssim="0.7")]) == []


@pytest.mark.parametrize(("equal", "is_quote"), [(2, False), (3, True)])
def test_across_protocols_three_values_must_agree(equal: int, is_quote: bool) -> None:
    values = dict(list({"ssim": "0.7", "fvd": "99.5", "lpips": "0.25"}.items())[:equal])
    rows = [row("m", OLD, **values), row("m", NEW, protocol="another", **values)]
    assert bool(quotes(rows)) == is_quote


def test_the_known_copies_and_changes_are_found() -> None:
    found = {(q.paper, q.quoted): q for q in quotes(read_published())}
    paper = "Animate Anyone (Hu et al. 2023)"
    assert set(found[paper, "DreamPose (arXiv 2304.06025)"].methods) == {
        "MRAA", "TPSMM", "DreamPose",
    }  # fmt: skip
    changes = [change for quote in found.values() for change in quote.changes]
    assert "BDMM FVD: 148.3, then 168.3 (changed)" in changes
    assert "MimicMotion FVD: 232.95, then 326.57 (changed)" in changes
    drawn = timeline(list(found.values()))
    assert all(later > earlier for later, earlier, _, _ in drawn.arcs)
    assert len(drawn.arcs) == len(found)


def test_printings_hold_every_source_the_earliest_first_and_changed_ones_lead() -> None:
    found = printings(read_published())
    flags = [printing.has_changes for printing in found]
    assert flags == sorted(flags, reverse=True)
    assert 0 < sum(flags) < len(flags)
    bdmm = next(p for p in found if p.method == "BDMM")
    assert [source.split(",")[0].split(" paper")[0] for source, _ in bdmm.lines] == [
        "Animate Anyone (Hu et al. 2023)", "Animate-X",
    ]  # fmt: skip
    cells = dict(zip([c.key for c in bdmm.columns], bdmm.lines[1][1], strict=True))
    assert cells["fvd"] == ("168.3", "changed")
    assert cells["ssim"] == ("0.918", "")


def test_the_page_of_sources_tells_every_conflict_and_runs_no_script() -> None:
    page = render_sources(read_published(), "T & t")
    for conflict in read_conflicts():
        assert f">{conflict.value}<" in page
        assert f">{conflict.other_value}<" in page
    assert "<script" not in page
    assert "script-src" not in page
    assert "default-src 'none'" in page
    assert "T &amp; t" in page
    assert "BDMM FVD: 148.3, then 168.3 (changed)" in page
