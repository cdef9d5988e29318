"""Export shards as folders of PNG frames: references for `aa-eval`, and a trivial prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.errors import DatasetError
from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.pose import BODY, Pose
from aa_datasets.shards import ShardSample, read_shards
from aa_datasets.video.canonical import read_canonical


def export_frames(
    shards: Iterable[Path], out: Path, size_hw: tuple[int, int], max_frames: int | None = None
) -> Iterator[str]:
    """Write each clip as `out/<clip_id>/0000.png ...` at this size; yields the clip ids done.

    The frames are exactly those that the loader would give: centre crop and resize.
    """
    for sample in read_shards(shards):
        _write_frames(out / sample.clip.clip_id, _frames(sample, size_hw)[:max_frames])
        yield sample.clip.clip_id


def export_keypoints(
    shards: Iterable[Path], out: Path, size_hw: tuple[int, int], max_frames: int | None = None
) -> Iterator[str]:
    """Write each clip's pose as `out/<clip_id>.npz`, in pixels of the exported frames."""
    out.mkdir(parents=True, exist_ok=True)
    for sample in read_shards(shards):
        pose = resize_pose(sample.pose, size_hw)
        np.savez(
            out / f"{sample.clip.clip_id}.npz",
            keypoints_px=pose.keypoints_px[:max_frames, BODY],
            scores=pose.scores[:max_frames, BODY],
            size_hw=np.array(size_hw, dtype=np.int32),
        )
        yield sample.clip.clip_id


def export_nearest_pose(
    shards: Iterable[Path],
    train_shards: Sequence[Path],
    out: Path,
    size_hw: tuple[int, int],
    max_frames: int | None = None,
) -> Iterator[str]:
    """A trivial prediction: for each frame, the training frame whose body pose lies nearest.

    Nearest is the mean distance over the joints that both have, after centring; it keeps the pose
    and loses the person, as repeating the reference keeps the person and loses the pose.
    """
    bank_frames, bank_poses = [], []
    for sample in read_shards(train_shards):
        step = max(1, sample.clip.num_frames // 8)  # eight frames a clip say what it can say
        bank_frames.append(_frames(sample, size_hw)[::step])
        bank_poses.append(_body(resize_pose(sample.pose, size_hw))[::step])
    if not bank_frames:
        raise DatasetError("no training clips to choose from: give training shards that hold clips")
    frames, poses = np.concatenate(bank_frames), np.concatenate(bank_poses)
    for sample in read_shards(shards):
        wanted = _body(resize_pose(sample.pose, size_hw))[:max_frames]
        chosen = []
        for keypoints in wanted:
            distance = np.linalg.norm(poses - keypoints, axis=2)
            both = np.isfinite(distance)
            mean = np.where(both, distance, 0).sum(1) / np.maximum(both.sum(1), 1)
            chosen.append(int(np.argmin(np.where(both.sum(1) >= 8, mean, np.inf))))
        _write_frames(out / sample.clip.clip_id, frames[chosen])
        yield sample.clip.clip_id


def _body(pose: Pose) -> NDArray[np.float32]:
    return pose.keypoints_px[:, BODY]


def _frames(sample: ShardSample, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    return resize_frames(read_canonical(sample.mp4, num_frames=sample.clip.num_frames), size_hw)


def _write_frames(folder: Path, frames: NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(frames):
        path = folder / f"{t:04d}.png"
        if not cv2.imwrite(str(path), frame[..., ::-1]):
            raise DatasetError(f"{path} could not be written: is the disk full?")
