"""Pairs without true frames: predictions, the photos of their people, and the driving poses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from aa_eval.errors import PairingError, counted
from aa_eval.metrics.retarget import retarget
from aa_eval.metrics.skeleton import Body, Person, person_of
from aa_eval.videos.keypoints import ASPECT_TOLERANCE, keypoints_on_frames, read_keypoints
from aa_eval.videos.layout import VideoFolder
from aa_eval.videos.pairing import (
    Driven,
    Pair,
    Problem,
    problems_of_one_side,
    refuse,
    require_known,
)
from aa_eval.videos.source import IMAGE_SUFFIXES, VideoInfo, VideoSource, probe

# `<photo>__<motion>`, as TCAN names its predictions: one photo may have many, and one motion, too.
BETWEEN = "__"
AS_GIVEN = (
    "driving poses as they were given: without --reference-keypoints (of the photos) they "
    "cannot be retargeted"
)


@dataclass(frozen=True, slots=True)
class CrossFolders:
    """Where a prediction's photo, driving pose and keypoints lie.

    Attributes:
        images: `<video>.png`, or `<photo>.png` of a video called `<photo>__<motion>`.
        poses: `<video>.npz`, or `<motion>.npz`, of the driving videos, see `read_keypoints`.
        keypoints: `<video>.npz`, of the predictions; None: no pose is measured.
        photo_keypoints: `<video>.npz` or `<photo>.npz`, of the photos, of which the first frame
            counts; None: driving poses are taken as they are.
    """

    images: Path
    poses: Path
    keypoints: Path | None = None
    photo_keypoints: Path | None = None


def make_cross_pairs(
    predictions: VideoFolder,
    folders: CrossFolders,
    allow: frozenset[str] = frozenset(),
    least: float = 0.0,
) -> tuple[list[Pair], tuple[str, ...]]:
    """Each prediction with its photo and its driving pose; no frame is decoded.

    Args:
        allow: names of `aa_eval.videos.pairing.PROBLEMS` that shall not stop the run.
        least: score from which a joint is seen.

    Returns:
        The pairs, ordered by video id, and the overrides that were needed.

    Raises:
        PairingError: a photo or pose is missing, malformed, or does not fit the prediction.
        VideoError: a file cannot be read.
    """
    require_known(allow)
    for option, folder in (
        ("--reference-images", folders.images),
        ("--driving-poses", folders.poses),
        ("--keypoints", folders.keypoints),
        ("--reference-keypoints", folders.photo_keypoints),
    ):
        if folder is not None and not folder.is_dir():
            raise PairingError(f"{option} {folder}: no such folder")
    photos = {video: photo_of(folders.images, video) for video in sorted(predictions.videos)}
    pairs, problems = [], []
    for video, photo in photos.items():
        other = _next_photo(video, photos)
        pair, found = _pair(predictions.videos[video], photo, folders, least, other)
        pairs.append(pair)
        problems += found
    overrides = refuse(problems, allow)
    if folders.keypoints is not None and folders.photo_keypoints is None:
        overrides += (AS_GIVEN,)
    return pairs, overrides


def _pair(
    prediction: VideoSource,
    photo: Path,
    folders: CrossFolders,
    least: float,
    other: tuple[str, Path] | None,
) -> tuple[Pair, list[Problem]]:
    video = prediction.video_id
    info = probe(prediction)
    problems = list(problems_of_one_side(prediction, info, "prediction"))
    driver, driving_hw = _person(_pose_file(folders.poses, video, -1), least)
    driving = driver.body
    count = min(len(driving), info.num_frames)
    if not count:
        raise PairingError(f"'{video}': its driving pose has no frame")
    predicted = None
    if folders.keypoints is not None:
        predicted = _predicted(folders.keypoints, video, info, least).at(slice(count))
    if info.num_frames != len(driving):
        frames, poses = counted(info.num_frames, "predicted frame"), len(driving)
        message = f"'{video}': {frames}, {counted(poses, 'driving pose')}"
        problems.append(Problem("frame-count", message))
        prediction, driving = prediction.first(count), driving[:count]
    reference = _source(video, photo, count)
    photo_info = probe(reference)
    photo_hw = photo_info.size_hw
    problems += problems_of_one_side(reference, photo_info, "photo of")
    if not _same_shape(photo_hw, info.size_hw):
        message = (
            f"'{video}' is {_size(info.size_hw)}, its photo {_size(photo_hw)} (width x height), "
            "of another shape: give the photo as the method cut it"
        )
        problems.append(Problem("size", message))
    person = _photographed(folders.photo_keypoints, video, photo_hw, least)
    target = driving  # no pose is held to it
    if predicted is not None:
        target = _target(video, driving, driving_hw, person, photo_hw)
    driven = Driven(target, predicted, person)
    if other is not None:
        other_source = _source(video, other[1], count)
        other_hw = probe(other_source).size_hw
        somebody = _photographed(folders.photo_keypoints, other[0], other_hw, least)
        driven = replace(driven, other_photo=other_source, other=somebody)
    numbers = prediction.numbers or tuple(range(count))
    pair = Pair(video, prediction, reference, numbers, photo_hw, info.size_hw, driven=driven)
    return pair, problems


def _target(
    video: str,
    driving: Body,
    driving_hw: tuple[int, int],
    person: Person | None,
    photo_hw: tuple[int, int],
) -> Body:
    """The driving body in pixels of the photo: retargeted, where the photo's pose is known."""
    if person is not None:
        try:
            return retarget(driving, person.body)
        except PairingError as error:
            raise PairingError(f"'{video}': {error}") from error
    if not _same_shape(driving_hw, photo_hw):
        raise PairingError(
            f"'{video}': its driving pose is of frames of {_size(driving_hw)}, the photo is "
            f"{_size(photo_hw)} (width x height): give --reference-keypoints, so that it is "
            "retargeted"
        )
    return Person(driving).resized(driving_hw, photo_hw).body


