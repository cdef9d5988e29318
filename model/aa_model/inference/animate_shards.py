"""What `aa-animate --shards` makes: one video per clip, read when its turn comes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aa_datasets.atomic_file import replace_file
from aa_datasets.benchmarks.split import match_test_videos
from aa_datasets.clip import Clip
from aa_datasets.loader.frames import resize_frames, resize_pose
from aa_datasets.pose import Pose
from aa_datasets.shards import read_record, read_shards
from aa_datasets.video.canonical import read_canonical
from aa_model.errors import ModelError


@dataclass(frozen=True, slots=True)
class Job:
    """One video to make, of a clip's own first frame and poses.

    Attributes:
        video_id: its name in the predictions folder.
        reference: uint8 [H, W, 3].
        pose: in frames of the size that is made.
        mp4: the clip itself, for the true frames.
    """

    video_id: str
    reference: NDArray[np.uint8]
    pose: Pose
    mp4: bytes
    fps: float

    def true_frames(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """These frames of the clip, uint8 [n, H, W, 3]."""
        height, width = self.reference.shape[:2]
        return resize_frames(read_canonical(self.mp4, indices), (height, width))


def read_clips(shards: Iterable[Path]) -> list[Clip]:
    return [entry.clip for path in shards for entry in read_record(path).clips]


def video_ids(benchmark: str | None, clips: Sequence[Clip]) -> dict[str, str]:
    """clip_id -> its name in the predictions folder: of a benchmark's test videos, or of all."""
    if benchmark is None:
        return {clip.clip_id: clip.clip_id for clip in clips}
    return match_test_videos(benchmark, clips)


def read_jobs(
    shards: Iterable[Path],
    size_hw: tuple[int, int],
    *,
    max_frames: int | None = None,
    names: dict[str, str] | None = None,
) -> Iterator[Job]:
    """Jobs of the clips, in the shards' order.

    Args:
        max_frames: of each video.
        names: clip_id -> video_id, of the clips that are wanted; None takes all under their ids.
    """
    for sample in read_shards(shards):
        clip = sample.clip
        if names is not None and clip.clip_id not in names:
            continue
        count = min(clip.num_frames, max_frames or clip.num_frames)
        first = resize_frames(read_canonical(sample.mp4, np.array([0])), size_hw)[0]
        pose = resize_pose(sample.pose.at_frames(np.arange(count)), size_hw)
        video_id = clip.clip_id if names is None else names[clip.clip_id]
        yield Job(video_id, first, pose, sample.mp4, clip.fps)


def swapped(jobs: Iterable[Job], swap: str | None) -> Iterator[Job]:
    """The jobs with the reference, or the pose, of the next one; the last takes the first's.

    Args:
        swap: "reference", "pose" or None, which leaves them as they are.

    Raises:
        ModelError: there is no job, or none to swap with.
    """
    first = now = None
    for job in jobs:
        if now is None:
            first = now = job
            continue
        yield _mixed(now, job, swap)
        now = job
    if now is None or first is None:
        raise ModelError("the shards hold no clip: there is nothing to animate")
    if swap and now is first:
        raise ModelError("--swap needs two clips or more")
    yield _mixed(now, first, swap)


def _mixed(job: Job, other: Job, swap: str | None) -> Job:
    if swap == "reference":
        return replace(job, reference=other.reference)
    if swap == "pose":
        T = min(job.pose.num_frames, other.pose.num_frames)
        return replace(job, pose=other.pose.at_frames(np.arange(T)))
    return job


def keep_settings(path: Path, settings: Mapping[str, object]) -> None:
    """Write what the videos of a folder are made with, or hold it against what is there.

    A run that goes on with another checkpoint or number of steps would mix two methods in one
    predictions folder, and nobody could tell which video is of which.

    Raises:
        ModelError: the file is there and says otherwise.
    """
    now = json.loads(json.dumps(settings))
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ModelError(f"{path} is not what aa-animate wrote ({error}): delete it") from error
        differ = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        if differ:
            was, wanted = ({key: row.get(key) for key in differ} for row in (before, now))
            raise ModelError(
                f"the videos there were made with {was}, not {wanted} ({path}): give another --out"
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(now, indent=2) + "\n").encode())
