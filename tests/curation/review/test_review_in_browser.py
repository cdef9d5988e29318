"""A review in a real headless Chromium, on a corpus with accepted and rejected puppets."""

from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aa_curation.cli.main import main
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.ledger.file import read_ledger
from aa_curation.recipe import Recipe
from aa_curation.review.answers import Review
from aa_curation.review.server import make_server
from aa_curation.sources.source_list import read_sources
from aa_datasets.pose import JOINT_SEEN_SCORE, read_pose

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def folder(
    small_shards: Recipe,
    sources_folder: Path,
    tmp_path: Path,
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
) -> Path:
    """Two accepted puppets of a hostile owner, one too short, one that holds text."""
    for file in sources_folder.glob("*"):
        shutil.copy(file, tmp_path)
    rows = [
        {
            "source_id": name,
            "location": f"{name.replace('short', 'puppet')}.mp4",
            "licence": "MIT",
            "owner": HOSTILE,
            "pose_file": f"{name}.pose.npz" if name.startswith("puppet") else "",
        }
        for name in ("puppet_1", "puppet_2", "short_7", "bad_html")
    ]
    corpus = tmp_path / "corpus"
    run(small_shards, read_sources([write_sources(tmp_path, rows)]), corpus, Local())
    return corpus


@pytest.fixture
def address(folder: Path) -> Iterator[tuple[str, int]]:
    server = make_server(Review(folder, {}), 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield ("127.0.0.1", server.server_port)
    server.shutdown()
    server.server_close()


def _ask(
    address: tuple[str, int], path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(*address)
    connection.request("GET" if body is None else "POST", path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def test_a_person_finds_plays_and_marks_clips(
    folder: Path, address: tuple[str, int], browser: Any
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select, WebDriverWait

    def find(name: str) -> Any:
        return browser.find_element(By.ID, name)

    def wait(condition: Callable[[], Any]) -> Any:
        return WebDriverWait(browser, 60).until(lambda _: condition())

    def names() -> list[str]:
        items = browser.find_elements(By.CSS_SELECTOR, "#clips button small:first-of-type")
        return [item.text for item in items]

    browser.get(f"http://127.0.0.1:{address[1]}/")
    wait(lambda: find("summary").text == "2 accepted, 2 rejected")
    assert sorted(names()) == ["bad_html-0000", "puppet_1-0000", "puppet_2-0000", "short_7-0000"]

    # By a measurement, in the search and in the form.
    bounds = {d.clip_id: {c.reason: c.measured for c in d.checks}
              for d in read_ledger(folder).decisions.values()}  # fmt: skip
    small = {name: checks["small_person"] for name, checks in bounds.items()
             if "small_person" in checks}  # fmt: skip
    assert len(small) == 2
    middle = sum(small.values()) / 2
    find("search").send_keys(f"small_person>{middle:.6f}")
    larger = max(small, key=small.__getitem__)
    wait(lambda: names() == [larger])
    find("search").clear()
    find("search").send_keys("puppet", Keys.ENTER)
    Select(find("measure")).select_by_visible_text("small_person")
    find("to").send_keys(f"{middle:.6f}")
    smaller = min(small, key=small.__getitem__)
    wait(lambda: names() == [smaller])

    # The chosen clip plays, its skeleton over it; its numbers stand below.
    browser.find_element(By.CSS_SELECTOR, "#clips button").click()
    video = find("video")
    wait(lambda: video.get_property("videoWidth") == 256 and video.get_property("readyState") >= 2)
    wait(lambda: find("frame").text.endswith("of 29"))
    drawn = """
      const c = document.getElementById("skeleton");
      return c.width && c.getContext("2d").getImageData(0, 0, c.width, c.height).data
        .filter((v, i) => i % 4 === 3 && v > 0).length"""
    wait(lambda: browser.execute_script(drawn) > 100)
    find("drawn").click()
    wait(lambda: browser.execute_script(drawn) == 0)
    assert "small_person" in find("numbers").text
    assert HOSTILE in find("why").text
    assert browser.title == "Review of demo", "nothing of a list may run"

    # What another bound changes is what `redecide` does; keeping it writes the list.
    find("bound").clear()
    find("bound").send_keys(f"{middle:.6f}")
    wait(
        lambda: find("changes").text.startswith("Rejects 1 of 2 accepted clips, 1 of them of <img")
    )
    find("keep").click()
    wait(lambda: (folder / "redecide.txt").is_file())
    assert (folder / "redecide.txt").read_text() == f"small_person={round(middle, 6)!r}\n"

    # Marking writes the source; what the list says comes back with the page.
    find("mark").click()
    wait(lambda: (folder / "takedown.txt").is_file())
    source = smaller.removesuffix("-0000")
    assert (folder / "takedown.txt").read_text() == f"{source}\n"
    browser.refresh()
    wait(
        lambda: (
            f"1 source in takedown.txt: aa-curate takedown --list {folder}" in find("marks").text
        )
    )
    assert "small_person=" in find("marks").text

    # A rejected clip plays from its source; one that holds text says so.
    wait(lambda: len(names()) == 4)
    for name, trouble in (
        ("short_7-0000", "No skeleton is stored"),
        ("bad_html-0000", "No video: "),
    ):
        find("search").clear()
        find("search").send_keys(name)
        wait(lambda name=name: names() == [name])
        browser.find_element(By.CSS_SELECTOR, "#clips button").click()
        wait(lambda trouble=trouble: find("trouble").text.startswith(trouble))
        if name == "short_7-0000":
            wait(lambda: find("video").get_property("videoWidth") == 256)
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert all("bad_html" in message for message in severe), severe

    # Both lists are what the commands read.
    listed = str(folder / "redecide.txt")
    assert main(["redecide", "--list", listed, "--out", str(folder)]) == 0
    assert read_ledger(folder).decisions[smaller].reason == "small_person"
    assert main(["takedown", "--list", str(folder / "takedown.txt"), "--out", str(folder)]) == 0
    assert read_ledger(folder).decisions[smaller].reason == "takedown"
    for what in ("video", "picture", "pose"):
        assert _ask(address, f"/{what}/{smaller}")[0] == 404, "what was taken down is never shown"
    browser.refresh()
    wait(lambda: find("marks").text == "Nothing is marked.")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_screen(address: tuple[str, int], browser: Any, width: int) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(f"http://127.0.0.1:{address[1]}/")
    items = WebDriverWait(browser, 60).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "#clips li")
    )
    assert len(items) == 4
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_pose_is_sent_in_quarters_of_a_pixel(folder: Path) -> None:
    found = Review(folder, {}).pose("puppet_1-0000")
    pose = read_pose(folder / "clips" / "puppet_1-0000.pose.npz")
    assert found is not None
    sent = np.frombuffer(found, "<i2").reshape(pose.num_frames, -1, 2)
    seen = pose.scores >= JOINT_SEEN_SCORE
    np.testing.assert_allclose(sent[seen] / 4, pose.keypoints_px[seen], atol=0.126)
    assert (sent[~seen] == -32768).all()
    assert Review(folder, {}).pose("short_7-0000") is None


def test_any_part_of_a_video_can_be_asked_for(folder: Path, address: tuple[str, int]) -> None:
    whole = (folder / "clips" / "puppet_1-0000.mp4").read_bytes()
    path = "/video/puppet_1-0000"
    assert _ask(address, path)[:2] == (200, whole)
    for asked, part in (
        ("bytes=0-", whole),
        ("bytes=10-19", whole[10:20]),
        ("bytes=-5", whole[-5:]),
        (f"bytes={len(whole) - 1}-{len(whole) + 9}", whole[-1:]),
    ):
        status, content, headers = _ask(address, path, Range=asked)
        assert (status, content) == (206, part)
        assert headers["Content-Range"].endswith(f"/{len(whole)}")
    assert _ask(address, path, Range=f"bytes={len(whole)}-")[0] == 416


def test_only_its_own_page_on_this_machine_may_ask_and_write(
    folder: Path, address: tuple[str, int]
) -> None:
    host = f"127.0.0.1:{address[1]}"
    marks = b'{"takedown": ["puppet_1"], "bounds": {}}'
    assert _ask(address, "/clips", Host="evil.example:80")[0] == 403
    assert _ask(address, "/marks", marks)[0] == 403
    assert _ask(address, "/marks", marks, Origin="http://evil.example")[0] == 403
    assert not (folder / "takedown.txt").exists()
    for wrong, why in (
        (b"{}", "takedown"),
        (b'{"takedown": ["gone"], "bounds": {}}', "not in this corpus: gone"),
        (b'{"takedown": [], "bounds": {"blurred": "x"}}', "float"),
        (b"no JSON", "JSON"),
    ):
        status, content, _ = _ask(address, "/marks", wrong, Origin=f"http://{host}")
        assert status == 422
        assert why in content.decode()
    assert _ask(address, "/marks", marks, Origin=f"http://{host}")[0] == 200
    assert (folder / "takedown.txt").read_text() == "puppet_1\n"
    none = b'{"takedown": [], "bounds": {}}'
    assert _ask(address, "/marks", none, Origin=f"http://{host}")[0] == 200
    assert not (folder / "takedown.txt").exists()
    for missing in ("/video/..%2F..%2Fledger.jsonl", "/pose/gone", "/etc/passwd", "/video/"):
        assert _ask(address, missing)[0] == 404


def test_what_the_lists_lack_is_named(
    folder: Path, address: tuple[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--out", str(folder)]
    empty = folder.parent / "empty.txt"
    empty.write_text("\n")
    for argv, message in (
        (["takedown"], "nothing to do: give --source ID, or --list FILE"),
        (["redecide", "--list", str(empty)], "nothing to do: give --set NAME=VALUE"),
        (["takedown", "--list", str(folder / "gone.txt")], "gone.txt cannot be read"),
        (["review", "--port", str(address[1])], "cannot be used"),
    ):
        assert main([*argv, *common]) == 2
        assert message in capsys.readouterr().err
