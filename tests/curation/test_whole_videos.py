"""Benchmark videos from the user's copy to shards, by `aa-datasets fetch` and their recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aa_curation.corpus.near_duplicates import separate
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.measure.distance import NearDuplicates
from aa_curation.recipe import load_recipe
from aa_curation.sources.source_list import read_sources
from aa_datasets.benchmarks.fetch import FetchConfig, fetch_copy
from aa_datasets.benchmarks.lists import ListedVideo
from aa_datasets.benchmarks.split import benchmark_id_of, read_test_ids, refuse_test_clips
from aa_datasets.benchmarks.user_copy import find_copies
from aa_datasets.puppets.render import render_puppet
from aa_datasets.shards import read_shards
from aa_datasets.video.canonical import encode_canonical, read_canonical

ROOT = Path(__file__).parents[2]
FPS = 0.5  # a video longer than the paper's 10 s, of few frames


def _awkward_videos() -> dict[str, np.ndarray]:
    """Of a train and a test id, uint8 [T, 188, 144, 3]: all that other recipes cut or drop.

    6 frames are 12 s. Both show one puppet; there is a hard cut, darkness at the end, black bars
    from the first frame to the last; and the second is the first, a little brighter.
    """
    puppet = render_puppet(0, 1, num_frames=6, size_hw=(188, 144)).frames
    puppet[3:] = 255 - puppet[3:]
    puppet[5:] //= 40
    puppet[:, :20] = puppet[:, -20:] = 0
    brighter = np.clip(puppet.astype(int) * 21 // 20, 0, 255).astype(np.uint8)
    return {"A1TrainVideo": puppet, read_test_ids("ubc")[0]: brighter}


@pytest.mark.weights
def test_ubc_videos_become_shards_whole_and_none_is_dropped(tmp_path: Path) -> None:
    videos = _awkward_videos()
    for folder, (video_id, frames) in zip(("train", "test"), videos.items(), strict=True):
        path = tmp_path / "copy" / folder / f"{video_id}.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_canonical(frames, FPS))
    listed = [
        ListedVideo(video_id, split, f"https://x/{video_id}.mp4")
        for split, video_id in zip(("train", "test"), videos, strict=True)
    ]
    out = tmp_path / "ubc"
    copied = find_copies("ubc", listed, tmp_path / "copy")
    config = FetchConfig("ubc", "CC0-1.0", (64, 48), synthetic=True)
    assert list(fetch_copy(copied, out, config, None)) == list(videos)

    recipe = load_recipe(ROOT / "curation/recipes/whole_videos.py")
    sources = read_sources([out / "sources-train.csv", out / "sources-test.csv"])
    corpus = tmp_path / "corpus"
    ledger = run(recipe, sources, corpus, Local())
    assert ledger.funnel() == {("accepted", ""): 2}
    with_bounds = separate(ledger, NearDuplicates())
    assert [row.reason for row in with_bounds] == ["near_duplicate"]  # another recipe's verdict

    found = {split: list(read_shards([corpus / "shards" / f"{split}-000000.tar"]))
             for split in ("train", "test")}  # fmt: skip
    (train,), (test,) = found["train"], found["test"]
    assert refuse_test_clips("ubc", [train.clip]) == 1
    video_id = read_test_ids("ubc")[0]
    assert benchmark_id_of(test.clip, read_test_ids("ubc")) == video_id
    for sample, frames in zip((train, test), videos.values(), strict=True):
        assert (sample.clip.num_frames, sample.clip.fps) == (len(frames), FPS)
        assert sample.clip.size_hw == frames.shape[1:3]
        assert sample.clip.pose_from == "blazepose-full"
        assert (sample.pose.num_frames, sample.pose.size_hw) == (len(frames), sample.clip.size_hw)
        stored = read_canonical(sample.mp4, num_frames=len(frames)).astype(int)
        # Frame by frame: encoded twice, and none repeated, left out or out of place.
        assert np.abs(stored - frames).mean(axis=(1, 2, 3)).max() < 4
    references = sorted((out / "references" / video_id).glob("*.png"))
    assert len(references) == test.clip.num_frames  # what `aa-eval --benchmark` will pair
