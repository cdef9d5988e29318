"""Cache and workers: nothing is computed twice or used stale, and no number depends on them."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aa_eval.errors import VideoError
from aa_eval.protocol import Protocol, read_protocol
from aa_eval.result import Result
from aa_eval.scoring import cache
from aa_eval.scoring import score_pairs as score_pairs_module
from aa_eval.scoring import video_scores as scoring
from aa_eval.scoring.baselines import BASELINES
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.process_pool import default_workers, threads_of_each, usable_cores
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import Pair, make_pairs


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """gt, and two predictions of it: three videos of 17, 18 and 19 frames."""
    draw = np.random.default_rng(0)
    for index, video in enumerate("abc"):
        frames = draw.integers(0, 256, (17 + index, 24, 32, 3))
        for name, sigma in (("gt", 0), ("one", 9), ("two", 30)):
            (tmp_path / name / video).mkdir(parents=True)
            noisy = np.clip(frames + draw.normal(0, 1, frames.shape) * sigma, 0, 255)
            for number, frame in enumerate(noisy.astype(np.uint8)):
                Image.fromarray(frame).save(tmp_path / name / video / f"{number}.png")
    return tmp_path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which videos have been decoded, as <folder>/<video>."""
    seen: list[str] = []

    def watched(reader: object) -> object:
        def read(source: scoring.VideoSource) -> object:
            seen.append(f"{source.place.parent.name}/{source.video_id}")
            return reader(source)  # type: ignore[operator]  # the function that it stands for

        return read

    for name in ("iter_frames", "iter_frames_backwards"):
        monkeypatch.setattr(scoring, name, watched(getattr(scoring, name)))
    return seen


def pixels_only() -> Protocol:
    protocol = read_protocol("tiktok-disco-2023")
    metrics = tuple(m for m in protocol.metrics if m.net is None and m.kind != "fvd")
    return replace(protocol, metrics=metrics, video_features=None)


def pairs_of(trees: Path, name: str) -> list[Pair]:
    return make_pairs(find_videos(trees / name), find_videos(trees / "gt"))[0]


def score(trees: Path, name: str, cache: Cache | None, **options: object) -> list[Result]:
    given: dict[str, object] = {"method": name, "baselines": ["white", "reversed"], **options}
    return score_pairs(pairs_of(trees, name), [pixels_only()], cache=cache, **given)  # type: ignore[arg-type]


def same(ours: list[Result], theirs: list[Result]) -> bool:
    return all(
        replace(a, created="") == replace(b, created="")
        and all(
            a.per_frame[v][k].tobytes() == b.per_frame[v][k].tobytes()
            for v in b.per_frame
            for k in b.per_frame[v]
        )
        for a, b in zip(ours, theirs, strict=True)
    )


def test_a_second_run_decodes_nothing_and_gives_the_same_bits(
    trees: Path, decoded: list[str], own_cache: Path
) -> None:
    plain = score(trees, "one", None)
    first = score(trees, "one", Cache(own_cache))
    decoded.clear()
    again = score(trees, "one", Cache(own_cache))
    assert decoded == []
    assert same(first, plain)
    assert same(again, plain)


