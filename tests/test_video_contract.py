"""The rooms' video readers, which do not know each other, agree on the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aa_datasets.errors import VideoError as DatasetVideoError
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_datasets.video.foreign import iter_foreign_frames
from aa_eval.errors import EvalError
from aa_eval.videos.video import read_video


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "puppet.mp4"
    puppet = render_puppet(3, 4, num_frames=30, size_hw=(96, 128))
    path.write_bytes(encode_canonical(puppet.frames, 24.0))
    return path


def test_three_readers_give_equal_pixels(mp4: Path) -> None:
    scored = read_video(mp4)
    assert scored.frames.shape == (30, 96, 128, 3)
    assert scored.fps == 24.0
    assert np.array_equal(scored.frames, read_canonical(mp4))
    crawled = np.stack([frame.pixels for frame in iter_foreign_frames(mp4)])
    assert np.array_equal(scored.frames, crawled)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.95])
def test_what_is_cut_short_is_refused_by_name_by_all(
    mp4: Path, tmp_path: Path, keep: float
) -> None:
    content = mp4.read_bytes()
    cut = tmp_path / "cut_short.mp4"
    cut.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(EvalError, match="cut_short"):
        read_video(cut)
    with pytest.raises(DatasetVideoError, match="cut_short"):
        list(iter_foreign_frames(cut))
    with pytest.raises(DatasetVideoError, match="cut_short"):
        read_canonical(cut, num_frames=30)


def test_a_page_is_no_video(tmp_path: Path) -> None:
    page = tmp_path / "not_found.mp4"
    page.write_bytes(b"<html><body>404</body></html>" * 50)
    with pytest.raises(EvalError, match="not_found"):
        read_video(page)
    with pytest.raises(DatasetVideoError, match="not_found"):
        list(iter_foreign_frames(page))
