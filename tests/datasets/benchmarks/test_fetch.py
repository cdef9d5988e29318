"""Puppets in the layouts of UBC fashion and TikTok, through shards and references, by command."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from aa_datasets.benchmarks.fetch import FetchConfig, clip_id_of, disco_frames, fetch_copy
from aa_datasets.benchmarks.lists import ListedVideo, listed_videos
from aa_datasets.benchmarks.split import match_test_videos, read_test_ids, refuse_test_clips
from aa_datasets.benchmarks.user_copy import find_copies
from aa_datasets.cli import main
from aa_datasets.errors import SplitError
from aa_datasets.loader.crop_resize import resize_frames
from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import Puppet, render_puppet
from aa_datasets.shards import read_record, read_shards
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_eval.videos.video import read_video

FRAMES = 3


def _puppet(seed: int, size_hw: tuple[int, int]) -> Puppet:
    return render_puppet(seed, seed, num_frames=FRAMES, size_hw=size_hw)


def _write_frames(folder: Path, frames: np.ndarray, name: str = "{:04d}.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, 1):  # the dataset counts from 1
        assert cv2.imwrite(str(folder / name.format(number)), frame[..., ::-1])


@pytest.fixture(scope="module")
def test_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fashion_test.txt as published: the packaged ids give its very bytes, by its sha256."""
    path = tmp_path_factory.mktemp("lists") / "any-name.txt"
    urls = [f"https://m.media-amazon.com/images/I/{i}.mp4\n" for i in read_test_ids("ubc")]
    path.write_text("".join(urls))
    return path


@pytest.fixture(scope="module")
def ubc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 videos in the folder "test", one of two puppets each, and their poses beside."""
    folder = tmp_path_factory.mktemp("ubc")
    (folder / "test").mkdir()
    (folder / "poses").mkdir()
    kinds = [_puppet(seed, (94, 80)) for seed in range(2)]
    contents = [encode_canonical(puppet.frames, 30) for puppet in kinds]
    for number, video_id in enumerate(read_test_ids("ubc")):
        (folder / "test" / f"{video_id}.mp4").write_bytes(contents[number % 2])
        write_pose(folder / "poses" / f"{video_id}.pose.npz", kinds[number % 2].pose)
    return folder


@pytest.fixture
def tiktok(tmp_path: Path) -> Path:
    """The ten test videos in the three layouts, and two training videos."""
    folder = tmp_path / "TikTok_dataset"
    (tmp_path / "poses").mkdir()
    for seed, video_id in enumerate((*read_test_ids("tiktok"), "00001", "00334")):
        puppet = _puppet(seed, (90, 90) if "1x1" in video_id else (108, 60))
        write_pose(tmp_path / "poses" / f"{video_id}.pose.npz", puppet.pose)
        if video_id.startswith("00"):
            _write_frames(folder / video_id / "images", puppet.frames)
            _write_frames(folder / video_id / "masks", 0 * puppet.frames)
        elif video_id.startswith("201"):
            _write_frames(folder / video_id, puppet.frames)
        else:
            _write_frames(folder, puppet.frames, f"TiktokDance_{video_id}_{{:05d}}png.png")
    return folder


def _eval(*words: object) -> str:
    """aa-eval as a stranger runs it: the two packages meet at folders only."""
    done = subprocess.run(
        [sys.executable, "-m", "aa_eval.cli.main", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _fetch(benchmark: str, *words: object) -> int:
    fixed = ["fetch", benchmark, "--licence", "CC0-1.0", "--synthetic"]
    return main([*fixed, *map(str, words)])


@pytest.mark.slow  # 100 videos, each in a child process
def test_ubc_becomes_shards_and_references(ubc: Path, test_list: Path, tmp_path: Path) -> None:
    command = ("ubc", "--split", "test", "--list", test_list, "--copy", ubc / "test", "--poses",
               ubc / "poses", "--pose-from", "renderer", "--size-hw", 64, 48, "--out",
               tmp_path)  # fmt: skip
    assert _fetch(*command) == 0
    shards = sorted((tmp_path / "shards").glob("test-*.tar"))
    samples = list(read_shards(shards))
    names = match_test_videos("ubc", [sample.clip for sample in samples])
    assert set(names.values()) == set(read_test_ids("ubc"))
    with pytest.raises(SplitError, match="of test video"):
        refuse_test_clips("ubc", [sample.clip for sample in samples])
    for sample in samples[::20]:
        video_id = names[sample.clip.clip_id]
        original = read_canonical(ubc / "test" / f"{video_id}.mp4")
        reference = read_video(tmp_path / "references" / video_id).frames
        np.testing.assert_array_equal(reference, resize_frames(original, (64, 48)))
        stored = read_canonical(sample.mp4, num_frames=FRAMES)
        assert np.abs(stored.astype(int) - original).mean() < 3  # encoded once more
        assert (sample.clip.fps, sample.clip.pose_from) == (30.0, "renderer")
        assert sample.clip.source == f"https://m.media-amazon.com/images/I/{video_id}.mp4"
    references = tmp_path / "references"
    said = _eval("check", references, "--benchmark", "ubc", "--references", references,
                 "--allow", "same-files")  # fmt: skip
    assert "100 pairs, 300 frames: fit to be scored" in said

    # Killed: a shard and a reference are gone. The same command makes them again, and only them.
    contents = [path.read_bytes() for path in shards]
    kept = shards[0].stat().st_mtime_ns
    shards[6].with_suffix(".json").unlink()
    shutil.rmtree(references / read_test_ids("ubc")[-1])
    assert _fetch(*command) == 0
    assert [path.read_bytes() for path in shards] == contents
    assert shards[0].stat().st_mtime_ns == kept
    assert len(list(references.iterdir())) == 100


def test_a_few_of_ubc_in_little_time(ubc: Path, tmp_path: Path) -> None:
    """What the test above does by command, without the command's demand for a whole split."""
    listed = [ListedVideo(i, "test", f"https://x/{i}.mp4") for i in ("91M3UFSKn8S", "A1+O5s8cUuS")]
    config = FetchConfig("ubc", "CC0-1.0", (64, 48), pose_from="renderer", synthetic=True)
    copied = find_copies("ubc", listed, ubc / "test")
    assert list(fetch_copy(copied, tmp_path, config, ubc / "poses")) == [v.video_id for v in listed]
    samples = list(read_shards([tmp_path / "shards" / "test-000000.tar"]))
    assert [s.clip.clip_id for s in samples] == ["ubc-91m3ufskn8s", "ubc-a1-o5s8cuus"]
    for sample, video in zip(samples, listed, strict=True):
        original = read_canonical(ubc / "test" / f"{video.video_id}.mp4")
        reference = read_video(tmp_path / "references" / video.video_id).frames
        np.testing.assert_array_equal(reference, resize_frames(original, (64, 48)))
        assert np.abs(read_canonical(sample.mp4).astype(int) - original).mean() < 3


