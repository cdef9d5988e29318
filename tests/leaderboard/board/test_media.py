"""The clips of a result: which names, which contents, and how large, at the very bounds."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aa_eval.result import Result
from aa_leaderboard.board.media import Media, check_media
from aa_leaderboard.errors import SubmissionError


@pytest.fixture
def media(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


@pytest.fixture
def result(make_result: Callable[..., Result]) -> Result:
    per_video: dict[str, dict[str, float]] = {"a/b": {}, "v": {}}
    return make_result(per_video=per_video, metrics={})


def refused(media: Path, result: Result, why: str) -> None:
    with pytest.raises(SubmissionError, match=why):
        check_media(media, result)


def test_what_is_found_is_named_by_video_and_role_with_its_frames_and_rate(
    media: Path, result: Result, write_clip: Callable[..., Path]
) -> None:
    frames = np.full((7, 16, 32, 3), 90, np.uint8)
    write_clip(media / "v.prediction.mp4", frames, 12)
    write_clip(media / "a__b.ground_truth.mp4", frames[:1], 25)
    write_clip(media / "a__b.reference.mp4", frames, 24)
    picture = Image.fromarray(frames[0])
    picture.save(media / "v.reference.jpg")
    assert check_media(media, result) == (
        Media("a__b.ground_truth.mp4", "a/b", "ground_truth", 1, 25.0),
        Media("a__b.reference.mp4", "a/b", "reference", 7, 24.0),
        Media("v.prediction.mp4", "v", "prediction", 7, 12.0),
        Media("v.reference.jpg", "v", "reference", 0, 0.0),
    )
    (media / "v.reference.jpg").unlink()
    picture.save(media / "v.reference.png")
    assert check_media(media, result)[-1] == Media("v.reference.png", "v", "reference")


def test_no_folder_is_no_clips_and_a_file_or_a_folder_in_it_is_refused(
    media: Path, result: Result
) -> None:
    assert check_media(media / "absent", result) == ()
    (media / "v.prediction.mp4").mkdir()
    refused(media, result, "v.prediction.mp4: not a regular file")
    (media / "file").write_text("")
    refused(media / "file", result, "not a folder of clips")
    (media / "link").symlink_to(media)
    refused(media / "link", result, "a symlink: replace it by the folder itself")


def test_content_must_be_what_the_name_says_from_its_first_byte_on(
    media: Path, result: Result
) -> None:
    picture = media / "v.reference.png"
    Image.new("RGB", (4, 4)).save(picture, "JPEG")
    refused(media, result, "its content is not png")
    picture.rename(media / "v.reference.jpg")
    check_media(media, result)
    whole = (media / "v.reference.jpg").read_bytes()
    (media / "v.reference.jpg").write_bytes(whole[:40])
    refused(media, result, "v.reference.jpg: not a picture")
    (media / "v.reference.jpg").write_bytes(b"\xff" + whole)
    refused(media, result, "its content is not jpg")


@pytest.mark.parametrize(("side_px", "fits"), [(4096, True), (4097, False)])
def test_sides_reach_4096_px(media: Path, result: Result, side_px: int, fits: bool) -> None:
    Image.new("L", (2, side_px)).save(media / "v.reference.png")
    if fits:
        check_media(media, result)
    else:
        refused(media, result, "expected sides up to 4096 px: make it smaller")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    media: Path, result: Result
) -> None:
    whole = io.BytesIO()
    Image.new("L", (5000, 5000)).save(whole, "PNG")
    (media / "v.reference.png").write_bytes(whole.getvalue()[:60])  # its header, and no pixel
    refused(media, result, "expected sides up to 4096 px")


def test_a_clip_reaches_4096_px_too(
    media: Path, result: Result, write_clip: Callable[..., Path]
) -> None:
    for height, width, fits in ((16, 4096, True), (4096, 16, True), (16, 4098, False),
                                (4098, 16, False)):  # fmt: skip
        write_clip(media / "v.prediction.mp4", np.zeros((1, height, width, 3), np.uint8))
        if fits:
            check_media(media, result)
        else:
            refused(media, result, f"{width}x{height} px, 1 frame, 24 frames/s: expected sides")


def test_files_reach_64_mib_and_folders_600_files(media: Path, result: Result) -> None:
    path = media / "v.prediction.mp4"
    path.write_bytes(b"....ftyp")
    os.truncate(path, 64 * 2**20 + 1)  # sparse: takes no room
    refused(media, result, "larger than 64 MiB: encode it smaller")
    os.truncate(path, 64 * 2**20)
    refused(media, result, "cannot be opened as mp4")
    path.unlink()
    for n in range(600):
        (media / f"{n}.mp4").touch()
    refused(media, result, "0.mp4: expected VIDEO.reference")
    (media / "600.mp4").touch()
    refused(media, result, "601 files, expected at most 600")