def test_a_second_method_does_not_pay_for_the_baselines_again(
    trees: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(trees, "one", Cache(own_cache))
    asked: list[str] = []
    compute = scoring._compute

    def watched(pair: Pair, items: list[scoring.Item], *rest: object) -> object:
        asked.extend(item.name for item in items)
        return compute(pair, items, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "_compute", watched)
    score(trees, "two", Cache(own_cache))
    assert set(asked) == {"two"}


def test_a_killed_run_goes_on_where_it_was(
    trees: Path, decoded: list[str], own_cache: Path
) -> None:
    pairs = pairs_of(trees, "one")
    damaged = trees / "one" / "c" / "9.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"c/9\.png"):
        score_pairs(pairs, [pixels_only()], method="m", cache=Cache(own_cache))
    damaged.write_bytes(whole)
    decoded.clear()
    score_pairs(pairs, [pixels_only()], method="m", cache=Cache(own_cache))
    assert sorted(decoded) == ["gt/c", "one/c"]


@pytest.mark.slow
def test_kill_minus_nine_at_any_time_loses_no_finished_video(trees: Path, own_cache: Path) -> None:
    """The installed command, killed at drawn times, then left to finish: nothing is made twice."""
    seed = int(os.environ.get("AA_KILL_SEED", str(secrets.randbelow(1 << 32))))
    print(f"AA_KILL_SEED={seed}")
    draw = random.Random(seed)
    command = [str(Path(sys.executable).with_name("aa-eval")), str(trees / "one")]
    command += ["--references", str(trees / "gt"), "--baselines", "off", "--out"]
    begun = time.monotonic()
    whole = [*command, str(trees / "whole"), "--cache", "off"]
    subprocess.run(whole, check=True, capture_output=True)
    whole_s = time.monotonic() - begun
    kept: dict[Path, int] = {}
    for kill in range(4):
        process = subprocess.Popen([*command, str(trees / "out")], stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.2, 0.9) * whole_s)
        while kill == 3 and process.poll() is None and not list(own_cache.glob("arrays/*/*.npy")):
            time.sleep(0.05)  # at the latest now something is finished
        process.kill()
        process.wait()
        there = {file: file.stat().st_mtime_ns for file in own_cache.glob("arrays/*/*.npy")}
        assert kept.items() <= there.items()  # nothing is written a second time
        kept = there
    subprocess.run([*command, str(trees / "out")], check=True, capture_output=True)
    assert kept
    assert (
        kept.items() <= {f: f.stat().st_mtime_ns for f in own_cache.glob("arrays/*/*.npy")}.items()
    )
    for table in ("per_frame.csv", "per_video.csv"):
        assert (trees / "out" / table).read_bytes() == (trees / "whole" / table).read_bytes()
    whole_result, result = (
        json.loads((trees / side / "result.json").read_text()) for side in ("whole", "out")
    )
    assert result | {"created": ""} == whole_result | {"created": ""}


