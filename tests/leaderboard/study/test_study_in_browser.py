"""A study in a real headless Chromium: raters of known preference, and their order is found."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from aa_leaderboard.cli import main
from aa_leaderboard.study.key import read_key
from aa_leaderboard.study.votes import study_report

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("selenium", reason="skipped: selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402 (after the skip above)
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

# What a rater likes: the brighter clip. Only the test knows it.
LEVELS = {"method-bright": 210, "method-grey": 130, "method-dark": 50}
VIDEOS = ("dancer_1", "dancer_2")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for method, level in LEVELS.items():
        for video in VIDEOS:
            (tmp_path / method / video).mkdir(parents=True)
            for t in range(10):
                frame = np.full((64, 48, 3), level, np.uint8)
                frame[4 * t : 4 * t + 6, ::2] = 255 - frame[4 * t : 4 * t + 6, ::2]
                Image.fromarray(frame).save(tmp_path / method / video / f"{t:04d}.png")
    folders = [str(tmp_path / method) for method in LEVELS]
    references = ["--references", str(tmp_path / "method-grey")]
    out = tmp_path / "study"
    assert main(["study", "make", *folders, "--out", str(out), *references]) == 0
    return out


def test_the_page_tells_no_method_and_loads_nothing(study: Path) -> None:
    page = (study / "study.html").read_text(encoding="utf-8")
    assert not [name for name in (*LEVELS, *VIDEOS, "spoilt") if name in page]
    key = read_key(study / "key.json")
    assert sorted(key.methods) == sorted(LEVELS)
    assert len(key.trials) == 3 * len(VIDEOS) + 2
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "http" not in re.search(r'Policy" content="([^"]*)"', page)[1]  # type: ignore[index]


def test_a_second_study_of_the_same_folders_is_the_same_and_of_another_seed_another(
    study: Path, tmp_path: Path
) -> None:
    folders = [str(tmp_path / method) for method in LEVELS]
    references = ["--references", str(tmp_path / "method-grey")]
    for seed, same in (("0", True), ("1", False)):
        out = tmp_path / f"again {seed}"
        assert (
            main(["study", "make", *folders, "--out", str(out), "--seed", seed, *references]) == 0
        )
        assert ((out / "key.json").read_bytes() == (study / "key.json").read_bytes()) == same


def test_a_video_that_one_folder_lacks_is_named_and_left_out(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "method-dark" / "dancer_2").rename(tmp_path / "dancer_2")
    folders = [str(tmp_path / method) for method in ("method-bright", "method-dark")]
    assert main(["study", "make", *folders, "--out", str(tmp_path / "less"), "--checks", "0"]) == 0
    assert "left out, as not every folder has them: dancer_2" in capsys.readouterr().out
    key = read_key(tmp_path / "less" / "key.json")
    assert {clip.video for clip in key.clips.values()} == {"dancer_1"}
    assert len(key.trials) == 1


@pytest.mark.parametrize(
    ("frames", "size", "why"),
    [
        (9, (48, 64), "has 10 frames in method-grey, 9 in other"),
        (10, (64, 64), "has (64, 48) pixels (height, width) in method-grey, (64, 64) in other"),
    ],
)
def test_videos_that_size_or_length_would_give_away_are_refused(
    study: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    frames: int,
    size: tuple[int, int],
    why: str,
) -> None:
    folder = tmp_path / "other" / "dancer_1"
    folder.mkdir(parents=True)
    for t in range(frames):
        Image.new("RGB", size, (t, 0, 0)).save(folder / f"{t}.png")
    words = [str(tmp_path / "method-grey"), str(tmp_path / "other")]
    assert main(["study", "make", *words, "--out", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert f"'dancer_1' {why}" in error
    assert "bring both to one size and length" in error
    assert not (tmp_path / "none").exists()


def test_a_page_too_large_to_open_is_refused_by_the_video_that_breaks_the_bound(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aa_leaderboard.study.make.MAX_PAGE_BYTES", 100)
    folders = [str(tmp_path / method) for method in LEVELS]
    assert main(["study", "make", *folders, "--out", str(tmp_path / "large")]) == 2
    assert "choose fewer (--videos)" in capsys.readouterr().err
    assert not (tmp_path / "large").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["{0}"], "expected two folders or more"),
        (["{0}", "{0}"], "two of the folders have one name"),
        (["{0}", "{empty}"], "empty"),
    ],
)
def test_what_gives_no_study_is_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"empty": tmp_path / "empty"}
    folders = [word.format(tmp_path / "method-grey", **names) for word in words]
    assert main(["study", "make", *folders, "--out", str(tmp_path / "none")]) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def rate(browser: Any, study: Path, rater: str, downloads: Path) -> Path:
    """Vote on every pair as one who sees the clips: by their brightness on the screen."""
    run = browser.execute_script
    browser.get((study / "study.html").as_uri())
    browser.find_element(By.ID, "rater").send_keys(rater)
    # In one step, since a short clip is soon over.
    start = """
      document.getElementById('name-form').requestSubmit();
      return [...document.querySelectorAll('[data-choice]')].map(button => button.disabled);
    """
    assert run(start) == [True] * 3, "what was not watched cannot be voted on"
    wait = WebDriverWait(browser, 120, poll_frequency=0.05)
    brightness = """
      return [...document.querySelectorAll('#sides video')].map(video => {
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        const context = canvas.getContext('2d');
        context.drawImage(video, 0, 0);
        const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
        const levels = [...pixels].filter((_, i) => i % 4 === 0);
        const mean = levels.reduce((a, b) => a + b) / levels.length;
        let lines = 0;  // of the bar: a spoilt clip has none
        for (let i = 4; i < levels.length; i += 1) lines += Math.abs(levels[i] - levels[i - 4]);
        return [mean, lines / levels.length];
      });
    """
    total = int(run("return document.getElementById('progress').max"))
    for number in range(1, total + 1):
        told = f"{number} of {total}"
        wait.until(lambda _, told=told: browser.find_element(By.ID, "count").text == told)
        button = browser.find_element(By.CSS_SELECTOR, "[data-choice=left]")
        if number == 1:
            assert run("return document.querySelectorAll('#sides img').length") == 1
        wait.until(lambda _, button=button: button.is_enabled())
        times = run("return [...document.querySelectorAll('#sides video')].map(v => v.currentTime)")
        assert abs(times[0] - times[1]) < 0.25
        (left, left_lines), (right, right_lines) = run(brightness)
        if abs(left - right) < 12:
            better = "left" if left_lines > right_lines else "right"
        else:
            better = "left" if left > right else "right"
        if number % 2:
            browser.find_element(By.CSS_SELECTOR, f"[data-choice={better}]").click()
        else:
            key = Keys.ARROW_LEFT if better == "left" else Keys.ARROW_RIGHT
            browser.find_element(By.TAG_NAME, "body").send_keys(key)
    wait.until(lambda _: browser.find_element(By.ID, "end").is_displayed())
    before = set(downloads.glob("*.csv"))
    browser.find_element(By.ID, "save").click()
    wait.until(lambda _: set(downloads.glob("*.csv")) - before)
    (path,) = set(downloads.glob("*.csv")) - before
    return path


def test_raters_of_known_preference_vote_in_a_browser_and_their_order_is_found(
    browser: Any, study: Path
) -> None:
    votes = study / "votes"
    votes.mkdir()
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(votes)}
    )
    names = ['Ada, "the first"', "rater 2"]
    orders = []
    for name in names:
        path = rate(browser, study, name, votes)
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        orders.append([re.search(r",(t\d+),", line)[1] for line in lines])  # type: ignore[index]
    assert orders[0] != orders[1], "each rater has an order of his own"
    assert sorted(orders[0]) == sorted(orders[1])
    assert browser.get_log("browser") == []
    report = study_report([votes])
    assert list(report.scores.method) == list(LEVELS)
    assert report.inattentive == ()
    assert report.num_raters == 2
    assert report.alpha == 1

    # Who comes back finds the votes kept, and nothing more to do.
    browser.get((study / "study.html").as_uri())
    browser.find_element(By.ID, "rater").send_keys("rater 2", Keys.ENTER)
    assert browser.find_element(By.ID, "end").is_displayed()
    stored = browser.execute_script("return Object.keys(localStorage)")
    assert len(stored) == 2
    random.Random(0).shuffle(names)
    assert all(
        json.loads(browser.execute_script(f"return localStorage[{json.dumps(k)}]")) for k in stored
    )
