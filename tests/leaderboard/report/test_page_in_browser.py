"""The page in a real headless Chromium: sort, filter, play, and a hostile name that stays text."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aa_eval.result import MetricValue, Result
from aa_eval.videos.benchmark import read_benchmark
from aa_leaderboard.board.frame_scores import read_frame_scores, worst_frames
from aa_leaderboard.board.store import add_results, read_board
from aa_leaderboard.cli import main
from aa_leaderboard.report.html_page import render_page
from aa_leaderboard.row import Measured, row_of_result

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("selenium", reason="skipped: selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402 (after the skip above)
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

PATIENCE_S = 120  # of a busy machine: what is waited for comes at once elsewhere
LONG = "A method of 2026 with WIDE letters and quite a long name"
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


# Of each frame, in turn: far enough apart to be told through h264's colours.
COLOURS = ((220, 40, 40), (40, 200, 60), (40, 60, 220), (220, 210, 40))


def frames_in(colour: int) -> Any:
    """Two seconds at 24 frames a second; a white bar moves over a plain picture."""
    frames = np.full((48, 64, 64, 3), colour, np.uint8)
    for t, frame in enumerate(frames):
        frame[:, t : t + 8] = 255
    return frames


@pytest.fixture
def page(
    make_result: Callable[..., Result],
    write: Callable[[Result], Path],
    write_clip: Callable[..., Path],
    tmp_path: Path,
) -> str:
    board = tmp_path / "board"
    for n, method in enumerate(("ours", HOSTILE, "third")):
        folder = write(make_result(method))
        (folder / "media").mkdir()
        for role in ("prediction",) if n else ("reference", "ground_truth", "prediction"):
            write_clip(folder / "media" / f"video_1.{role}.mp4", frames_in(60 * n))
        if not n:
            write_clip(folder / "media" / "video_2.prediction.mp4", frames_in(200))
        add_results(folder, board)
    assert main(["render", "--board", str(board), "--out", str(tmp_path / "site")]) == 0
    return (tmp_path / "site" / "index.html").as_uri()


def test_the_page_sorts_filters_and_plays_from_disk(browser: Any, page: str) -> None:
    browser.get(page)
    run = browser.execute_script
    assert browser.title != "owned"
    assert run("return document.querySelectorAll('td img, th img').length") == 0

    def visible(section: str = "section.board") -> list[str]:
        return run(
            "return [...document.querySelectorAll(arguments[0] + ' tbody tr')]"
            ".filter(row => row.offsetParent).map(row => row.dataset.method)",
            section,
        )

    # Sort: by a metric the better direction first, then the other; by name.
    def column(index: int) -> list[float]:
        texts = run(
            "return [...document.querySelectorAll('#table-1 tbody tr')]"
            ".map(row => row.children[arguments[0]].dataset.value)",
            index,
        )
        return [float(text) for text in texts]

    def head(index: int) -> Any:
        return browser.find_elements(By.CSS_SELECTOR, "#table-1 thead th")[index]

    def click(element: Any) -> None:
        """Scroll there first and at once: the driver's own smooth scroll may still be under way."""
        run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()

    assert HOSTILE in visible("#table-1")
    click(head(1).find_element(By.TAG_NAME, "button"))
    assert column(1) == sorted(column(1), reverse=True)
    assert head(1).get_attribute("aria-sort") == "descending"
    head(1).find_element(By.TAG_NAME, "button").send_keys("\n")  # by keyboard
    assert column(1) == sorted(column(1))
    click(head(0).find_element(By.TAG_NAME, "button"))
    assert visible("#table-1") == sorted(visible("#table-1"), key=str.lower)
    assert head(1).get_attribute("aria-sort") is None

    # A row without a value stays last in both directions (published PSNR*).
    published = "section.board[data-protocol='tiktok-disco']:not([id^=paper])"
    for _ in range(2):
        button = browser.find_element(By.CSS_SELECTOR, f"{published} thead th:nth-child(4) button")
        click(button)
        cells = run(
            "return [...document.querySelectorAll(arguments[0] + ' tbody tr')]"
            ".map(row => row.children[3].dataset.value)",
            published,
        )
        filled = [cell != "" for cell in cells]
        assert filled == sorted(filled, reverse=True)
        assert 0 < sum(filled) < len(filled)

    # Filter: by protocol, by kind, by part of a name; the count says how many.
    everything = len(visible())
    Select(browser.find_element(By.ID, "protocol")).select_by_value("ubc-fashion")
    assert 0 < len(visible()) < everything
    assert "third" not in visible()
    assert browser.find_element(By.ID, "count").text == f"{len(visible())} of {everything} lines"
    browser.find_element(By.ID, "method").send_keys("bdmm")
    assert set(visible()) == {"BDMM"}
    browser.find_element(By.ID, "method").clear()
    Select(browser.find_element(By.ID, "protocol")).select_by_value("")
    click(browser.find_element(By.CSS_SELECTOR, "[name=kind][value=published]"))
    assert sorted(visible()) == sorted(["ours", HOSTILE, "third"])

    # Video by video: one dot for each video, and a sentence.
    assert run("return document.querySelectorAll('#scatter .point').length") == 3
    assert "of 3 videos" in browser.find_element(By.ID, "scatter-words").text

    # A dot leads to its video's clips, by keyboard, too.
    press = """
      const dots = [...document.querySelectorAll('#scatter .point')];
      const dot = dots.find(d => d.getAttribute('aria-label').startsWith(arguments[0]));
      dot.focus();
      dot.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[1], bubbles: true}));
      return [document.activeElement === dot, dot.getAttribute('role')];
    """
    chosen = "return document.getElementById('clip-video').selectedOptions[0].textContent"
    assert run(chosen) == "video_1"
    assert run(press, "video_2:", "Enter") == [True, "button"]
    assert run(chosen) == "video_2"
    assert run(press, "video_1:", " ") == [True, "button"]
    assert run(chosen) == "video_1"

    # Play: five clips run in step; scrubbing stops them all at one frame.
    assert run("return document.querySelectorAll('#panes video').length") == 5
    wait = WebDriverWait(browser, PATIENCE_S)
    ready = "return [...document.querySelectorAll('#panes video')].every(c => c.readyState >= 2)"
    wait.until(lambda _: run(ready))
    play = browser.find_element(By.ID, "play")
    click(play)
    times = "return [...document.querySelectorAll('#panes video')].map(clip => clip.currentTime)"
    wait.until(lambda _: min(at_s := run(times)) > 0.2 and max(at_s) - min(at_s) < 0.2)
    assert play.text == "Pause"
    # A clip that has run away is fetched back, and not by the loop that restarts all of them:
    # they play at a sixteenth of their speed, and count how often one ends.
    run(
        "window.ended = 0; const clips = [...document.querySelectorAll('#panes video')];"
        "clips.forEach(c => { c.playbackRate = 1 / 16;"
        " c.addEventListener('ended', () => { window.ended += 1; }); });"
        "clips[2].currentTime = 1.8"
    )
    wait.until(lambda _: (at_s := run(times)) and max(at_s) - min(at_s) < 0.15)
    assert run("return window.ended") == 0
    scrub = browser.find_element(By.ID, "scrub")
    run("arguments[0].value = 24; arguments[0].dispatchEvent(new Event('input'))", scrub)
    wait.until(lambda _: all(abs(time - 24.5 / 24) < 0.01 for time in run(times)))
    assert play.text == "Play"
    at_frame_24 = "frame 24 of 47, 1.00 s"
    wait.until(lambda _: browser.find_element(By.ID, "time").text == at_frame_24)
    click(browser.find_element(By.ID, "step-on"))
    wait.until(lambda _: all(abs(time - 25.5 / 24) < 0.01 for time in run(times)))
    click(browser.find_element(By.ID, "step-back"))
    click(browser.find_element(By.ID, "step-back"))
    wait.until(lambda _: all(abs(time - 23.5 / 24) < 0.01 for time in run(times)))

    # Dark and light; nothing was blocked, missing or thrown.
    before = run("return getComputedStyle(document.body).backgroundColor")
    click(browser.find_element(By.ID, "theme"))
    assert run("return getComputedStyle(document.body).backgroundColor") != before
    assert browser.title != "owned"
    assert browser.get_log("browser") == []

    # On a phone the page itself never scrolls sideways.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    assert run("return document.documentElement.scrollWidth") <= 390