def _predicted(folder: Path, video: str, info: VideoInfo, least: float) -> Person:
    path = _pose_file(folder, video, None)
    points, scores = keypoints_on_frames(path, info.size_hw)
    if len(points) != info.num_frames:
        raise PairingError(
            f"{path}: keypoints of {counted(len(points), 'frame')}, the prediction has "
            f"{info.num_frames}"
        )
    return person_of(points, scores, least)


def photo_of(folder: Path, video: str) -> Path:
    """The photo of a video: `<video>.png` or `<photo>.png` of a video `<photo>__<motion>`.

    Raises:
        PairingError: there is none, or two of one name.
    """
    stems = _stems(video, 0)
    found = [
        path
        for stem in stems
        for suffix in IMAGE_SUFFIXES
        if (path := folder / f"{stem}{suffix}").is_file()
    ]
    if not found:
        raise PairingError(
            f"{folder}: no photo for '{video}': expected "
            + " or ".join(f"{stem}.png" for stem in stems)
        )
    if len(found) > 1 and found[0].stem == found[1].stem:
        raise PairingError(f"{found[0]} and {found[1].name}: two photos of one name: keep one")
    return found[0]


def _pose_file(folder: Path, video: str, part: int | None) -> Path:
    """A video's npz; `.pose.npz` is what `aa-datasets` calls the poses of its own videos."""
    stems = _stems(video, part)
    for stem in stems:
        for suffix in (".npz", ".pose.npz"):
            if (path := folder / f"{stem}{suffix}").is_file():
                return path
    words = " or ".join(f"{stem}.npz" for stem in stems)
    raise PairingError(f"{folder}: no keypoints for '{video}': expected {words}")


def _stems(video: str, part: int | None) -> tuple[str, ...]:
    """What a file of the video may be called: its own name, or that of its photo or motion."""
    halves = video.split(BETWEEN)
    return (video, halves[part]) if part is not None and len(halves) == 2 else (video,)


def _next_photo(video: str, photos: Mapping[str, Path]) -> tuple[str, Path] | None:
    """The first video after this one that has another photo, and that photo."""
    order = list(photos)
    place = order.index(video)
    following = (*order[place + 1 :], *order[:place])
    return next(((v, photos[v]) for v in following if photos[v] != photos[video]), None)


def _source(video: str, photo: Path, count: int) -> VideoSource:
    return VideoSource(video, (photo,), numbers=(0,), held=count)


def _person(path: Path, least: float) -> tuple[Person, tuple[int, int]]:
    points, scores, size_hw = read_keypoints(path)
    try:
        return person_of(points, scores, least), size_hw
    except PairingError as error:
        raise PairingError(f"{path}: {error}") from error


def _photographed(
    folder: Path | None, video: str, size_hw: tuple[int, int], least: float
) -> Person | None:
    if folder is None:
        return None
    path = _pose_file(folder, video, 0)
    person, made_at_hw = _person(path, least)
    if not len(person):
        raise PairingError(f"{path}: keypoints of no frame: expected those of the photo")
    if not _same_shape(made_at_hw, size_hw):
        raise PairingError(
            f"{path}: keypoints of a picture of {_size(made_at_hw)}, the photo is {_size(size_hw)} "
            "(width x height): estimate them on the photo"
        )
    return person.at(slice(1)).resized(made_at_hw, size_hw)


def _same_shape(a_hw: tuple[int, int], b_hw: tuple[int, int]) -> bool:
    return abs((a_hw[0] / b_hw[0]) / (a_hw[1] / b_hw[1]) - 1) <= ASPECT_TOLERANCE


def _size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"
