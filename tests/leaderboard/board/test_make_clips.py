"""Clips for the page: decoded again they are the folders' frames, enlarged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aa_eval.result import Result
from aa_eval.videos.video import read_video
from aa_leaderboard.board.make_clips import enlarge
from aa_leaderboard.board.media import check_media
from aa_leaderboard.cli import main

FRAMES = 5


def _folder(root: Path, videos: list[str], seed: int) -> Path:
    """Smooth moving pictures of 50 x 41 pixels, one PNG per frame."""
    y, x = np.mgrid[:50, :41]
    for v, video in enumerate(videos):
        (root / video).mkdir(parents=True)
        for t in range(FRAMES):
            waves = [np.sin((x + y * (c + 1) + 3 * t + 5 * v + seed) / 9) for c in range(3)]
            frame = (127.5 + 120 * np.stack(waves, -1)).round().astype(np.uint8)
            Image.fromarray(frame).save(root / video / f"{t:04d}.png")
    return root


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    videos = [f"video_{n}" for n in range(3)]
    return (
        _folder(tmp_path / "predictions", videos, 0),
        _folder(tmp_path / "references", videos, 40),
    )


def test_clips_show_what_was_scored(
    folders: tuple[Path, Path],
    make_result: Callable[..., Result],
    write: Callable[[Result], Path],
) -> None:
    result = make_result()
    out = write(result)
    predictions, references = folders
    assert main(["clips", *map(str, (out, predictions, references)), "--videos", "2"]) == 0
    media = check_media(out / "media", result)
    assert {m.video for m in media} == {"video_0", "video_1"}
    assert len(media) == 6
    for role, folder in (("prediction", predictions), ("ground_truth", references)):
        found = read_video(out / "media" / f"video_1.{role}.mp4")
        # 5 times 41 columns are 205: one is cut for h264.
        expected = read_video(folder / "video_1").frames.repeat(5, 1).repeat(5, 2)[:, :, :204]
        assert found.fps == 24
        assert found.frames.shape == expected.shape
        error = (found.frames.astype(float) - expected).std()
        assert error < 6, "4:2:0 and crf 16 cost little on smooth pictures"
    still = np.asarray(Image.open(out / "media" / "video_1.reference.png"))
    first = read_video(references / "video_1").frames[0]
    np.testing.assert_array_equal(still[::5, ::5], first[:, :41])


def test_a_scored_video_without_frames_is_named(
    folders: tuple[Path, Path],
    make_result: Callable[..., Result],
    write: Callable[[Result], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    predictions, references = folders
    for frame in (predictions / "video_2").iterdir():
        frame.unlink()
    (predictions / "video_2").rmdir()
    assert main(["clips", *map(str, (write(make_result()), predictions, references))]) == 2
    assert "video_2: scored in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(192, 300, 1), (191, 300, 2), (96, 500, 2), (95, 500, 3), (300, 64, 3), (1, 1, 192)],
)
def test_a_clip_is_enlarged_by_the_least_whole_factor_that_reaches_192_px(
    height: int, width: int, factor: int
) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    large = enlarge(frame)
    expected = frame.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(
        large, expected[: height * factor // 2 * 2, : width * factor // 2 * 2]
    )
    assert not large.shape[0] % 2
    assert not large.shape[1] % 2


def test_a_clip_is_as_long_as_the_shorter_and_as_fast_as_the_video_that_has_a_rate(
    tmp_path: Path,
    make_result: Callable[..., Result],
    write: Callable[[Result], Path],
    write_clip: Callable[..., Path],
) -> None:
    videos = [f"video_{n}" for n in range(3)]
    predictions = _folder(tmp_path / "predictions", videos, 0)
    references = tmp_path / "references"
    references.mkdir()
    for video, length in zip(videos, (3, 8, 5), strict=True):
        write_clip(references / f"{video}.mp4", np.full((length, 50, 42, 3), 90, np.uint8), 12)
    result = make_result()
    out = write(result)
    assert main(["clips", *map(str, (out, predictions, references))]) == 0
    clips = [m for m in check_media(out / "media", result) if m.role != "reference"]
    assert {m.fps for m in clips} == {12}
    assert [m.num_frames for m in clips] == [3, 3, 5, 5, 5, 5]
