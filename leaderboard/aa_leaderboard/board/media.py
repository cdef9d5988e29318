"""Clips that a result folder may carry, to be played side by side on the page.

`media/` is flat. A file is named VIDEO.ROLE.EXT: VIDEO is a video id of the result with "/"
written as "__", ROLE is reference, ground_truth or prediction, EXT is mp4 (h264, so that
browsers play it) or, for a reference that is one picture, png or jpg.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import av
from PIL import Image

from aa_eval.errors import counted
from aa_eval.result import Result
from aa_leaderboard.errors import SubmissionError

MEDIA_DIR = "media"
MAX_FILES = 600
MAX_FILE_BYTES = 64 * 2**20
MAX_SIDE_PX = 4096

_NAME = re.compile(
    r"(?P<video>[A-Za-z0-9][A-Za-z0-9_.+-]{0,120})"
    r"\.(?P<role>reference|ground_truth|prediction)\.(?P<extension>mp4|png|jpg)"
)
_SIGNATURES = {"mp4": (4, b"ftyp"), "png": (0, b"\x89PNG\r\n\x1a\n"), "jpg": (0, b"\xff\xd8\xff")}


@dataclass(frozen=True, slots=True)
class Media:
    """One file of a media folder.

    Attributes:
        name: of the file.
        video: the id in the result.
        role: which pane it fills.
        num_frames, fps: of a clip; 0 frames for a still picture.
    """

    name: str
    video: str
    role: Literal["reference", "ground_truth", "prediction"]
    num_frames: int = 0
    fps: float = 0.0


def check_media(directory: Path, result: Result) -> tuple[Media, ...]:
    """The clips of `directory`, sorted by name; empty without such a folder.

    Raises:
        SubmissionError: a symlink, a sub-folder, a foreign name, a video that the result did
            not score, a file that is too large, not what its name says, or that no browser plays.
    """
    if directory.is_symlink():
        raise SubmissionError(f"{directory}: a symlink: replace it by the folder itself")
    if not directory.exists():
        return ()
    if not directory.is_dir():
        raise SubmissionError(f"{directory}: not a folder of clips")
    paths = sorted(directory.iterdir())
    if len(paths) > MAX_FILES:
        raise SubmissionError(f"{directory}: {len(paths)} files, expected at most {MAX_FILES}")
    videos = {video.replace("/", "__"): video for video in result.per_video}
    return tuple(_check_file(path, videos) for path in paths)


def _check_file(path: Path, videos: dict[str, str]) -> Media:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise SubmissionError(
            f"{path}: expected VIDEO.reference|ground_truth|prediction.mp4 (or a png or jpg "
            "reference), with letters, digits, and _ . + - in VIDEO"
        )
    if path.is_symlink() or not path.is_file():
        raise SubmissionError(f"{path}: not a regular file: replace it by the clip itself")
    role, extension = match["role"], match["extension"]
    if extension != "mp4" and role != "reference":
        raise SubmissionError(f"{path}: only a reference may be a still picture")
    if match["video"] not in videos:
        raise SubmissionError(f"{path}: the result scores no video {match['video']!r}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SubmissionError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB: encode it smaller")
    start, signature = _SIGNATURES[extension]
    with path.open("rb") as file:
        if file.read(start + len(signature))[start:] != signature:
            raise SubmissionError(f"{path}: its content is not {extension}")
    known_role = cast("Literal['reference', 'ground_truth', 'prediction']", role)
    if extension != "mp4":
        _check_picture(path)
    num_frames, fps = _check_clip(path) if extension == "mp4" else (0, 0.0)
    return Media(path.name, videos[match["video"]], known_role, num_frames, fps)


def _check_picture(path: Path) -> None:
    """Refuse a broken picture; its header is read before anything is decoded."""
    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as picture:
            sides_fit = max(picture.size) <= MAX_SIDE_PX
            if sides_fit:
                picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SubmissionError(f"{path}: not a picture ({error}): write it again") from error
    if not sides_fit:
        raise SubmissionError(f"{path}: expected sides up to {MAX_SIDE_PX} px: make it smaller")


def _check_clip(path: Path) -> tuple[int, float]:
    """Number of frames and their rate, as the header says; nothing is decoded."""
    remedy = "make it with `aa-leaderboard clips`"
    try:
        with av.open(str(path), format="mp4") as container:
            stream = next(iter(container.streams.video), None)
            codec = stream.codec_context if stream is not None else None
            name = codec.name if codec is not None else "no video"
            width, height = (codec.width, codec.height) if codec is not None else (0, 0)
            num_frames = stream.frames if stream is not None else 0
            fps = float(stream.average_rate or 0) if stream is not None else 0.0
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SubmissionError(f"{path}: cannot be opened as mp4 ({reason}): {remedy}") from error
    if name != "h264":
        raise SubmissionError(f"{path}: holds {name}, expected h264: {remedy}")
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and num_frames and fps > 0):
        raise SubmissionError(
            f"{path}: {width}x{height} px, {counted(num_frames, 'frame')}, {fps:g} frames/s: "
            f"expected sides up to {MAX_SIDE_PX} px, at least one frame, and a rate: {remedy}"
        )
    return num_frames, fps
