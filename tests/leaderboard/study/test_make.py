"""What a study's page shows: the methods' own frames, the spoilt ones, rates, and blind names."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aa_eval.videos.video import read_video
from aa_leaderboard.errors import StudyError
from aa_leaderboard.study.key import Key, read_key, write_key
from aa_leaderboard.study.make import make_study, spoil
from aa_leaderboard.study.plan import StudyOptions, plan_trials


def test_a_spoilt_frame_is_twelve_flat_blocks_along_its_shorter_side() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 48, 3), dtype=np.uint8)
    found = spoil(noise)
    blocks = noise.reshape(12, 2, 24, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found[::2, ::2], blocks, atol=1)
    np.testing.assert_array_equal(found, found[::2, ::2].repeat(2, 0).repeat(2, 1))
    tall = spoil(np.random.default_rng(0).integers(0, 256, (60, 25, 3), dtype=np.uint8))
    assert tall.shape == (60, 25, 3)
    assert len(np.unique(tall[:, 0], axis=0)) == 20  # blocks of 3 px: 25 / 12, rounded up
    np.testing.assert_array_equal(spoil(noise[:5, :7]), noise[:5, :7])


@pytest.fixture
def folders(tmp_path: Path, write_clip: Callable[..., Path]) -> list[Path]:
    """One method in images, one in files of 12 frames/s; and the truth in large pictures."""
    for v, video in enumerate(("a", "b")):
        (tmp_path / "one" / video).mkdir(parents=True)
        for t in range(4):
            picture = Image.new("RGB", (32, 32), (40 + 30 * v,) * 3)
            picture.save(tmp_path / "one" / video / f"{t}.png")
        (tmp_path / "two").mkdir(exist_ok=True)
        frames = np.full((4, 32, 32, 3), 140 + 30 * v, np.uint8)
        write_clip(tmp_path / "two" / f"{video}.mp4", frames, 12)
        (tmp_path / "truth" / video).mkdir(parents=True)
        Image.new("RGB", (960, 720), (200, 10, 10)).save(tmp_path / "truth" / video / "0.png")
    return [tmp_path / "one", tmp_path / "two"]


def _data(page: Path) -> Any:
    text = page.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', text, re.S)
    return json.loads(found)


def test_each_blind_clip_is_what_the_key_says(folders: list[Path], tmp_path: Path) -> None:
    options = StudyOptions(
        out=tmp_path / "study", references=tmp_path / "truth", checks=3, question="Which?"
    )
    made = make_study(folders, options)
    assert (made.num_trials, made.left_out) == (5, ())
    key, data = read_key(made.key), _data(made.page)
    assert (data["study"], data["question"]) == (key.study, key.question) == (key.study, "Which?")
    assert key.methods == ["one", "two"]
    assert {t["name"]: tuple(t["clips"]) for t in data["trials"]} == key.trials
    assert [t["name"] for t in data["trials"]] == [f"t00{n}" for n in range(1, 6)]
    assert data["clips"].keys() == key.clips.keys()
    spoilt = 0
    for name, clip in key.clips.items():
        file = tmp_path / f"{name}.mp4"
        file.write_bytes(base64.b64decode(data["clips"][name]))
        video = read_video(file)
        assert video.fps == 12, "images have no rate"
        assert video.frames.shape == (4, 192, 192, 3)
        level = 40 + 100 * (clip.method == "two") + 30 * (clip.video == "b")
        assert abs(video.frames.astype(float) - level).max() < 6
        spoilt += clip.spoilt
    assert spoilt
    for trial in data["trials"]:
        left, right = (key.clips[name] for name in trial["clips"])
        assert left.video == right.video
        assert (left.method == right.method) == (left.spoilt != right.spoilt)
        photo = base64.b64decode(trial["photo"].removeprefix("data:image/jpeg;base64,"))
        (tmp_path / "photo.jpg").write_bytes(photo)
        assert Image.open(tmp_path / "photo.jpg").size == (480, 360)


def test_no_more_videos_than_asked_for_in_the_order_of_names(
    folders: list[Path], tmp_path: Path
) -> None:
    options = StudyOptions(out=tmp_path / "study", videos=1, checks=0)
    made = make_study(folders, options)
    assert {clip.video for clip in read_key(made.key).clips.values()} == {"a"}
    assert all(trial["photo"] is None for trial in _data(made.page)["trials"])
    images = shutil.copytree(folders[0], tmp_path / "three")
    data = _data(make_study([folders[0], images], options).page)
    for content in data["clips"].values():
        (tmp_path / "clip.mp4").write_bytes(base64.b64decode(content))
        assert read_video(tmp_path / "clip.mp4").fps == 24, "no folder knows a rate"


def test_two_folders_of_one_name_are_refused(folders: list[Path], tmp_path: Path) -> None:
    same = tmp_path / "more" / "one"
    shutil.copytree(folders[1], same)
    with pytest.raises(StudyError, match="two of the folders have one name: rename one"):
        make_study([folders[0], same], StudyOptions(out=tmp_path / "study"))


def test_a_plan_is_its_seeds_and_its_first_check_is_on_the_side_of_the_seed() -> None:
    plans = [plan_trials(["x", "y"], ["a", "b", "c"], 4, seed) for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    for plan in plans:
        checks = [trial for trial in plan if trial.spoilt]
        assert sorted(check.left for check in checks) == ["x", "x", "y", "y"]
        assert sorted(check.spoilt for check in checks) == ["left", "left", "right", "right"]
    one = [plan_trials(["x", "y"], ["a"], 1, seed)[n] for seed in (0, 1) for n in range(2)]
    assert {trial.spoilt for trial in one if trial.spoilt} == {"left", "right"}
    assert StudyOptions(out=Path()).checks == 2
    with pytest.raises(StudyError, match="no video in common: nothing to compare"):
        plan_trials(["x", "y"], [], 0, 0)


def test_a_key_of_another_version_is_refused(tmp_path: Path) -> None:
    key = Key(2, "abc", "?", ["x", "y"], {}, {})
    write_key(tmp_path / "key.json", key)
    with pytest.raises(StudyError, match="schema is 2, this aa-leaderboard reads 1"):
        read_key(tmp_path / "key.json")
