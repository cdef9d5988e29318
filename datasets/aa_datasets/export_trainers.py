"""Export shards as training sets of other trainers: videos, pose videos, face crops, captions.

Forms, as the trainers read them in 2026: DiffSynth-Studio's `metadata.csv` for Wan2.2-Animate,
musubi-tuner's JSONL with control videos, VideoX-Fun's JSON of its control training,
UniAnimate-DiT's pickles of JPEGs, and WebDataset shards with Megatron-Energon's index.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from aa_datasets.atomic_file import replace_file
from aa_datasets.errors import DatasetError
from aa_datasets.export_energon import write_energon
from aa_datasets.pose import BODY_JOINTS, FACE, JOINT_SEEN_SCORE, Pose, write_pose
from aa_datasets.pose_drawing import draw_pose
from aa_datasets.shards import Paths, ShardSample, read_shards
from aa_datasets.video.canonical import encode_canonical, read_canonical

Trainer: TypeAlias = Literal[
    "diffsynth", "musubi", "unianimate-dit", "videox-fun", "webdataset-energon"
]

_FACE_PX = 512  # what Wan-Animate's face encoder takes
_HEAD = [BODY_JOINTS.index(name) for name in ("left_eye", "right_eye", "left_ear", "right_ear")]
# Side of the crop over the extent of the points: the face's 68 points, or eyes and ears.
_AROUND_FACE, _AROUND_HEAD = 1.5, 2.0


@dataclass(frozen=True)
class TrainingClip:
    """One clip in the forms that trainers take."""

    sample: ShardSample
    caption: str

    @cached_property
    def frames(self) -> NDArray[np.uint8]:
        """RGB [T, H, W, 3]."""
        return read_canonical(self.sample.mp4, num_frames=self.sample.clip.num_frames)

    def pose_mp4(self) -> bytes:
        """Skeletons in OpenPose's style: the video's size, rate and number of frames."""
        return encode_canonical(draw_pose(self.sample.pose), self.sample.clip.fps)

    def face_mp4(self) -> bytes:
        return encode_canonical(crop_faces(self.frames, self.sample.pose), self.sample.clip.fps)

    def reference_png(self) -> bytes:
        """The first frame."""
        return cv2.imencode(".png", self.frames[0][..., ::-1])[1].tobytes()


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

    Three take files and a list of them, which is written last: `videos/ID.mp4` as stored,
    `poses/ID.mp4` (skeletons in OpenPose's style, the same size, rate and number of frames),
    `references/ID.png` (the first frame), for DiffSynth `faces/ID.mp4` (512 x 512; black where no
    face is seen):

    - diffsynth: `metadata.csv` with video, prompt, animate_pose_video and animate_face_video,
      relative to the folder (`--dataset_base_path`);
    - musubi: `metadata.jsonl` with video_path, control_path and caption; absolute paths;
    - videox-fun: `metadata.json` with file_path, control_file_path, text, type, relative to the
      folder (`--train_data_dir`), and object_file_path (absolute).

    Two take packed clips:

    - unianimate-dit: `ID/frame_data.pkl` and `ID/dw_pose_with_foot_wo_face.pkl`, dicts of JPEGs by
      name; skeletons have its colours (red and blue exchanged), and no feet. As by its own script,
      frames wider than high are cropped to the middle square. The folder is its
      `data/example_dataset/TikTok`; it takes no captions;
    - webdataset-energon: `shards/SPLIT-000000.tar` with ID.mp4, ID.pose.mp4, ID.face.mp4,
      ID.reference.png, ID.pose.npz, ID.txt and ID.json (the record), and `.nv-meta`: Energon loads
      the folder without `energon prepare`.

    Args:
        shards: as of `find_shards`.
        out: the folder.
        trainer: whose form.
        split: only clips of this one, so that no held-out clip is trained on.
        caption: of every clip without one of its own.
        captions: folder of ID.txt.

    Raises:
        DatasetError: `captions` is not a folder, the trainer is not known or takes none, no clip is
            of the split, or a clip is in two shards.
    """
    out = Path(out)
    captions = None if captions is None else Path(captions)
    if trainer not in get_args(Trainer):
        known = ", ".join(get_args(Trainer))
        raise DatasetError(f"no export to {trainer!r}: choose one of {known}")
    if trainer == "unianimate-dit" and (caption or captions):
        raise DatasetError("unianimate-dit takes no captions: leave them out")
    if captions is not None and not captions.is_dir():
        raise DatasetError(f"no folder {captions}: give the one that holds ID.txt for each clip")
    clips = _clips(shards, split, caption, captions)
    if trainer == "unianimate-dit":
        yield from _write_unianimate(clips, out)
    elif trainer == "webdataset-energon":
        members = ((clip.sample.clip.clip_id, _members(clip)) for clip in clips)
        yield from write_energon(members, out, split)
    else:
        yield from _write_files(clips, out, trainer)