def test_the_worst_frames_show_the_very_frames_and_lead_to_them(
    browser: Any,
    make_result: Callable[..., Result],
    write_with_frames: Callable[[Result], Path],
    write_clip: Callable[..., Path],
    tmp_path: Path,
) -> None:
    folder = write_with_frames(make_result("ours"))
    (folder / "media").mkdir()
    colours = [COLOURS[t % 4] for t in range(24)]
    frames = np.stack([np.full((64, 64, 3), colour, np.uint8) for colour in colours])
    for role in ("ground_truth", "prediction"):
        write_clip(folder / "media" / f"video_1.{role}.mp4", frames, fps=15)
    # A clip that is shorter than what was scored: its frames are others, so that none is shown.
    write_clip(folder / "media" / "video_2.prediction.mp4", frames[:20], fps=15)
    board = tmp_path / "board"
    add_results(folder, board)
    assert main(["render", "--board", str(board), "--out", str(tmp_path / "site")]) == 0
    browser.get((tmp_path / "site" / "index.html").as_uri())
    run = browser.execute_script

    (row,) = read_board(board)
    assert isinstance(row.origin, Measured)
    scores = read_frame_scores(board / row.origin.row_id, row.origin.result)
    assert scores is not None
    worst = worst_frames(scores, "lpips_alex", "lower", 6)
    items = browser.find_elements(By.CSS_SELECTOR, "#worst li")
    assert len(items) == len(worst) == 6
    assert {frame.video for frame in worst} >= {"video_1", "video_2"}
    ready = (
        "return [...document.querySelectorAll('#worst video')]"
        ".every(clip => !clip.seeking && clip.readyState >= 2)"
    )
    WebDriverWait(browser, PATIENCE_S).until(lambda _: run(ready))
    for item, frame in zip(items, worst, strict=True):
        assert f"{frame.video}, frame {frame.number}" in item.text
        assert f"LPIPS alex {frame.value:.3f}" in item.text
        videos = item.find_elements(By.TAG_NAME, "video")
        assert len(videos) == (2 if frame.video == "video_1" else 0)
        for video in videos:
            run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", video)
            shown = np.asarray(Image.open(io.BytesIO(video.screenshot_as_png)).convert("RGB"))
            seen = shown[shown.shape[0] // 2, shown.shape[1] // 2].astype(int)
            assert abs(seen - colours[frame.position]).max() < 40

    # Its button opens the player at that frame.
    position = next(frame.position for frame in worst if frame.video == "video_1")
    button = browser.find_element(By.CSS_SELECTOR, "#worst button")
    run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    words = f"frame {position} of 23, {position / 15:.2f} s"
    wait = WebDriverWait(browser, PATIENCE_S)
    wait.until(lambda _: browser.find_element(By.ID, "time").text == words)
    assert run("return document.getElementById('scrub').value") == str(position)

    # By name alone without a clip; another metric has other frames.
    Select(browser.find_element(By.ID, "worst-metric")).select_by_visible_text("SSIM")
    texts = [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#worst li")]
    expected = worst_frames(scores, "ssim", "higher", 6)
    assert all(f"frame {f.number}" in text for f, text in zip(expected, texts, strict=True))
    assert browser.get_log("browser") == []


def at_width(browser: Any, width: int, mobile: bool = False) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile},
    )


