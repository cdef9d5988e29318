"""How far our BlazePose lies from MediaPipe's holistic pipeline and dlib's faces, on real frames.

    python benchmarks/studies/pose_agreement.py CLIPS --their-python /elsewhere/bin/python

CLIPS is a folder of videos, of which three frames each are looked at. MediaPipe 0.10.21 needs
numpy 1 and cannot share our environment: give the Python of another one (`pip install
mediapipe==0.10.21 dlib-bin face_recognition_models`). All see the same pixels, each frame on its
own. Body distances are shares of the body's extent, hand distances of the hand's; frames on which
the two take different people are counted apart. MediaPipe's detector looks at the whole frame, and
so does ours here; that of the pipeline looks at tiles as well, and may start elsewhere. MediaPipe's
face mesh and dlib's 68 points (by dlib's own detector, at twice the frame's size) are compared at
iBUG's 68 points, as shares of the distance between the outer corners of the eyes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from aa_curation.poses.blazepose import BlazePose
from aa_curation.poses.mediapipe_networks import whole_frame
from aa_curation.poses.openpose_layout import face_points
from aa_curation.sources.list_formats import VIDEO_SUFFIXES
from aa_datasets.errors import VideoError
from aa_datasets.video.foreign import iter_foreign_frames, probe_video

_ANOTHER_PERSON = 0.1  # of the body's extent
_ANOTHER_FACE = 0.5
_OUTER_EYES = (36, 45)  # of iBUG's points
_PARTS_OF_FACE = {
    "jaw": slice(0, 17), "brows": slice(17, 27), "nose": slice(27, 36), "eyes": slice(36, 48),
    "lips": slice(48, 68),
}  # fmt: skip
_THEIRS = """
import sys, glob, importlib.util, pathlib, numpy as np, mediapipe as mp, cv2, dlib
found = {}
models = pathlib.Path(importlib.util.find_spec("face_recognition_models").origin).parent / "models"
predict = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
detect = dlib.get_frontal_face_detector()
with mp.solutions.holistic.Holistic(static_image_mode=True, model_complexity=1) as model:
    for path in sorted(glob.glob(sys.argv[1] + "/*.png")):
        image = cv2.imread(path)[:, :, ::-1]
        scale = np.array([image.shape[1], image.shape[0]])
        result = model.process(np.ascontiguousarray(image))
        name = path.rsplit("/", 1)[1][:-4]
        boxes = detect(np.ascontiguousarray(image), 1)
        if boxes:
            shape = predict(np.ascontiguousarray(image), max(boxes, key=lambda box: box.area()))
            found[name + ".dlib"] = np.array([[p.x, p.y] for p in shape.parts()], float)
        parts = (result.pose_landmarks, result.left_hand_landmarks, result.right_hand_landmarks,
                 result.face_landmarks)
        for part, marks in zip(("body", "left", "right", "mesh"), parts):
            if marks is not None:
                points = np.array([[m.x, m.y] for m in marks.landmark]) * scale
                found[name + "." + part] = points
np.savez(sys.argv[2], **found)
"""


def write_frames(clips: Path, folder: Path) -> int:
    """Three frames of each video, as PNG."""
    count = 0
    for path in tqdm(sorted(p for p in clips.iterdir() if p.suffix in VIDEO_SUFFIXES)):
        try:
            seconds = probe_video(path).duration_s
            for share in (0.25, 0.5, 0.75):
                frame = next(iter(iter_foreign_frames(path, start_s=share * seconds)), None)
                if frame is not None:
                    name = f"{path.stem}-{round(100 * share)}.png"
                    cv2.imwrite(str(folder / name), frame.pixels[:, :, ::-1])
                    count += 1
        except VideoError as error:
            print(f"left out: {error}", file=sys.stderr)
    return count


def extent(points: np.ndarray) -> float:
    return float(np.hypot(*np.ptp(points, axis=0)))


def face_apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Of points [68, 2], in shares of the way between the outer corners of the eyes."""
    a, b = theirs[list(_OUTER_EYES)]
    return np.hypot(*(ours - theirs).T) / float(np.hypot(*(a - b)))


def spread(shares: np.ndarray) -> str:
    median, ninety = np.percentile(100 * shares, [50, 90])
    return f"{median:.2f} % (median), {ninety:.2f} % (90th percentile)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--their-python", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_frames(arguments.clips, folder)
        their_file = folder / "theirs.npz"
        command = [str(arguments.their_python), "-c", _THEIRS, name, str(their_file)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        theirs = np.load(their_file)
        cv2.setNumThreads(1)
        estimator = BlazePose()
        body_apart, searched_apart, hand_apart, mesh_apart, dlib_apart = [], [], [], [], []
        both_found, hand_agrees, face_agrees, other_person, cpu_s = 0, 0, 0, 0, 0.0
        for path in tqdm(sorted(folder.glob("*.png"))):
            frame = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
            start = time.process_time()
            searched = estimator.main_body(frame, None)
            cpu_s += time.process_time() - start
            bodies = estimator.bodies_in(frame, whole_frame(frame.shape[:2]))
            body = bodies[0] if bodies else None
            ours = estimator.both_hands(frame, body) if body is not None else (None, None)
            face = None if body is None else estimator.face(frame, body, None)
            if face is not None and f"{path.stem}.dlib" in theirs:
                apart = face_apart(face_points(face.points), theirs[f"{path.stem}.dlib"])
                if np.median(apart) < _ANOTHER_FACE:
                    dlib_apart.append(apart)
            if body is None or f"{path.stem}.body" not in theirs:
                continue
            their_body = theirs[f"{path.stem}.body"]
            apart = np.hypot(*(body.points - their_body).T) / extent(their_body)
            if np.median(apart) > _ANOTHER_PERSON:
                other_person += 1
                continue
            both_found += 1
            body_apart.append(apart)
            if searched is not None:
                off = np.hypot(*(searched.points - their_body).T) / extent(their_body)
                if np.median(off) <= _ANOTHER_PERSON:
                    searched_apart.append(off)
            face_agrees += (face is not None) == (f"{path.stem}.mesh" in theirs)
            if face is not None and f"{path.stem}.mesh" in theirs:
                mesh = theirs[f"{path.stem}.mesh"][:468].astype(np.float32)
                mesh_apart.append(face_apart(face_points(face.points), face_points(mesh)))
            for part, hand in zip(("left", "right"), ours, strict=True):
                here = hand is not None and hand.confidence >= 0.5
                there = f"{path.stem}.{part}" in theirs
                hand_agrees += here == there
                if here and there and hand is not None:
                    points = theirs[f"{path.stem}.{part}"]
                    hand_apart.append(np.hypot(*(hand.points - points).T) / extent(points))
    print(f"{count} frames; both see the same person on {both_found}, another on {other_person}")
    rows_of = {"body": body_apart, "body, tiles searched": searched_apart, "hands": hand_apart}
    for what, rows in rows_of.items():
        print(f"{what}: {spread(np.concatenate(rows))} of its extent")
    print(f"hands: both say that there is one, or none, in {hand_agrees} of {2 * both_found}")
    print(f"face: both say that there is one, or none, in {face_agrees} of {both_found}")
    for what, rows in (("MediaPipe's mesh", mesh_apart), ("dlib", dlib_apart)):
        print(f"face, {len(rows)} against {what}: {spread(np.concatenate(rows))} between the eyes")
        for part, points in _PARTS_OF_FACE.items():
            print(f"    {part}: {spread(np.stack(rows)[:, points])}")
    print(f"search in the frame and its tiles: {cpu_s / count:.3f} CPU s a frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