def test_other_content_is_seen_though_size_mtime_and_inode_are_the_same(
    trees: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_SETTLED_S", -1.0)  # remember at once
    folder = trees / "raw"
    (folder / "a").mkdir(parents=True)
    file = folder / "a" / "0.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, compress_level=0)
    (source,) = find_videos(folder).videos.values()
    before, old = Cache(own_cache).digest(source), file.stat()
    time.sleep(0.02)  # the clock of the file system is coarse
    with file.open("r+b") as content:  # what `rsync --inplace --times` leaves
        content.write(file.read_bytes()[:-20] + b"other")
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    new = file.stat()
    assert (new.st_size, new.st_mtime_ns, new.st_ino) == (old.st_size, old.st_mtime_ns, old.st_ino)
    assert Cache(own_cache).digest(source) != before


def test_a_file_that_has_just_changed_is_hashed_every_time(trees: Path, own_cache: Path) -> None:
    (source, *_) = find_videos(trees / "one").videos.values()
    kept = Cache(own_cache)
    assert kept.digest(source) == kept.digest(source)
    assert not list(own_cache.glob("digests/*/*"))
    for file in source.files:
        os.utime(file, (1, 1))  # moves the time of status to now, which no program can set
    kept.digest(source)
    assert not list(own_cache.glob("digests/*/*"))


def test_verify_hashes_every_file_again(
    trees: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_SETTLED_S", -1.0)
    (source, *_) = find_videos(trees / "one").videos.values()
    right = Cache(own_cache).digest(source)
    (note,) = own_cache.glob("digests/*/*")
    note.write_text("0" * 64)
    assert Cache(own_cache).digest(source) == "0" * 64
    assert Cache(own_cache, verify=True).digest(source) == right


def test_values_of_other_code_versions_and_devices_are_not_taken(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cache(own_cache).put("key", np.arange(3.0))
    np.testing.assert_array_equal(Cache(own_cache).get("key"), np.arange(3.0))
    assert Cache(own_cache).get("other key") is None
    assert Cache(own_cache, "cuda:1").get("key") is None
    monkeypatch.setattr(cache, "package_versions", lambda: {"numpy": "0"})
    assert Cache(own_cache).get("key") is None
    monkeypatch.undo()
    monkeypatch.setattr(cache, "source_hash", lambda package: "0" * 64)
    assert Cache(own_cache).get("key") is None


@pytest.mark.parametrize("module", ["evaluate.py", "metrics/ssim.py", "scoring/deep/er/new.py"])
def test_the_key_covers_every_module_of_the_package(tmp_path: Path, module: str) -> None:
    package = tmp_path / "aa_eval"
    shutil.copytree(cache._PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "*.toml"))
    assert cache.source_hash(package) == cache.source_hash(cache._PACKAGE)
    path = package / module
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("# changed\n")
    assert cache.source_hash(package) != cache.source_hash(cache._PACKAGE)


def test_the_key_holds_the_version_of_scikit_image(own_cache: Path) -> None:
    assert cache.package_versions()["scikit-image"] == metadata.version("scikit-image")


def test_a_damaged_file_of_the_cache_is_reported_and_computed_again(
    trees: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = score(trees, "one", Cache(own_cache))
    for file in own_cache.glob("arrays/*/*.npy"):
        file.write_bytes(file.read_bytes()[:30])
    assert same(score(trees, "one", Cache(own_cache)), first)
    assert "is damaged" in caplog.text


def test_protocols_share_what_they_compute_alike(
    trees: Path, decoded: list[str], own_cache: Path
) -> None:
    protocol = pixels_only()
    score_pairs(pairs_of(trees, "one"), [protocol], method="m", cache=Cache(own_cache))
    decoded.clear()
    other = replace(protocol, name="other", aggregation="videos", score_reference_frame=False)
    score_pairs(pairs_of(trees, "one"), [other], method="m", cache=Cache(own_cache))
    assert decoded == []
    names = list(BASELINES)
    score_pairs(
        pairs_of(trees, "one"), [other], method="m", baselines=names, cache=Cache(own_cache)
    )
    assert set(decoded) == {"gt/a", "gt/b", "gt/c"}  # the prediction's values are there


def test_the_order_of_videos_and_processes_does_not_change_a_bit(trees: Path) -> None:
    pairs = pairs_of(trees, "one")
    plain = score(trees, "one", None)
    for order in (pairs[::-1], [pairs[1], pairs[0], pairs[2]]):
        again = score_pairs(order, [pixels_only()], method="one", baselines=["white", "reversed"])
        assert same(again, plain)


@pytest.mark.slow
def test_any_number_of_processes_gives_the_identical_bits_of_networks(trees: Path) -> None:
    protocols = [read_protocol("aa-clean-v1")]
    pairs = pairs_of(trees, "one")
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_of_each(2))
    try:
        one = score_pairs(pairs, protocols, method="m")
    finally:
        torch.set_num_threads(threads)
    two = score_pairs(pairs[::-1], protocols, method="m", workers=2)
    assert same(two, one)


def test_processes_share_the_cache_and_name_the_video_that_fails(
    trees: Path, decoded: list[str], own_cache: Path
) -> None:
    plain = score(trees, "one", None)
    spread = score(trees, "one", Cache(own_cache), workers=2)
    assert same(spread, plain)
    decoded.clear()
    score(trees, "one", Cache(own_cache))
    assert decoded == []
    (trees / "one" / "a" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    pairs = [replace(pair) for pair in pairs_of(trees, "two")]
    damaged = replace(pairs[0], prediction=find_videos(trees / "one").videos["a"])
    with pytest.raises(VideoError, match=r"a/3\.png"):
        score_pairs([damaged, *pairs[1:]], [pixels_only()], method="m", workers=2)


def test_threads_and_processes_by_default(trees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of_each(2) == 3  # the user's word
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    assert usable_cores() == 6  # a container's or taskset's, not the machine's
    assert [threads_of_each(n) for n in (1, 2, 4, 9)] == [6, 3, 1, 1]
    pairs = pairs_of(trees, "one")
    assert default_workers(pairs, "cpu") == 1  # 54 frames: scored before a process has started
    long = [replace(pair, frame_numbers=tuple(range(500))) for pair in pairs]
    assert default_workers(long, "cpu") == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert default_workers(long, "cpu") == 1


@pytest.mark.parametrize("guard", ["", 'if __name__ == "__main__": '], ids=["bare", "guarded"])
def test_a_script_that_new_processes_would_run_again_gets_one(guard: str, tmp_path: Path) -> None:
    lines = [
        "from types import SimpleNamespace",
        "from aa_eval.scoring.process_pool import default_workers",
        f'{guard}print(default_workers([SimpleNamespace(num_frames=500)] * 3, "cpu"))',
    ]
    (tmp_path / "mine.py").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, tmp_path / "mine.py"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == (min(3, usable_cores()) if guard else 1)


def test_what_is_in_the_cache_starts_no_process(
    trees: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score(trees, "one", Cache(own_cache))
    monkeypatch.setattr(score_pairs_module, "score_in_processes", None)
    assert same(score(trees, "one", Cache(own_cache), workers=2), first)