def _clips(
    shards: Paths, split: str, caption: str, captions: Path | None
) -> Iterator[TrainingClip]:
    seen = set()
    for sample in read_shards(shards):
        clip_id = sample.clip.clip_id
        if sample.clip.split != split:
            continue
        if clip_id in seen:
            raise DatasetError(f"clip {clip_id} is in two shards: give each corpus once")
        seen.add(clip_id)
        own = captions / f"{clip_id}.txt" if captions is not None else None
        has_own = own is not None and own.is_file()
        yield TrainingClip(
            sample, own.read_text(encoding="utf-8").strip() if own and has_own else caption
        )
    if not seen:
        raise DatasetError(f"no clip is of split {split!r}: `aa-datasets stats` lists the splits")


def _write_files(
    clips: Iterator[TrainingClip], out: Path, trainer: Literal["diffsynth", "musubi", "videox-fun"]
) -> Iterator[str]:
    rows = []
    for clip in clips:
        rows.append(_write_clip(clip, out, with_face=trainer == "diffsynth"))
        yield clip.sample.clip.clip_id
    name, text = _METADATA[trainer](rows, out)
    replace_file(out / name, text.encode())


def _write_clip(clip: TrainingClip, out: Path, *, with_face: bool) -> TrainerFiles:
    clip_id = clip.sample.clip.clip_id
    files = TrainerFiles(
        video=out / "videos" / f"{clip_id}.mp4",
        pose=out / "poses" / f"{clip_id}.mp4",
        reference=out / "references" / f"{clip_id}.png",
        face=out / "faces" / f"{clip_id}.mp4" if with_face else None,
        caption=clip.caption,
    )
    for path, content in (
        (files.video, clip.sample.mp4),
        (files.pose, clip.pose_mp4()),
        (files.reference, clip.reference_png()),
        *([(files.face, clip.face_mp4())] if files.face is not None else []),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    return files


def _write_unianimate(clips: Iterator[TrainingClip], out: Path) -> Iterator[str]:
    for clip in clips:
        folder = out / clip.sample.clip.clip_id
        folder.mkdir(parents=True, exist_ok=True)
        for name, pictures in (
            # OpenCV stores what it is given as blue, green, red. Their script gives it frames in
            # this order and skeletons in the other, and that is what their networks have seen.
            ("frame_data.pkl", clip.frames[..., ::-1]),
            ("dw_pose_with_foot_wo_face.pkl", draw_pose(clip.sample.pose)),
        ):
            replace_file(folder / name, pickle.dumps(_jpegs(pictures)))
        yield clip.sample.clip.clip_id


def _jpegs(pictures: NDArray[np.uint8]) -> dict[str, bytes]:
    """JPEGs by name, in order; of pictures wider than high the middle square."""
    height, width = pictures.shape[1:3]
    margin = max(0, width - height) // 2
    pictures = np.ascontiguousarray(pictures[:, :, margin : width - margin])
    return {
        f"{t:06d}.jpg": cv2.imencode(".jpg", picture)[1].tobytes()
        for t, picture in enumerate(pictures)
    }


def _members(clip: TrainingClip) -> dict[str, bytes]:
    pose_npz = io.BytesIO()
    write_pose(pose_npz, clip.sample.pose)
    return {
        "face.mp4": clip.face_mp4(),
        "json": json.dumps(clip.sample.clip.to_json(), sort_keys=True).encode(),
        "mp4": clip.sample.mp4,
        "pose.mp4": clip.pose_mp4(),
        "pose.npz": pose_npz.getvalue(),
        "reference.png": clip.reference_png(),
        "txt": clip.caption.encode(),
    }


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
