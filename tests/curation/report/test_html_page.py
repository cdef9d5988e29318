"""The report in a real headless Chromium, on a corpus with accepted and rejected clips."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aa_curation
from aa_curation.check import at_least, at_most
from aa_curation.cli.main import main
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.ledger.file import read_ledger
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import CorpusHead, Decision
from aa_curation.recipe import Recipe
from aa_curation.report.charts import histogram_svg, is_log
from aa_curation.report.measurements import MEANINGS, find_measurements
from aa_curation.report.text import format_why
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
    pictures = browser.find_elements(By.CSS_SELECTOR, "#reasons ~ section img")
    names = sorted(i.get_attribute("alt") for i in pictures)
    ids = ["puppet_1-0000", "puppet_2-0000", "short_7-0000"]
    assert names == [f"middle frame of {name}" for name in ids]
    assert all(
        browser.execute_script("return arguments[0].naturalWidth", i) == 240 for i in pictures
    )
    assert HOSTILE in browser.find_element(By.CSS_SELECTOR, "#licences ~ .columns").text
    plots = [h.text[: -len(" ↑")] for h in browser.find_elements(By.CSS_SELECTOR, ".plot h3")]
    assert {"too_short", "blurred", "jittery_pose"} <= set(plots)
    length = browser.find_element(By.ID, "measured-too_short")
    assert "length; seconds; at least 1 passes: 2 pass, 1 do not." in length.text
    assert "length; seconds" in length.find_element(By.TAG_NAME, "svg").text
    assert "puppet_1-0000: 1.271" in length.text, "the number stands below the picture"
    assert "redecide --dry-run --set too_short=" not in length.text, "none costs an accepted clip"
    sharpness = browser.find_element(By.ID, "measured-blurred")
    assert "What changes: aa-curate redecide --dry-run --set blurred=" in sharpness.text
    frozen = browser.find_element(By.ID, "measured-pose_lost")
    assert "1 in all 2 clips." in frozen.text
    assert not frozen.find_elements(By.TAG_NAME, "svg"), "one value needs none"
    jumps = [a.get_attribute("hash") for a in browser.find_elements(By.CSS_SELECTOR, ".names a")]
    assert jumps == [f"#measured-{name}" for name in plots]
    assert not [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_phone_and_its_clips_are_linked_and_searched(
    corpus: tuple[Path, Path], browser: Any, tmp_path: Path, width: int
) -> None:
    page = tmp_path / "report.html"
    assert main(["report", "--out", str(corpus[0]), "--html", str(page)]) == 0
    size = browser.get_window_size()
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        browser.get(page.as_uri())
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
        link = browser.find_element(By.CSS_SELECTOR, "#reasons ~ section a")
        browser.execute_script("arguments[0].click()", link)
        row = browser.find_element(By.CSS_SELECTOR, link.get_attribute("hash"))
        assert row.get_attribute("open")
        assert "blurred" in row.text
        browser.find_element(By.ID, "search").send_keys("unreadable puppet")
        assert not [r for r in browser.find_elements(By.CSS_SELECTOR, "#clips ~ details")
                    if r.is_displayed()]  # fmt: skip
        browser.find_element(By.ID, "search").clear()
        browser.find_element(By.ID, "search").send_keys("short_7")
        rows = browser.find_elements(By.CSS_SELECTOR, "#clips ~ details")
        assert [r.get_attribute("id") for r in rows if r.is_displayed()] == ["clip-short_7-0000"]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.set_window_size(size["width"], size["height"])


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


def test_a_measurement_holds_every_number_on_its_side(corpus: tuple[Path, Path]) -> None:
    ledger = read_ledger(corpus[0])
    for found in find_measurements(ledger):
        checks = [c for d in ledger.decisions.values() for c in d.checks if c.reason == found.name]
        assert found.num_passed == sum(check.passed for check in checks)
        assert found.num_failed == sum(not check.passed for check in checks)
        assert found.meaning, found.name


def _ledger(values: list[tuple[float, str, str]]) -> Ledger:
    """Clips with a measurement `x` of at least 100, a status and an owner."""
    ledger = Ledger(CorpusHead("demo", "abc"))
    for number, (value, status, owner) in enumerate(values):
        checks = (at_least("x", value, 100), at_most("nan", float("nan"), 1))
        name = f"s{number:03d}"
        ledger.add_decision(
            Decision(f"{name}-0000", name, status, "clip", checks=checks, owner=owner)  # type: ignore[arg-type]
        )
    return ledger


def test_what_a_bound_would_cost_is_counted_with_the_owner_of_most() -> None:
    """At 110 you would lose 5 of 100, 4 of them of one owner."""
    values = [(105 + n, "accepted", "ann" if n < 4 else f"o{n}") for n in range(100)]
    values += [(99, "rejected", "bob"), (20, "rejected", "bob")]
    x, nan = find_measurements(_ledger(values))
    assert [(bound.value, bound.lost) for bound in x.bounds] == [
        (106, 1), (107, 2), (110, 5), (115, 10), (125, 20), (155, 50)
    ]  # fmt: skip
    five = x.bounds[2]
    assert (five.accepted, five.owner, five.of_owner) == (100, "ann", 4)
    assert (five.clip_id, five.measured) == ("s004-0000", 109)
    assert x.inside == ("s000-0000", "s001-0000", "s002-0000")
    assert x.outside == ("s100-0000", "s101-0000")
    assert (nan.num_nan, nan.num_failed, nan.bounds) == (102, 102, ())


def test_a_bound_on_the_other_side_is_mirrored() -> None:
    ledger = Ledger(CorpusHead("demo", "abc"))
    for number in range(10):
        checks = (at_most("y", number / 10, float("inf")),)
        name = f"s{number}"
        ledger.add_decision(Decision(f"{name}-0000", name, "accepted", "clip", checks=checks))
    (y,) = find_measurements(ledger)
    assert [(bound.value, bound.lost) for bound in y.bounds] == [(0.8, 1), (0.7, 2), (0.4, 5)]
    assert [bound.clip_id for bound in y.bounds] == ["s9-0000", "s8-0000", "s5-0000"]
    assert y.inside == ("s9-0000", "s8-0000", "s7-0000")  # no bound: the highest


def test_a_histogram_has_axes_a_bound_and_a_log_scale_where_it_is_needed() -> None:
    spread = [(10.0 ** (n / 10), "accepted", "") for n in range(-5, 40)]
    (x, _) = find_measurements(_ledger(spread))
    svg = histogram_svg(x)
    assert is_log(x.values)
    assert svg.count(">clips<") == 1
    assert "stroke-dasharray" in svg
    assert not is_log(np.linspace(1, 10, 50))
    assert not is_log(np.linspace(0, 1000, 50))
    with_zeros = np.r_[np.zeros(10), np.geomspace(1e-4, 1, 20)]
    assert is_log(with_zeros)
    assert not is_log(np.r_[np.zeros(90), np.geomspace(1e-4, 1, 20)]), "most are 0"
    assert not is_log(np.r_[-1.0, with_zeros])
    assert histogram_svg(x) == svg


def test_every_reason_of_our_filters_says_what_it_measures() -> None:
    package = Path(aa_curation.__file__).parent
    text = "".join(path.read_text() for path in package.glob("*/*.py"))
    reasons = set(re.findall(r"at_(?:least|most)\(\s*\"([a-z_]+)\"", text))
    assert len(reasons) > 20
    assert reasons <= set(MEANINGS)


def test_a_bound_that_drops_nothing_is_not_shown_as_a_number() -> None:
    checks = (
        at_most("camera_motion", 0.5, float("inf")),
        at_least("hands_unseen", 0.25, 0),
        at_least("small_person", 0.25, 0.05),
    )
    words = format_why(Decision("a-0000", "a", "accepted", "clip", checks=checks))
    assert "camera_motion 0.5 (measured, never a reason to drop)" in words
    assert "hands_unseen 0.25 (measured, never a reason to drop)" in words
    assert "small_person 0.25 (at least 0.05): area of " in words
    broken = Decision(
        "a-0000", "a", "rejected", "clip", checks=(at_least("small_person", 0.01, 0.05),)
    )
    assert "small_person 0.01 (at least 0.05) <- not met: area of " in format_why(broken)