@pytest.fixture
def losing_page(
    make_result: Callable[..., Result], write: Callable[[Result], Path], tmp_path: Path
) -> str:
    """A board on which repeat-reference beats a method in LPIPS and not in SSIM; with 2 regions."""
    board = tmp_path / "board"
    for method, label, lpips, ssim in (
        ("ours", "measured", 0.342, 0.8),
        ("theirs", "measured", 0.4, 0.7),
        (LONG, "measured", 0.5, 0.6),
        ("repeat-reference", "baseline", 0.1, 0.2),
    ):
        of_video = {"ssim": ssim, "psnr": 18.0, "psnr_overflow": 30.0, "lpips_alex": lpips}
        of_video |= {f"{k}@{r}": v for r in ("face", "hands") for k, v in list(of_video.items())}
        metrics = {k: MetricValue(v, v, v, None, 69, None) for k, v in of_video.items()}
        result = make_result(method, label=label, regions={"face": "a0" * 32, "hands": "b0" * 32})
        per_video = dict.fromkeys(result.per_video, of_video)
        add_results(write(replace(result, metrics=metrics, per_video=per_video)), board)
    assert main(["render", "--board", str(board), "--out", str(tmp_path / "site")]) == 0
    return (tmp_path / "site" / "index.html").as_uri()


