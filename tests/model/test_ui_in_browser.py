"""`aa-animate ui` in a real headless Chromium: photo and pose in, video out, errors in one line."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical
from aa_model.checkpoints.store import write_checkpoint
from aa_model.cli.ui import open_page
from aa_model.inference.options import UiOptions
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import TINY

pytest.importorskip("gradio", reason="skipped: gradio is not installed (the extra `ui`)")
pytest.importorskip("selenium", reason="skipped: selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

LEARNED = Path(__file__).parents[2] / "demo" / "learned"
PATIENCE_S = 120  # of a busy machine; it takes a few seconds


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses other than this machine's that this process connects to."""
    found: list[str] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            found.append(str(address[0]))
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    return found


@pytest.fixture
def url(
    make_tiny: Callable[..., AnimateAnyone],
    strangers: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    checkpoint = tmp_path / "checkpoint"
    made_by = dict.fromkeys(parts_of(TINY.model), "a test")
    write_checkpoint(checkpoint, make_tiny(temporal=True), made_by)
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):  # set by the page
        monkeypatch.setenv(name, "")
    options = UiOptions(
        checkpoint=checkpoint,
        port=0,
        steps=2,
        pose_detector=str(LEARNED / "puppet-keypoints.safetensors"),
    )
    (tmp_path / "page").mkdir()
    blocks, url = open_page(options, tmp_path / "page")
    yield url
    blocks.close(verbose=False)
    assert strangers == []


# Keeps what stands over the video while it is made: each note of progress is soon replaced.
WATCH_PROGRESS = """
window.progress = [];
new MutationObserver(() => window.progress.push(document.getElementById('video').innerText))
    .observe(document.getElementById('video'),
             {subtree: true, childList: true, characterData: true});
"""


def test_a_photo_and_a_pose_become_a_video_that_plays(
    browser: Any, url: str, tmp_path: Path
) -> None:
    puppet = render_puppet(7, 7, num_frames=9, size_hw=(96, 128))
    Image.fromarray(puppet.frames[0]).convert("L").save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet.pose)
    (tmp_path / "drive.mp4").write_bytes(encode_canonical(puppet.frames[:5], 12.0))
    (tmp_path / "other.npz").write_bytes(b"no pose at all")
    wait = WebDriverWait(browser, PATIENCE_S)
    run = browser.execute_script

    def give(where: str, *files: Path) -> None:
        for file in files:
            browser.find_element(By.CSS_SELECTOR, f"#{where} input[type=file]").send_keys(str(file))

    def shown(where: str) -> str:
        """The text there without spaces: a file's name is shown in two parts."""
        return "".join(browser.find_element(By.ID, where).text.split())

    def press() -> None:
        button = browser.find_element(By.ID, "animate")
        run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
        button.click()

    def status(kind: str) -> str:
        texts = f"return [...document.querySelectorAll('#status .{kind}')].map(e => e.innerText)"
        found = wait.until(lambda _: run(texts))
        assert len(found) == 1
        return str(found[0])

    def replace_pose(name: str) -> None:
        browser.find_element(By.CSS_SELECTOR, "#pose button[aria-label=Clear]").click()
        wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#pose input[type=file]"))
        give("pose", tmp_path / name)
        wait.until(lambda _: name in shown("pose"))

    browser.get(url)
    wait.until(lambda _: browser.find_elements(By.ID, "animate"))
    press()
    assert status("error") == "a photo is missing: put one in first"

    give("reference", tmp_path / "photo.png")
    give("pose", tmp_path / "pose.npz")
    wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#reference img"))
    wait.until(lambda _: "pose.npz" in shown("pose"))
    press()
    assert status("done") == "9 frames of 32x32"
    notes = browser.find_element(By.ID, "status").text
    assert "96x128 cropped at its centre to 96x96" in notes
    wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#alignment img"))
    playing = "const v = document.querySelector('#video video'); return v && "
    wait.until(lambda _: run(playing + "v.readyState >= 2 && v.currentTime > 0"))
    assert run(playing + "[v.videoWidth, v.videoHeight]") == [32, 32]
    browser.save_screenshot(str(tmp_path / "page.png"))

    # A video drives as well as a pose file, and how far it is can be seen.
    replace_pose("drive.mp4")
    run(WATCH_PROGRESS)
    press()
    wait.until(lambda _: "5 frames" in status("done"))
    assert "5 poses found by puppet-keypoints" in browser.find_element(By.ID, "status").text
    progress = " ".join(run("return window.progress"))
    assert "finding poses" in progress or "denoising" in progress

    # Of several people one is chosen; a second is not in this video.
    browser.find_element(By.CSS_SELECTOR, "#options button").click()
    wait.until(lambda _: browser.find_element(By.CSS_SELECTOR, "#person input").is_displayed())
    browser.find_element(By.CSS_SELECTOR, "#person input").send_keys(Keys.BACKSPACE, "2", Keys.TAB)
    press()
    assert status("error").startswith("drive.mp4 shows 1 person in its first frame: --person 2 is")

    # An error is one line, and the page goes on.
    replace_pose("other.npz")
    press()
    wait.until(lambda _: "--person" not in status("error"))  # that of before may still be shown
    assert status("error").startswith("other.npz is not a pose file")
    assert browser.find_elements(By.CSS_SELECTOR, "#status .done") == []

    # Nothing was asked of anybody else.
    asked = run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in asked if not name.startswith((url, "data:", "blob:"))] == []
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
