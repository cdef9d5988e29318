"""The benchmarks' test videos: known under any name, and none trained on."""

from __future__ import annotations

import dataclasses

import pytest

from aa_datasets.benchmarks.split import (
    TEST_SPLITS,
    benchmark_id_of,
    match_test_videos,
    read_test_ids,
    refuse_test_clips,
)
from aa_datasets.clip import Clip
from aa_datasets.errors import SplitError
from aa_eval.videos.benchmark import list_benchmarks, read_benchmark

CLIP = Clip("clip_0", "source_0", "elsewhere", "MIT", 0.0, 1.0, 24.0, (32, 32), 2, True,
            "renderer", "train")  # fmt: skip


def clip(**fields: object) -> Clip:
    return dataclasses.replace(CLIP, **fields)


@pytest.mark.parametrize("name", TEST_SPLITS)
def test_ids_are_those_that_the_harness_scores(name: str) -> None:
    assert name in list_benchmarks()
    assert read_test_ids(name) == read_benchmark(name).video_ids


@pytest.mark.parametrize("name", TEST_SPLITS)
def test_every_test_video_is_known_however_a_corpus_names_it(name: str) -> None:
    test_ids = read_test_ids(name)
    for test_id in test_ids:
        slug = test_id.lower().replace("-", "_")
        for fields in (
            {"source": f"https://m.media-amazon.com/images/I/{test_id}.mp4"},
            {"source": f"/data/{test_id}/0001.png"},
            {"source_id": slug},
            {"clip_id": f"tiktokdance_{slug}_000"},
        ):
            assert benchmark_id_of(clip(**fields), test_ids) == test_id


def test_an_id_within_another_word_is_no_match() -> None:
    ids = read_test_ids("tiktok")
    for text in ("100337", "003371", "a00337", "00337a", "1201_002_1x1"):
        assert benchmark_id_of(clip(source_id=text), ids) is None


def test_leaks_and_other_splits_are_named() -> None:
    good = [clip(clip_id=f"clip_{i}") for i in range(3)]
    assert refuse_test_clips("ubc", good) == 3
    leak = clip(clip_id="a_0", source="91M3UFSKn8S.mp4")
    with pytest.raises(SplitError, match="a_0 is of test video 91M3UFSKn8S"):
        refuse_test_clips("ubc", [*good, leak])
    assert refuse_test_clips("tiktok", [*good, leak]) == 4  # a leak of the other benchmark only
    with pytest.raises(SplitError, match="clip_9 is of split 'test'"):
        refuse_test_clips("ubc", [*good, clip(clip_id="clip_9", split="test")])


def test_absent_and_cut_test_videos_are_named() -> None:
    clips = [clip(clip_id=f"c_{i}", source=f"{x}.mp4") for i, x in enumerate(read_test_ids("ubc"))]
    assert match_test_videos("ubc", clips)["c_0"] == "91M3UFSKn8S"
    with pytest.raises(SplitError, match=r"1 of the 100 test videos of ubc .* 91M3UFSKn8S"):
        match_test_videos("ubc", clips[1:])
    twice = clip(clip_id="c_0b", source=clips[0].source)
    with pytest.raises(SplitError, match=r"91M3UFSKn8S \(c_0, c_0b\)"):
        match_test_videos("ubc", [*clips, twice])
