"""Shards: the same numbers as the same files in a folder, and every malformed shard by name."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import webdataset

from aa_eval.errors import VideoError
from aa_eval.protocol import read_protocol
from aa_eval.result import Result
from aa_eval.scoring import video_scores as scoring
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import make_pairs
from aa_eval.videos.source import iter_frames, iter_frames_backwards, probe


def mp4(seed: int, count: int = 6) -> bytes:
    draw = np.random.default_rng(seed)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 48
        for _ in range(count):
            frame = draw.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """gt and gen, each as a folder of mp4 and as two shards that WebDataset wrote."""
    for side, offset in (("gt", 0), ("gen", 10)):
        videos = {video: mp4(seed + offset, 5 + seed) for seed, video in enumerate("abc")}
        (tmp_path / side).mkdir()
        for video, content in videos.items():
            (tmp_path / side / f"{video}.mp4").write_bytes(content)
        (tmp_path / f"{side}-shards").mkdir()
        for shard, keys in (("000.tar", "ca"), ("001.tar", "b")):
            with webdataset.TarWriter(str(tmp_path / f"{side}-shards" / shard)) as writer:
                for key in keys:
                    sample = {"meta.json": {"fps": 25}, "mp4": videos[key], "pose.npz": b"PK"}
                    writer.write({"__key__": key, **sample})
    return tmp_path


def score(folder: Path, gen: str, gt: str, cache: Cache | None = None) -> list[Result]:
    protocol = read_protocol("tiktok-disco-2023")
    metrics = tuple(m for m in protocol.metrics if m.net is None and m.kind != "fvd")
    protocol = replace(protocol, metrics=metrics, video_features=None)
    pairs, _ = make_pairs(find_videos(folder / gen), find_videos(folder / gt))
    return score_pairs(pairs, [protocol], method="m", baselines=["reversed"], cache=cache)


def test_shards_score_as_the_same_files_in_a_folder(both: Path) -> None:
    plain = score(both, "gen", "gt")
    for gen, gt in (("gen-shards", "gt"), ("gen-shards", "gt-shards"), ("gen", "gt-shards")):
        for ours, theirs in zip(score(both, gen, gt), plain, strict=True):
            assert replace(ours, created="") == replace(theirs, created="")
    assert find_videos(both / "gt-shards").describe().endswith("3 videos (webdataset-shards)")


def test_the_cache_knows_the_content_wherever_it_lies(
    both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(both / "cache")
    for video in "abc":
        loose, packed = (find_videos(both / folder).videos[video] for folder in ("gt", "gt-shards"))
        assert cache.digest(loose) == cache.digest(packed)
        for reader in (iter_frames, iter_frames_backwards):
            np.testing.assert_array_equal(list(reader(loose)), list(reader(packed)))
        assert probe(loose.first(2)) == probe(packed.first(2))
        assert len(list(iter_frames(packed.first(2)))) == 2
    score(both, "gen", "gt", cache)
    monkeypatch.setattr(scoring, "iter_frames", None)  # nothing is decoded again
    score(both, "gen-shards", "gt-shards", cache)


def test_one_shard_two_layouts_and_the_override(both: Path) -> None:
    assert list(find_videos(both / "gt-shards" / "000.tar").videos) == ["c", "a"]
    pack(both / "gt" / "more.tar", {"./preds/d.mp4": mp4(3), "./preds/._d.mp4": b"Mac"})
    with pytest.raises(VideoError, match=r"3 as video-files, 1 as webdataset-shards.*--layout"):
        find_videos(both / "gt")
    assert list(find_videos(both / "gt", "webdataset-shards").videos) == ["d"]
    assert list(find_videos(both / "gt", "video-files").videos) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../a.mp4": b"x"}, r"0\.tar:\.\./a\.mp4: the name leads out of the shard"),
        ({"/etc/a.mp4": b"x"}, r"0\.tar:/etc/a\.mp4: the name leads out"),
        ({"x\\..\\a.mp4": b"x"}, r"a\.mp4: the name leads out"),
        ({"x/a.mp4": b"x", "y/a.mp4": b"x"}, r"called 'a' \(x/a\.mp4 and y/a\.mp4\)"),
        ({"a.mp4": b"x", "a.GIF": b"x"}, r"called 'a' \(a\.mp4 and a\.GIF\)"),
        ({"a.v2.mp4": b"x"}, r"reads it as field 'v2\.mp4' of 'a', which has no field mp4"),
        ({"a.mp4": b""}, r"a\.mp4: empty file"),
        ({"a.json": b"{}"}, r"0\.tar: no shard holds a video"),
    ],
)
def test_malformed_members_are_refused_by_name(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    pack(tmp_path / "s" / "0.tar", members)
    with pytest.raises(VideoError, match=message):
        find_videos(tmp_path / "s")


def test_two_shards_with_one_video_are_refused(tmp_path: Path) -> None:
    for shard in ("0.tar", "1.tar"):
        pack(tmp_path / "s" / shard, {"a.mp4": b"x"})
    with pytest.raises(VideoError, match=r"called 'a' \(0\.tar:a\.mp4 and 1\.tar:a\.mp4\)"):
        find_videos(tmp_path / "s")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        info = tarfile.TarInfo("a.mp4")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(VideoError, match=r"0\.tar:a\.mp4: is a link or no plain file"):
        find_videos(tmp_path)


def test_a_shard_cut_off_or_damaged_anywhere_is_refused(tmp_path: Path) -> None:
    whole = pack(tmp_path / "w" / "0.tar", {"a.mp4": mp4(0), "b.mp4": mp4(1)}).read_bytes()
    with tarfile.open(tmp_path / "w" / "0.tar") as tar:
        second = tar.getmember("b.mp4")
    end = -(-(second.offset_data + second.size) // 512) * 512
    cut = tmp_path / "cut" / "0.tar"
    cut.parent.mkdir()
    # in a header, in a video, at the border of two members (tarfile alone is silent), at the end
    for length in (0, 100, 5000, second.offset, second.offset + 200, end - 700, end):
        cut.write_bytes(whole[:length])
        with pytest.raises(VideoError, match=r"cut/0\.tar"):
            find_videos(cut.parent)
    cut.write_bytes(whole[: second.offset] + b"\x17" * 512 + whole[second.offset + 512 :])
    with pytest.raises(VideoError, match=r"damaged or cut off at byte .* behind 1 files"):
        find_videos(cut.parent)
    cut.write_bytes(b"PK\x03\x04 a zip" * 200)
    with pytest.raises(VideoError, match=r"0\.tar: not a tar"):
        find_videos(cut.parent)
    cut.rename(cut.with_suffix(".tar.gz"))
    with pytest.raises(VideoError, match=r"0\.tar\.gz: compressed.*unpack"):
        find_videos(cut.parent)


def test_a_damaged_video_in_a_shard_is_named(tmp_path: Path) -> None:
    video = mp4(0, 20)
    pack(tmp_path / "s" / "0.tar", {"a.mp4": video[: len(video) // 2]})
    with pytest.raises(VideoError, match=r"0\.tar:a\.mp4: .*(truncated|cut off|corrupt)"):
        probe(find_videos(tmp_path / "s").videos["a"])


def test_the_room_imports_no_webdataset() -> None:
    code = "import sys, aa_eval.cli.main; sys.exit('webdataset' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