def test_no_losing_method_is_shown_as_the_winner(browser: Any, losing_page: str) -> None:
    browser.get(losing_page)
    cell = "#table-1 tr[data-method='{}'] td[data-key='{}'] .number"
    colour = lambda method, key: browser.find_element(  # noqa: E731
        By.CSS_SELECTOR, cell.format(method, key)
    ).value_of_css_property("color")
    plain = colour("theirs", "ssim")
    assert colour("ours", "lpips_alex") == plain
    assert colour("ours", "ssim") != plain, "the winner is green where it wins"
    first = browser.find_element(By.CSS_SELECTOR, "#table-1 table tr")
    assert first.text == (
        "A trivial baseline (repeat-reference) is better than every method in LPIPS alex: nothing "
        "is marked best there."
    )
    regions = [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#table-1 tr.verdict")]
    assert len(regions) == 3
    assert "LPIPS alex hands" in regions[2]


def test_at_1400_px_no_column_of_any_table_is_hidden(browser: Any, losing_page: str) -> None:
    at_width(browser, 1400)
    browser.get(losing_page)
    hidden = (
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => e.getAttribute('aria-labelledby'))"
    )
    assert browser.execute_script(hidden) == []
    for width in (1024, 1280, 1440):  # side by side as far as they fit
        at_width(browser, width)
        in_papers = hidden.replace("'.scroll'", "'.paper-tables .scroll'")
        assert browser.execute_script(in_papers) == [], width
    at_width(browser, 1400)
    browser.get(losing_page.replace("index.html", "sources.html"))
    assert browser.execute_script(hidden) == []
    assert browser.get_log("browser") == []


def test_the_widest_columns_stand_in_two_parts_at_1400_px(
    browser: Any, make_result: Callable[..., Result], tmp_path: Path
) -> None:
    keys = (
        "pck", "akd", "missing_rate", "limb_angle", "identity_limbs", "identity_lpips",
        "photo_lpips", "photo_colour", "flicker_own", "warp_error_own", "csim", "picd",
    )  # fmt: skip
    rows = [
        row_of_result(name, make_result(name, label=label, metrics=dict.fromkeys(keys, value)))
        for name, label, value in (
            ("ours", "measured", MetricValue(0.7, 0.6, 0.8, None, 9, None)),
            ("static of ours", "baseline", MetricValue(0.7, 0.6, 0.8, None, 9, None)),
        )
    ]
    page = tmp_path / "index.html"
    page.write_text(render_page(rows, None, "Board"), encoding="utf-8")
    at_width(browser, 1400)
    browser.get(page.as_uri())
    parts = browser.find_elements(By.CSS_SELECTOR, "#table-1 .scroll")
    assert len(parts) == 2
    for part in parts:
        hidden = "return arguments[0].scrollWidth - arguments[0].clientWidth"
        assert browser.execute_script(hidden, part) <= 1


