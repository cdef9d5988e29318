"""The report in a real headless Chromium, on a corpus with accepted and rejected clips."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aa_curation.check import at_least, at_most
from aa_curation.cli.main import main
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.ledger.ledger import read_ledger
from aa_curation.ledger.records import Decision
from aa_curation.recipe import Recipe
from aa_curation.report.html_page import histograms
from aa_curation.sources.source_list import read_sources

pytest.importorskip("selenium", reason="skipped: selenium is not installed")
from selenium.webdriver.common.by import By

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def corpus(
    small_shards: Recipe,
    sources_folder: Path,
    tmp_path: Path,
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
) -> tuple[Path, Path]:
    """Two accepted puppets of a hostile owner, one too short, one damaged file."""
    names = ("puppet_1", "puppet_2", "short_7", "bad_html")
    for file in sources_folder.glob("*"):
        shutil.copy(file, tmp_path)
    rows = [
        {
            "source_id": name,
            "location": "puppet_7.mp4" if name == "short_7" else f"{name}.mp4",
            "licence": "MIT",
            "owner": HOSTILE,
            "pose_file": f"{name}.pose.npz" if name.startswith("puppet") else "",
        }
        for name in names
    ]
    listed = write_sources(tmp_path, rows)
    folder = tmp_path / "corpus"
    run(small_shards, read_sources([listed]), folder, Local())
    return folder, listed


def test_the_page_shows_the_funnel_the_pictures_and_the_licences(
    corpus: tuple[Path, Path], browser: Any, tmp_path: Path
) -> None:
    folder, listed = corpus
    page = tmp_path / "report.html"
    arguments = ["report", "--out", str(folder), "--html", str(page), "--sources", str(listed)]
    assert main(arguments) == 0
    browser.get(page.as_uri())
    assert browser.title == "Corpus of recipe demo", "nothing of a list may run"
    rows = browser.find_elements(By.CSS_SELECTOR, "#funnel + table tbody tr")
    found = {tuple(c.text for c in row.find_elements(By.TAG_NAME, "td")[:3]) for row in rows}
    assert found == {
        ("accepted", "", "2"),
        ("rejected", "too_short", "1"),
        ("rejected", "unreadable_video", "1"),
    }
    images = browser.find_elements(By.TAG_NAME, "img")
    captions = sorted(c.text for c in browser.find_elements(By.TAG_NAME, "figcaption"))
    assert captions == ["puppet_1-0000", "puppet_2-0000", "short_7-0000"]
    assert all(browser.execute_script("return arguments[0].naturalWidth", i) == 160 for i in images)
    assert HOSTILE in browser.find_element(By.CSS_SELECTOR, "#licences + table").text
    plots = [h.text for h in browser.find_elements(By.CSS_SELECTOR, ".plots h3")]
    assert plots[:3] == ["low_resolution", "low_frame_rate", "too_short"]
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_what_was_taken_down_is_counted_and_not_shown(
    corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, listed = corpus
    assert main(["takedown", "--source", "puppet_1", "--out", str(folder)]) == 0
    page = tmp_path / "report.html"
    arguments = ["report", "--out", str(folder), "--html", str(page), "--sources", str(listed)]
    assert main(arguments) == 0
    text = page.read_text()
    assert "rejected: takedown (1)" in text
    assert "middle frame of puppet_1" not in text
    assert "middle frame of puppet_2" in text


def test_a_histogram_holds_every_measurement_on_its_side(corpus: tuple[Path, Path]) -> None:
    decisions = list(read_ledger(corpus[0]).decisions.values())
    for plot in histograms(decisions):
        checks = [c for d in decisions for c in d.checks if c.reason == plot.reason]
        assert sum(plot.passed) == sum(check.passed for check in checks)
        assert sum(plot.dropped) + plot.num_nan == sum(not check.passed for check in checks)
    two = Decision(
        "a-0",
        "a",
        "rejected",
        "clip",
        checks=(at_least("x", 1, 2), at_most("y", float("nan"), 1), at_most("z", 3, 3)),
    )
    x, z = histograms([two])
    assert (x.bound, sum(x.dropped), x.side) == (1.0, 1, "at least")
    assert (z.bound, sum(z.passed), z.side) == (0.0, 1, "at most")
