"""Trivial predictions: what they are, and that written ones score as the harness's own."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import gaussian_blur

from aa_eval.cli.main import main
from aa_eval.errors import EvalError
from aa_eval.result import RESULT_FILE, read_result
from aa_eval.scoring.baselines import BASELINES, write_baselines
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import make_pairs
from aa_eval.videos.source import iter_frames, iter_frames_backwards
from aa_eval.videos.video import read_video


def random_frames(seed: int, count: int = 5, side: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def references(tmp_path: Path) -> Path:
    """Two videos of 5 and 3 frames, the second numbered from 7."""
    for video, count, first in (("a", 5, 0), ("b", 3, 7)):
        folder = tmp_path / "gt" / video
        folder.mkdir(parents=True)
        for number, frame in enumerate(random_frames(count, count), start=first):
            Image.fromarray(frame).save(folder / f"{number}.png")
    return tmp_path / "gt"


def test_baselines_are_what_they_say(references: Path, tmp_path: Path) -> None:
    pairs, _ = make_pairs(None, find_videos(references))
    assert list(write_baselines(tmp_path / "out", pairs, tuple(BASELINES))) == [("a", 5), ("b", 3)]
    x = read_video(references / "b").frames
    video = torch.from_numpy(x).movedim(-1, 1).float()
    blurred = gaussian_blur(video, [9, 9], [0.4, 0.4]).movedim(1, -1).numpy()
    expected = {
        "repeat-reference": x[[0, 0, 0]],
        "previous-frame": x[[0, 0, 1]],
        "mid-grey": np.full_like(x, 128),
        "white": np.full_like(x, 255),
        "reversed": x[::-1],
        "shifted-pixel": np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)), mode="edge")[:, :, :-1],
    }
    for name in BASELINES:
        folder = tmp_path / "out" / name / "b"
        assert sorted(f.name for f in folder.iterdir()) == ["00007.png", "00008.png", "00009.png"]
        frames = read_video(folder).frames
        if name == "blurred":  # torchvision reflects at the border
            inner = (slice(None), slice(4, -4), slice(4, -4))
            np.testing.assert_allclose(frames[inner], blurred[inner], atol=0.51)
        else:
            np.testing.assert_array_equal(frames, expected[name])


def test_written_baselines_score_as_the_harness_scores_its_own(
    references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "trivial"
    own = tmp_path / "own"
    assert main(["--references", str(references), "--write-baselines", str(written)]) == 0
    assert f"written: {written / 'reversed'}" in capsys.readouterr().out
    words = ["--references", str(references), "--protocol", "tiktok-disco-2023"]
    some = ("repeat-reference", "reversed", "blurred")  # their frames are compared for all, above
    assert main([str(references), *words, "--baselines", ",".join(some), "--out", str(own),
                 "--allow", "same-files"]) == 0  # fmt: skip
    assert {read_result(path.parent).method for path in own.rglob(RESULT_FILE)} == {"gt", *some}
    for name in some:
        out = tmp_path / "out" / name
        folder = str(written / name)
        assert main([folder, *words, "--method", f"{name} again", "--baselines", "off",
                     "--out", str(out)]) == 0  # fmt: skip
        assert read_result(out).per_video == read_result(own / "baselines" / name).per_video


def test_a_folder_that_is_there_is_not_written_into(references: Path, tmp_path: Path) -> None:
    pairs, _ = make_pairs(None, find_videos(references))
    (tmp_path / "out" / "white" / "a").mkdir(parents=True)
    with pytest.raises(EvalError, match="out/white: is there already: delete it"):
        next(write_baselines(tmp_path / "out", pairs, ["mid-grey", "white"]))
    assert not (tmp_path / "out" / "mid-grey").exists()


def test_backwards_is_forwards_turned_round(references: Path, tmp_path: Path) -> None:
    path = tmp_path / "mp4" / "a.mp4"
    path.parent.mkdir()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for frame in random_frames(0, 20, side=64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    sources = [*find_videos(path.parent).videos.values(), *find_videos(references).videos.values()]
    for source in [*sources, sources[0].first(7)]:
        forwards = np.stack(list(iter_frames(source)))
        backwards = np.stack(list(iter_frames_backwards(source)))
        np.testing.assert_array_equal(forwards[::-1], backwards)
