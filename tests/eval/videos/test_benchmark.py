"""Benchmarks: exact frames by name, and definitions whose lists are not public."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from aa_eval.errors import PairingError
from aa_eval.protocol import read_protocol
from aa_eval.scoring.feature_windows import window_starts
from aa_eval.videos.benchmark import Benchmark, list_benchmarks, read_benchmark
from aa_eval.videos.layout import VideoFolder
from aa_eval.videos.source import VideoSource


def folder_of(tiktok: Benchmark, change: dict[str, set[int]] | None = None) -> VideoFolder:
    videos = {}
    for video_id, frames in tiktok.frames.items():
        numbers = set(range(frames.first, frames.last + 1)) - set(frames.missing)
        numbers = (change or {}).get(video_id, numbers)
        ordered = tuple(sorted(numbers))
        videos[video_id] = VideoSource(video_id, tuple(Path(str(n)) for n in ordered), ordered)
    return VideoFolder(Path("x"), "frame-tree", videos)


def names_hash(tiktok: Benchmark, folder: VideoFolder) -> str:
    names = sorted(
        frames.name.format(number=number)
        for video_id, frames in tiktok.frames.items()
        for number in folder.videos[video_id].numbers or ()
    )
    assert names[0] == "TiktokDance_00337_0001png.png"
    assert "TiktokDance_201_002_1x1_00000jpg.png" in names
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()


def test_tiktok_is_ten_videos_of_4123_frames_and_3707_windows() -> None:
    tiktok = read_benchmark("tiktok")
    assert len(tiktok.video_ids) == 10
    assert set(tiktok.frames) == set(tiktok.video_ids)
    assert sum(frames.count for frames in tiktok.frames.values()) == 4123
    assert sum(frames.windows or 0 for frames in tiktok.frames.values()) == 3707
    assert "4123 frames, 3707 windows" in tiktok.describe()
    for video_id, source in folder_of(tiktok).videos.items():
        frames = tiktok.frames[video_id]
        assert len(source.numbers or ()) == frames.count
        assert len(window_starts(source.numbers or (), 16, 1)) == frames.windows


def test_frames_are_verified_by_their_names_alone() -> None:
    tiktok = read_benchmark("tiktok")
    folder = folder_of(tiktok)
    assert names_hash(tiktok, folder) == tiktok.names_sha256
    assert tiktok.problems(folder) == {}
    listed = tiktok.frames["202_025_1x1"]
    unlisted = replace(listed, missing=tuple(n for n in listed.missing if n != 190))
    half = replace(tiktok, frames=tiktok.frames | {"202_025_1x1": unlisted})
    moved = set(range(318)) - {
        *unlisted.missing,
        191,
    }  # of a hole that is not listed the hash tells
    assert half.problems(folder_of(tiktok, {"202_025_1x1": moved})) == {
        "test-frames": "benchmark tiktok: as many frames as expected, but not the same numbers"
    }
    first, *rest = sorted(folder.videos["202_007_1x1"].numbers or ())
    for change, said in (
        ({"202_007_1x1": set(rest)}, "'202_007_1x1' has frames 1..247, 247 of them; the"),
        ({"202_007_1x1": {first, *rest, 248}}, "'202_007_1x1' has frames 0..248, 249 of them"),
        (
            {"201_002_1x1": set(range(692)) - {678}},
            "691 of them, 679 among them; the benchmark's are 0..691, 691 of them without 679",
        ),
    ):
        assert said in tiktok.problems(folder_of(tiktok, change))["test-frames"]


def test_renumbered_frames_are_said_and_not_refused() -> None:
    tiktok = read_benchmark("tiktok")
    in_turn = {video_id: set(range(f.count)) for video_id, f in tiktok.frames.items()}
    (kind,) = problems = tiktok.problems(folder_of(tiktok, in_turn))
    assert kind == "renumbered"
    assert "the frames of 8 videos are numbered in turn" in problems[kind]  # two have no holes
    files = {v: VideoSource(v, (Path(f"{v}.mp4"),)) for v in tiktok.video_ids}
    found = tiktok.problems(VideoFolder(Path("x"), "video-files", files))
    assert "the frames of 10 videos" in found["renumbered"]
    in_turn["00338"] = set(range(303))
    assert "'00337' has" not in str(tiktok.problems(folder_of(tiktok, in_turn)).get("renumbered"))
    assert list(tiktok.problems(folder_of(tiktok, in_turn))) == ["test-frames"]


@pytest.mark.parametrize("name", list_benchmarks())
def test_every_definition_is_whole(name: str) -> None:
    benchmark = read_benchmark(name)
    assert benchmark.name == name
    for protocol in benchmark.protocols:
        read_protocol(protocol)
    assert len(set(benchmark.video_ids)) == len(benchmark.video_ids)
    for word in (benchmark.title, benchmark.source, benchmark.layout):
        assert word in benchmark.describe()


def test_a_list_that_is_not_public_is_counted() -> None:
    videos = {str(n): VideoSource(str(n), (Path(f"{n}.mp4"),)) for n in range(12)}
    cartoons = read_benchmark("onetoall-cartoon")
    assert cartoons.problems(VideoFolder(Path("x"), "video-files", videos)) == {}
    del videos["3"]
    found = cartoons.problems(VideoFolder(Path("x"), "video-files", videos))
    assert found == {"test-split": "benchmark onetoall-cartoon: 11 of 12 videos"}
    with pytest.raises(PairingError, match="has no true videos"):
        read_benchmark("x-dance").require_folders(Path("x"), Path("y"))
