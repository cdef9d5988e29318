"""A user's copy of a benchmark to what training and `aa-eval --benchmark` read.

The test videos become `references/<id>/0000.png ...`, as they are scored; with poses at hand both
splits become shards, of whole videos, frame for frame. Without poses the videos go to `aa-curate`,
which finds them, by a source list for each split.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aa_datasets.atomic_file import replace_file
from aa_datasets.benchmarks.lists import SPLITS, ListedVideo
from aa_datasets.benchmarks.user_copy import CopiedVideo
from aa_datasets.clip import Clip
from aa_datasets.errors import DatasetError, PoseError, ShardError, SplitError
from aa_datasets.loader.crop_resize import crop_box, resize_frames
from aa_datasets.pose import Pose, read_pose
from aa_datasets.shards import ShardSample, read_record, write_shard
from aa_datasets.video.canonical import encode_canonical

CLIPS_PER_SHARD = 16  # what a killed run does again at most
_COLUMNS = ("source_id", "location", "licence", "synthetic", "split")


@dataclass(frozen=True, slots=True)
class FetchConfig:
    """What is stored with a benchmark's videos.

    Attributes:
        benchmark: "ubc" or "tiktok".
        licence: of the videos, in the words of their owner.
        size_hw: of the references.
        pose_from: which estimator made the poses; "" when there are none.
        synthetic: rendered characters in the benchmark's layout, for tests.
    """

    benchmark: str
    licence: str
    size_hw: tuple[int, int]
    pose_from: str = ""
    synthetic: bool = False


def fetch_copy(
    videos: Sequence[CopiedVideo], out: Path, config: FetchConfig, poses: Path | None
) -> Iterator[str]:
    """Write references, and shards or source lists; yields the ids done. Resumes after a kill.

    Args:
        videos: of the copy.
        out: gets `references/`, and `shards/<split>-<number>.tar` or `sources-<split>.csv` (with
            `videos/` for a benchmark of pictures).
        config: is written to `out/fetch.json`.
        poses: folder of `<id>.pose.npz` as `write_pose` writes, one for each video, in pixels of
            its frames; None writes source lists.

    Raises:
        SplitError: `out` was started with another config.
        PoseError: a pose is missing, or of another length or size than its video.
        VideoError: a video cannot be read.
    """
    ids = [clip_id_of(config.benchmark, v.listed) for v in videos]
    if poses is not None:
        absent = [v.listed.video_id for v in videos if not _pose_path(poses, v).is_file()]
        if absent:
            raise PoseError(
                f"{len(absent)} of {len(videos)} poses are not in {poses}: "
                f"{_pose_path(poses, videos[0]).parent}/{absent[0]}.pose.npz; or leave --poses out "
                "and let `aa-curate run` find them"
            )
    out.mkdir(parents=True, exist_ok=True)
    _begin(out, config)
    if poses is None:
        for video in videos:
            _keep_video(video, out, config)
            yield video.listed.video_id
        _write_sources(out, [(v.listed, _location(v, out)) for v in videos], config)
        return
    (out / "shards").mkdir(exist_ok=True)
    by_split = {s: [p for p in zip(videos, ids, strict=True) if p[0].listed.split == s]
                for s in SPLITS}  # fmt: skip
    for split, pairs in by_split.items():
        for number in range(0, len(pairs), CLIPS_PER_SHARD):
            some = pairs[number : number + CLIPS_PER_SHARD]
            path = out / "shards" / f"{split}-{number // CLIPS_PER_SHARD:06d}.tar"
            if _is_done(path, some, out):
                yield from (video.listed.video_id for video, _ in some)
                continue
            samples = []
            for video, clip_id in some:
                samples.append(_sample(video, clip_id, out, config, poses))
                yield video.listed.video_id
            write_shard(path, samples)


def write_url_sources(listed: Sequence[ListedVideo], out: Path, config: FetchConfig) -> None:
    """Source lists of the published URLs, for a crawl by `aa-curate run`."""
    if not all(v.source.startswith("https://") for v in listed):
        raise SplitError(f"{config.benchmark} is published without URLs: give your --copy")
    out.mkdir(parents=True, exist_ok=True)
    _begin(out, config)
    _write_sources(out, [(v, v.source) for v in listed], config)


def clip_id_of(benchmark: str, listed: ListedVideo) -> str:
    """The id in shards: `ubc-a1-o5s8cuus` for A1+O5s8cUuS (a WebDataset key has no "+")."""
    return f"{benchmark}-{re.sub(r'[^0-9a-z_-]', '-', listed.video_id.lower())}"


def disco_frames(frames: NDArray[np.uint8], to_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """DisCo's ground truth: centre crop to the shape of `to_hw`, then PIL's bilinear filter.

    uint8 [T, H, W, 3] -> uint8 [T, *to_hw, 3]. PIL's bilinear filter widens as it shrinks.
    """
    top, left, height, width = crop_box((frames.shape[1], frames.shape[2]), to_hw)
    cropped = frames[:, top : top + height, left : left + width]
    how = Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(f).resize(to_hw[::-1], how)) for f in cropped])


_REFERENCE_RESIZES = {"ubc": resize_frames, "tiktok": disco_frames}


def _begin(out: Path, config: FetchConfig) -> None:
    path, text = out / "fetch.json", json.dumps(asdict(config), indent=1)
    if path.exists() and path.read_text() != text:
        raise SplitError(
            f"{out} was started with other options ({path}): give the same, or another --out"
        )
    path.write_text(text)


def _is_done(path: Path, videos: Sequence[tuple[CopiedVideo, str]], out: Path) -> bool:
    """Whether this shard has these clips and a record, and its test videos have references."""
    try:
        found = [entry.clip.clip_id for entry in read_record(path).clips]
    except ShardError:
        return False
    tests = [video.listed.video_id for video, _ in videos if video.listed.split == "test"]
    return found == sorted(clip_id for _, clip_id in videos) and all(
        (out / "references" / video_id).is_dir() for video_id in tests
    )


def _sample(
    video: CopiedVideo, clip_id: str, out: Path, config: FetchConfig, poses: Path
) -> ShardSample:
    listed, fps = video.listed, video.read_fps()
    pose = read_pose(_pose_path(poses, video))
    frames = _even(_with_references(video, out, config))
    mp4 = encode_canonical(_as_posed(frames, pose, listed), fps)
    height, width = (side - side % 2 for side in pose.size_hw)
    clip = Clip(
        clip_id=clip_id,
        source_id=clip_id,
        source=listed.source,
        licence=config.licence,
        start_s=0.0,
        end_s=pose.num_frames / fps,
        fps=fps,
        size_hw=(height, width),
        num_frames=pose.num_frames,
        synthetic=config.synthetic,
        pose_from=config.pose_from,
        split=listed.split,
    )
    return ShardSample(clip, mp4, Pose(pose.keypoints_px, pose.scores, clip.size_hw))


def _pose_path(poses: Path, video: CopiedVideo) -> Path:
    return poses / f"{video.listed.video_id}.pose.npz"


def _as_posed(
    frames: Iterator[NDArray[np.uint8]], pose: Pose, listed: ListedVideo
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames; compare them with the pose's length and size."""
    count = 0
    height, width = (side - side % 2 for side in pose.size_hw)
    for frame in frames:
        count += 1
        if frame.shape[:2] != (height, width):
            raise PoseError(
                f"the pose of {listed.video_id} is for frames of {pose.size_hw} (height, width), "
                f"the video has {frame.shape[:2]}: find it in the video's own frames"
            )
        yield frame
    if count != pose.num_frames:
        raise PoseError(
            f"the pose of {listed.video_id} has {pose.num_frames} frames, the video {count}: "
            "find it in all of them, none thinned out"
        )