def test_no_label_of_the_psnr_plot_lies_on_another(browser: Any, losing_page: str) -> None:
    browser.get(losing_page)
    overlapping = """
      const boxes = [...document.querySelectorAll('#psnr ~ .two-columns figure svg text')]
        .map(text => ({words: text.textContent, box: text.getBoundingClientRect()}));
      const pairs = [];
      boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
        const apart = a.box.right <= b.box.left || b.box.right <= a.box.left
          || a.box.bottom <= b.box.top + 2 || b.box.bottom <= a.box.top + 2;
        if (!apart) pairs.push([a.words, b.words]);
      }));
      return [boxes.length, pairs];
    """
    count, pairs = browser.execute_script(overlapping)
    assert count > 20
    assert pairs == []
    cut_off = """
      const svg = document.querySelector('#psnr ~ .two-columns figure svg');
      const edge = svg.getBoundingClientRect().right;
      return [...svg.querySelectorAll('text')].filter(t => t.getBoundingClientRect().right > edge)
        .map(t => t.textContent);
    """
    assert browser.execute_script(cut_off) == []


def test_a_phone_shows_the_method_and_the_chosen_metric(browser: Any, losing_page: str) -> None:
    at_width(browser, 390, mobile=True)
    browser.get(losing_page)
    shown = (
        "return [...document.querySelectorAll('#table-1 tbody tr:first-child > *')]"
        ".filter(e => e.offsetParent).map(e => e.dataset.key || 'method')"
    )
    assert browser.execute_script(shown) == ["method", "lpips_alex"], "as near LPIPS as there is"
    Select(browser.find_element(By.ID, "metric")).select_by_value("ssim")
    assert browser.execute_script(shown) == ["method", "ssim"]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    wide = browser.execute_script(
        "return [...document.querySelectorAll('.board .scroll')]"
        ".filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1).length"
    )
    assert wide == 0
    # the first line stands out as it does on a wide page
    of_first = browser.find_element(By.CSS_SELECTOR, "#table-1 tr.verdict th")
    on_phone = of_first.value_of_css_property("background-color")
    at_width(browser, 1400)
    assert of_first.value_of_css_property("background-color") == on_phone
    assert not browser.find_element(By.ID, "metric").is_displayed()


def test_the_first_screen_answers_what_people_ask(browser: Any, losing_page: str) -> None:
    at_width(browser, 1400)
    browser.get(losing_page)
    questions = browser.find_elements(By.CSS_SELECTOR, ".question")
    assert len(questions) == 8
    for question in questions:
        assert question.rect["y"] + question.rect["height"] <= 900
    text = " ".join(question.text for question in questions)
    for ident in read_benchmark("tiktok").video_ids:
        assert ident.removesuffix("_1x1") in text


def test_the_page_draws_every_methods_values_over_the_length_of_its_videos(
    browser: Any,
    make_result: Callable[..., Result],
    write_with_frames: Callable[[Result], Path],
    tmp_path: Path,
) -> None:
    board = tmp_path / "board"
    for method in ("ours", "theirs"):
        add_results(write_with_frames(make_result(method)), board)
    assert main(["render", "--board", str(board), "--out", str(tmp_path / "site")]) == 0
    browser.get((tmp_path / "site" / "index.html").as_uri())
    browser.find_element(By.LINK_TEXT, "Over the length")
    lines = browser.find_elements(By.CSS_SELECTOR, "#drift-plot polyline")
    assert len(lines) == 2
    assert len(lines[0].get_attribute("points").split()) == 10
    words = [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#drift-words li")]
    assert [line.split(" ·")[0] for line in words] == ["ours", "theirs"]
    assert "each 100 frames (95 % from " in words[0]
    before = lines[0].get_attribute("points")
    Select(browser.find_element(By.ID, "drift-metric")).select_by_visible_text("SSIM ↑")
    after = browser.find_element(By.CSS_SELECTOR, "#drift-plot polyline").get_attribute("points")
    assert after != before