def test_tiktok_in_its_three_layouts_becomes_shards_and_references(
    tiktok: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("--copy", tiktok, "--poses", tmp_path / "poses", "--pose-from", "renderer", "--out",
             out, "--size-hw", 32, 32)  # fmt: skip
    assert _fetch("tiktok", "--allow-missing", *words, "--dry-run") == 0
    assert re.search(r"\d+ of \d+ videos of tiktok would be put in", capsys.readouterr().out)
    assert not out.exists()
    assert _fetch("tiktok", "--allow-missing", *words) == 0
    tests = list(read_shards(sorted((out / "shards").glob("test-*.tar"))))
    names = match_test_videos("tiktok", [sample.clip for sample in tests])
    trains = list(read_shards(sorted((out / "shards").glob("train-*.tar"))))
    assert refuse_test_clips("tiktok", [sample.clip for sample in trains]) == 2
    assert [sample.clip.clip_id for sample in trains] == ["tiktok-00001", "tiktok-00334"]
    for seed, video_id in enumerate(read_test_ids("tiktok")):
        puppet = _puppet(seed, (90, 90) if "1x1" in video_id else (108, 60))
        (sample,) = [s for s in tests if names[s.clip.clip_id] == video_id]
        np.testing.assert_array_equal(sample.pose.keypoints_px, puppet.pose.keypoints_px)
        reference = read_video(out / "references" / video_id).frames
        np.testing.assert_array_equal(reference, disco_frames(puppet.frames, (32, 32)))
    said = _eval("check", out / "references", "--benchmark", "tiktok", "--references",
                 out / "references", "--allow", "same-files", "--allow",
                 "test-frames")  # fmt: skip
    assert "10 pairs, 30 frames: fit to be scored" in said


def test_references_of_tiktok_are_discos_own_transform() -> None:
    transform = transforms.RandomResizedCrop(
        (32, 32), scale=(1, 1), ratio=(1, 1), interpolation=transforms.InterpolationMode.BILINEAR
    )
    for size_hw in ((108, 60), (107, 60), (90, 90), (48, 48)):
        frames = _puppet(5, size_hw).frames
        theirs = [np.asarray(transform(Image.fromarray(frame))) for frame in frames]
        np.testing.assert_array_equal(disco_frames(frames, (32, 32)), np.stack(theirs))


def test_without_poses_sources_lists_go_to_curation(
    tiktok: Path, ubc: Path, test_list: Path, tmp_path: Path
) -> None:
    assert _fetch("tiktok", "--allow-missing", "--copy", tiktok, "--out", tmp_path / "t") == 0
    assert _fetch("ubc", "--split", "test", "--list", test_list, "--out", tmp_path / "u") == 0
    found = {}
    for out, splits in ((tmp_path / "t", ("train", "test")), (tmp_path / "u", ("test",))):
        for split in splits:
            with (out / f"sources-{split}.csv").open() as file:
                rows = list(csv.DictReader(file))
            assert {row["split"] for row in rows} == {split}
            assert {row["licence"] for row in rows} == {"CC0-1.0"}
            found[out.name, split] = rows
    assert {key: len(rows) for key, rows in found.items()} == {
        ("t", "train"): 2, ("t", "test"): 10, ("u", "test"): 100
    }  # fmt: skip
    assert found["u", "test"][0]["location"].startswith("https://m.media-amazon.com/images/I/91M3")
    for row in found["t", "test"]:
        assert len(read_canonical(tmp_path / "t" / row["location"])) == FRAMES
    references = sorted((tmp_path / "t" / "references").iterdir())
    assert len(references) == 10
    shutil.rmtree(references[3])  # the video stays: the references are made again
    assert _fetch("tiktok", "--allow-missing", "--copy", tiktok, "--out", tmp_path / "t") == 0
    assert sorted((tmp_path / "t" / "references").iterdir()) == references


def test_ids_in_shards_are_unique_and_fit_webdataset() -> None:
    ids = [clip_id_of("ubc", ListedVideo(i, "test", "")) for i in read_test_ids("ubc")]
    assert len(set(ids)) == 100
    assert not set("".join(ids)) - set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_what_is_absent_or_altered_is_named_with_its_remedy(
    ubc: Path, tiktok: Path, test_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(benchmark: str, *words: object) -> str:
        assert _fetch(benchmark, *words, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("aa-datasets: error: ")
        return error

    only = ("--split", "test")
    assert "fashion_train.txt (sha256 e20cd" not in (error := refused("ubc", "--list", test_list))
    assert "fashion_train.txt (sha256 e20c40dd" in error
    assert "vision.cs.ubc.ca/datasets/fashion, and give it with --list" in error
    altered = tmp_path / "fashion_test.txt"
    altered.write_bytes(test_list.read_bytes()[:-1])
    error = refused("ubc", *only, "--list", altered)
    assert "is not one of the published lists of ubc, or was altered" in error
    assert "e9cd631922db7a9ed312c3a8891b37d7ae335308768c0e835e7fd5835f702e1a" in error
    assert "cannot read the list" in refused("ubc", *only, "--list", tmp_path / "gone.txt")
    assert "tiktok takes no --list" in refused("tiktok", "--list", test_list)
    assert "published without URLs: give your --copy" in refused("tiktok")
    assert "go together" in refused("tiktok", "--copy", tiktok, "--poses", tmp_path)

    empty = tmp_path / "empty"
    assert "no folder" in refused("ubc", *only, "--list", test_list, "--copy", empty)
    empty.mkdir()
    error = refused("ubc", *only, "--list", test_list, "--copy", empty, "--allow-missing")
    assert "100 of the 100 test videos of ubc are not in" in error  # a test split is whole
    assert "put them there as <id>.mp4" in error
    error = refused("tiktok", "--copy", tiktok)
    assert "332 of the 334 train videos" in error
    assert "leave them out with --allow-missing" in error

    shutil.copy(ubc / "test" / "91M3UFSKn8S.mp4", ubc)
    assert "are one video: keep one" in refused("ubc", *only, "--list", test_list, "--copy", ubc)
    (ubc / "91M3UFSKn8S.mp4").unlink()
    (tiktok / "201_002_1x1" / "0002.png").unlink()
    assert "frame 2 of 201_002_1x1 is missing between 1 and 3" in refused(
        "tiktok", *only, "--copy", tiktok
    )
    assert not (tmp_path / "out").exists()


def test_poses_that_do_not_fit_their_video_are_refused(
    tiktok: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses, out = tmp_path / "poses", tmp_path / "out"
    words = (
        "--split",
        "test",
        "--copy",
        tiktok,
        "--poses",
        poses,
        "--pose-from",
        "x",
        "--out",
        out,
    )
    good = (poses / "00337.pose.npz").read_bytes()
    for puppet, message in (
        (
            _puppet(0, (60, 108)),
            "is for frames of (60, 108) (height, width), the video has (108, 6",
        ),
        (render_puppet(0, 0, num_frames=4, size_hw=(108, 60)), "has 4 frames, the video 3"),
        (None, "1 of 10 poses are not in"),
    ):
        (poses / "00337.pose.npz").unlink()
        if puppet is not None:
            write_pose(poses / "00337.pose.npz", puppet.pose)
        assert _fetch("tiktok", *words) == 2
        assert message in capsys.readouterr().err
    (poses / "00337.pose.npz").write_bytes(good)
    assert _fetch("tiktok", *words) == 0
    assert _fetch("tiktok", *words, "--size-hw", 8, 8) == 2
    assert "was started with other options" in capsys.readouterr().err
    assert len(read_record(out / "shards" / "test-000000.tar").clips) == 10


def test_training_folders_are_discos_range() -> None:
    ids = [video.video_id for video in listed_videos("tiktok", ["train"], [])]
    assert (ids[0], ids[-1], len(ids)) == ("00001", "00334", 334)
    assert not set(ids) & set(read_test_ids("tiktok"))


def test_a_frame_given_twice_is_named(tiktok: Path) -> None:
    shutil.copy(tiktok / "00337" / "images" / "0001.png", tiktok / "00337" / "images" / "001.jpg")
    with pytest.raises(SplitError, match="are one frame: keep one"):
        find_copies("tiktok", [ListedVideo("00337", "test", "")], tiktok)
