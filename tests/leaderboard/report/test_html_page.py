"""The page as text: nothing of a submission runs, nothing is loaded, every row says what it is."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from aa_eval.result import MetricValue, Result
from aa_leaderboard.published import read_published
from aa_leaderboard.report.html_page import render_page
from aa_leaderboard.report.psnr_plot import psnr_orders, psnr_pairs, psnr_svg
from aa_leaderboard.row import Row, row_of_result

Make = Callable[..., Result]
EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\"'><!--"


class Tags(HTMLParser):
    """Every tag with its attributes, and the text inside each kind of tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.stack: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.stack:
            self.text.setdefault(self.stack[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(*rows: Row, title: str = "Board") -> str:
    return render_page([*rows, *read_published()], None, title)


def test_nothing_of_a_submission_becomes_markup_wherever_it_is_put(make_result: Make) -> None:
    honest = Tags(page_of(*(row_of_result(m, make_result(m)) for m in ("a", "b"))))
    values = [0.5, 0.6]
    evil = [
        make_result(
            EVIL + str(n),
            label=EVIL,
            benchmark=EVIL,
            protocol=EVIL,
            protocol_version=EVIL,
            machine=EVIL,
            created=EVIL,
            overrides=(EVIL,),
            packages={EVIL: EVIL},
            weights={EVIL: EVIL},
            metrics={
                "ssim": MetricValue(value, None, None, None, 9, EVIL),
                EVIL: MetricValue(None, None, None, EVIL, 9, None),
            },
            per_video={EVIL: {"ssim": value, EVIL: 1.0}},
        )
        for n, value in enumerate(values)
    ]
    page = page_of(*(row_of_result(EVIL, result) for result in evil), title=EVIL)
    tags = Tags(page)
    assert len(tags.all("script")) == len(honest.all("script")) == 2
    assert tags.all("img") == []
    assert not [name for _, attributes in tags.tags for name in attributes if name.startswith("on")]
    assert {tag for tag, _ in tags.tags} - {tag for tag, _ in honest.tags} <= {"sup", "li", "ol"}
    assert "<!--" not in page
    data = json.loads("".join(tags.text["script"][:1]))
    assert data["tables"][0]["rows"][0]["method"].startswith(EVIL)
    shown = [a["data-method"] for a in tags.all("tr") if a.get("data-kind") == "demo"]
    assert sorted(str(method) for method in shown) == [EVIL + "0", EVIL + "1"]


def test_the_policy_of_the_page_allows_our_script_alone_and_no_network() -> None:
    page = page_of()
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "http" not in policy
    linked = re.findall(r"""(?:src|href|action|poster)\s*=\s*["']([^"']*)""", page)
    assert all(link.startswith(("#", "data:")) or link == "sources.html" for link in linked)
    assert "@import" not in page
    assert "url(" not in page.replace("url(#", "")


def test_every_row_carries_its_badge_and_measured_rows_never_the_published_one(
    make_result: Make,
) -> None:
    rows = [
        row_of_result("a", make_result("ours")),
        row_of_result("b", make_result("repeat", label="baseline")),
        row_of_result("c", make_result("theirs", label="measured", overrides=("--allow-gaps",))),
    ]
    page = page_of(*rows)
    lines = re.findall(r'<tr data-kind="(\w+)" data-method="([^"]*)">(.*?)</tr>', page, re.DOTALL)
    board = [line for line in lines if 'class="badges"' in line[2]]
    assert len(board) == 3 + 204
    for kind, _, inner in board:
        badges = re.findall(r'<span class="badge \w+" title="([^"]*)"', inner)
        assert ("published" in badges) == (kind == "published")
        assert ("measured" in badges) == (kind != "published")
    by_method = {method: inner for _, method, inner in board}
    assert "demo: synthetic puppets" in by_method["ours"]
    assert "trivial baseline" in by_method["repeat"]
    assert "checks overridden" in by_method["theirs"]
    assert "checks overridden on the command line: --allow-gaps" in page


def test_every_cell_of_the_papers_tables_is_on_the_page() -> None:
    page = page_of()
    for number, size in ((1, 6), (2, 5), (3, 4)):
        section = page.split(f'id="paper-{number}"')[1].split("</section>")[0]
        assert section.count("<tr data-kind") == size
        assert ">81.6<" in section or number == 2
        assert "Hu et al. 2023" in section


def test_controls_have_names_and_headings_do_not_skip(make_result: Make) -> None:
    tags = Tags(page_of(*(row_of_result(m, make_result(m)) for m in ("a", "b"))))
    levels = [int(tag[1]) for tag, _ in tags.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [attributes["id"] for _, attributes in tags.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [str(a["href"])[1:] for a in tags.all("a") if str(a["href"]).startswith("#")]
    assert set(targets) <= set(ids)
    for region in (a for _, a in tags.tags if a.get("role") == "region"):
        assert region["tabindex"] == "0"
        assert region["aria-labelledby"] in ids
    assert all(svg.get("aria-labelledby") for svg in tags.all("svg"))


def test_an_unavailable_metric_says_why_and_shows_no_number(make_result: Make) -> None:
    metrics = {
        "ssim": MetricValue(0.5, 0.4, 0.6, None, 9, None),
        "fvd": MetricValue(None, None, None, "weights of 'i3d' are absent", 0, None),
    }
    page = page_of(row_of_result("a", make_result("ours", metrics=metrics)))
    assert "FVD: weights of &#39;i3d&#39; are absent" in page
    line = page.split('data-method="ours"')[1].split("</tr>")[0]
    assert '<td data-key="fvd" data-value=""><span class="unavailable">unavailable</span>' in line


def test_the_psnr_plot_knows_pairs_of_one_row_and_of_two() -> None:
    pairs = psnr_pairs(read_published())
    known = {(pair.method, pair.true_db, pair.overflow_db) for pair in pairs}
    assert ("DisCo", 16.55, 29.03) in known
    # FOMM's two values stand in two papers whose rows agree in SSIM and LPIPS.
    assert ("FOMM", 17.26, 29.01) in known
    assert {pair.kind for pair in pairs} == {"tiktok", "ubc"}
    by_overflow, by_true = zip(*dict(psnr_orders(pairs))["TikTok"], strict=True)
    assert by_overflow.index("DisCo") < by_overflow.index("FOMM")
    assert by_true.index("FOMM") < by_true.index("DisCo")


def test_the_psnr_plot_is_the_same_bytes_every_time_and_a_name_in_it_stays_text(
    make_result: Make,
) -> None:
    metrics = {
        "psnr": MetricValue(18.0, None, None, None, 9, None),
        "psnr_overflow": MetricValue(30.0, None, None, None, 9, None),
    }
    evil = row_of_result("a", make_result("$x^2$<b>&", metrics=metrics))
    pairs = psnr_pairs([evil, *read_published()])
    svg = psnr_svg(pairs)
    assert svg == psnr_svg(pairs)
    assert "$x^2$&lt;b&gt;&amp;  18.00 / 30.00" in svg
    assert "<b>" not in svg
    assert "<dc:date>" not in svg


@pytest.mark.parametrize("per_video", [{}, {"only": {"ssim": None}}])
def test_a_board_without_per_video_values_has_no_such_plot(
    make_result: Make, per_video: dict[str, dict[str, float | None]]
) -> None:
    result = replace(make_result(), per_video=per_video, num_videos=1)
    assert 'id="videos"' not in page_of(row_of_result("a", result))


def test_the_page_is_one_file_and_needs_no_board(tmp_path: Path) -> None:
    assert "No row was measured yet" in page_of()