def _with_references(
    video: CopiedVideo, out: Path, config: FetchConfig
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames; write those of a test video as references on the way."""
    folder = out / "references" / video.listed.video_id
    if video.listed.split != "test" or folder.is_dir():
        yield from video.iter_frames()
        return
    resize = _REFERENCE_RESIZES[config.benchmark]
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for number, frame in enumerate(video.iter_frames()):
        path = temporary / f"{number:04d}.png"
        if not cv2.imwrite(str(path), resize(frame[None], config.size_hw)[0][..., ::-1]):
            raise DatasetError(f"{path} could not be written: is the disk full?")
        yield frame
    temporary.rename(folder)  # last: the folder says that the video is whole


def _even(frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Cut an odd last row or column, which yuv420p cannot hold."""
    for frame in frames:
        height, width = frame.shape[:2]
        yield frame[: height - height % 2, : width - width % 2]


def _keep_video(video: CopiedVideo, out: Path, config: FetchConfig) -> None:
    """References of a test video; pictures become a video that `aa-curate` can read."""
    frames = _with_references(video, out, config)
    path = _video_path(video, out)
    if path.is_file():
        references = out / "references" / video.listed.video_id
        if video.listed.split == "test" and not references.is_dir():
            for _ in frames:
                pass
        return
    path.parent.mkdir(exist_ok=True)
    replace_file(path, encode_canonical(_even(frames), video.read_fps()))


def _video_path(video: CopiedVideo, out: Path) -> Path:
    return video.files[0] if video.is_file else out / "videos" / f"{video.listed.video_id}.mp4"


def _location(video: CopiedVideo, out: Path) -> str:
    """Absolute path of a user's own file; path from the list of what we wrote."""
    path = _video_path(video, out)
    return str(path.resolve() if video.is_file else path.relative_to(out))


def _write_sources(out: Path, rows: Sequence[tuple[ListedVideo, str]], config: FetchConfig) -> None:
    for split in dict.fromkeys(listed.split for listed, _ in rows):
        with (out / f"sources-{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for listed, location in rows:
                if listed.split == split:
                    source_id = clip_id_of(config.benchmark, listed)
                    synthetic = str(config.synthetic).lower()
                    writer.writerow((source_id, location, config.licence, synthetic, split))
