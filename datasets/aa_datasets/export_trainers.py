"""Export shards as training sets of other trainers: videos, pose videos, face crops, captions.

Forms, as the trainers read them in 2026: DiffSynth-Studio's `metadata.csv` for Wan2.2-Animate,
musubi-tuner's JSONL with control videos, and VideoX-Fun's JSON of its control training.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.atomic_file import replace_file
from aa_datasets.errors import DatasetError
from aa_datasets.pose import BODY_JOINTS, FACE, JOINT_SEEN_SCORE, Pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.shards import Paths, ShardSample, read_shards
from aa_datasets.video.canonical import encode_canonical, read_canonical

Trainer: TypeAlias = Literal["diffsynth", "musubi", "videox-fun"]

_FACE_PX = 512  # what Wan-Animate's face encoder takes
_HEAD = [BODY_JOINTS.index(name) for name in ("left_eye", "right_eye", "left_ear", "right_ear")]
# Side of the crop over the extent of the points: the face's 68 points, or eyes and ears.
_AROUND_FACE, _AROUND_HEAD = 1.5, 2.0


@dataclass(frozen=True, slots=True)
class TrainerFiles:
    """The files of one exported clip; `face` is None where the trainer takes none."""

    video: Path
    pose: Path
    reference: Path
    face: Path | None
    caption: str


def export_for_trainer(
    shards: Paths,
    out: Path | str,
    trainer: Trainer,
    *,
    split: str = "train",
    caption: str = "",
    captions: Path | str | None = None,
) -> Iterator[str]:
    """Write a training set for another trainer; yields the clip ids done.

    Writes `videos/ID.mp4` as stored, `poses/ID.mp4` (skeletons in OpenPose's style, the same size,
    rate and number of frames), `references/ID.png` (the first frame), for DiffSynth `faces/ID.mp4`
    (512 x 512; black where no face is seen), and last the list of them:

    - diffsynth: `metadata.csv` with video, prompt, animate_pose_video and animate_face_video,
      relative to the folder (`--dataset_base_path`);
    - musubi: `metadata.jsonl` with video_path, control_path and caption; absolute paths;
    - videox-fun: `metadata.json` with file_path, control_file_path, text, type, relative to the
      folder (`--train_data_dir`), and object_file_path (absolute).

    Args:
        shards: as of `find_shards`.
        out: the folder.
        trainer: whose form.
        split: only clips of this one, so that no held-out clip is trained on.
        caption: of every clip without one of its own.
        captions: folder of ID.txt.

    Raises:
        DatasetError: `captions` is not a folder, the trainer is not known, or no clip is of the
            split.
    """
    out = Path(out)
    captions = None if captions is None else Path(captions)
    if trainer not in get_args(Trainer):
        known = ", ".join(get_args(Trainer))
        raise DatasetError(f"no export to {trainer!r}: choose one of {known}")
    if captions is not None and not captions.is_dir():
        raise DatasetError(f"no folder {captions}: give the one that holds ID.txt for each clip")
    for folder in ("videos", "poses", "references", *(["faces"] if trainer == "diffsynth" else [])):
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for sample in read_shards(shards):
        if sample.clip.split == split:
            rows.append(_write_clip(sample, out, trainer == "diffsynth", caption, captions))
            yield sample.clip.clip_id
    if not rows:
        raise DatasetError(f"no clip is of split {split!r}: `aa-datasets stats` lists the splits")
    name, text = _METADATA[trainer](rows, out)
    replace_file(out / name, text.encode())


def _write_clip(
    sample: ShardSample, out: Path, with_face: bool, caption: str, captions: Path | None
) -> TrainerFiles:
    clip_id, fps = sample.clip.clip_id, sample.clip.fps
    frames = read_canonical(sample.mp4, num_frames=sample.clip.num_frames)
    own = captions / f"{clip_id}.txt" if captions is not None else None
    files = TrainerFiles(
        video=out / "videos" / f"{clip_id}.mp4",
        pose=out / "poses" / f"{clip_id}.mp4",
        reference=out / "references" / f"{clip_id}.png",
        face=out / "faces" / f"{clip_id}.mp4" if with_face else None,
        caption=own.read_text(encoding="utf-8").strip() if own and own.is_file() else caption,
    )
    replace_file(files.video, sample.mp4)
    replace_file(files.pose, encode_canonical(draw_pose(sample.pose), fps))
    replace_file(files.reference, cv2.imencode(".png", frames[0][..., ::-1])[1].tobytes())
    if files.face is not None:
        replace_file(files.face, encode_canonical(crop_faces(frames, sample.pose), fps))
    return files


def crop_faces(frames: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
    """Crop the face out of every frame: uint8 [T, H, W, 3] -> uint8 [T, 512, 512, 3].

    The square follows the 68 face points, or eyes and ears where those are not seen; black where
    fewer than two of either are seen.
    """
    faces = np.zeros((len(frames), _FACE_PX, _FACE_PX, 3), np.uint8)
    seen = pose.scores >= JOINT_SEEN_SCORE
    for t, frame in enumerate(frames):
        for joints, around in ((np.r_[FACE], _AROUND_FACE), (np.array(_HEAD), _AROUND_HEAD)):
            points = pose.keypoints_px[t, joints[seen[t, joints]]]
            if len(points) < 2:
                continue
            x, y = (points.min(0) + points.max(0)) / 2
            scale = _FACE_PX / max(around * float(np.ptp(points, axis=0).max()), 2.0)
            # Maps the crop's centre to the face's; what lies outside of the frame stays black.
            middle = (_FACE_PX - 1) / 2
            move = np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y]])
            faces[t] = cv2.warpAffine(frame, move, (_FACE_PX, _FACE_PX), flags=cv2.INTER_LINEAR)
            break
    return faces


def _diffsynth(rows: list[TrainerFiles], out: Path) -> tuple[str, str]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("video", "prompt", "animate_pose_video", "animate_face_video"))
    for row in rows:
        assert row.face is not None
        video, pose, face = (str(path.relative_to(out)) for path in (row.video, row.pose, row.face))
        writer.writerow((video, row.caption, pose, face))
    return "metadata.csv", text.getvalue()


def _musubi(rows: list[TrainerFiles], out: Path) -> tuple[str, str]:
    lines = (
        {
            "video_path": str(row.video.resolve()),
            "control_path": str(row.pose.resolve()),
            "caption": row.caption,
        }
        for row in rows
    )
    return "metadata.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _videox_fun(rows: list[TrainerFiles], out: Path) -> tuple[str, str]:
    entries = [
        {
            "file_path": str(row.video.relative_to(out)),
            "control_file_path": str(row.pose.relative_to(out)),
            "object_file_path": [str(row.reference.resolve())],
            "text": row.caption,
            "type": "video",
        }
        for row in rows
    ]
    return "metadata.json", json.dumps(entries, indent=1, ensure_ascii=False)


_METADATA = {"diffsynth": _diffsynth, "musubi": _musubi, "videox-fun": _videox_fun}
