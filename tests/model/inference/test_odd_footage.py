"""Driving videos as cameras and phones write them: people are found where a player shows them."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from aa_curation.poses.blazepose import BlazePose
from aa_datasets.pose import BODY
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical
from aa_model.inference.inputs import Driving, read_driving
from aa_model.inference.pose_detectors import find_estimator
from aa_model.inference.sound import add_sound

PUPPET_WEIGHTS = Path(__file__).parents[3] / "demo" / "learned" / "puppet-keypoints.safetensors"


def _write(path: Path, gap_s: float) -> Path:
    """A puppet of a second at 12 fps, with a gap in the middle, and a tone."""
    puppet = render_puppet(3, 5, num_frames=12, size_hw=(128, 128))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, width=128, height=128, pix_fmt="yuv420p")
        stream.codec_context.time_base = Fraction(1, 90000)
        sound = container.add_stream("aac", rate=44100)
        tone = np.sin(np.arange(44100) / 16)[None].astype(np.float32)
        for number, pixels in enumerate(puppet.frames):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.time_base = Fraction(1, 90000)
            frame.pts = round(90000 * (number / 12 + (gap_s if number >= 6 else 0)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for start in range(0, 43 * 1024, 1024):
            part = np.ascontiguousarray(tone[:, start : start + 1024])
            piece = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            piece.rate, piece.pts = 44100, start
            container.mux(sound.encode(piece))
        container.mux(sound.encode())
    return path


@pytest.mark.parametrize("gap_s", [0.0, 2.0])
def test_a_gap_in_time_is_left_out_and_said(tmp_path: Path, gap_s: float) -> None:
    path, notes = _write(tmp_path / "drive.mp4", gap_s), list[str]()
    driving = read_driving(
        path, partial(find_estimator, str(PUPPET_WEIGHTS), tmp_path), notes.append, lambda *_: None
    )
    assert (driving.pose.num_frames, driving.fps) == (12, pytest.approx(12))
    assert ("drive.mp4: a gap of 2.1 s in its time is left out" in notes) == bool(gap_s)
    made = encode_canonical(np.zeros((12, 64, 64, 3), np.uint8), 12)
    notes.clear()
    assert (add_sound(made, path, notes.append) == made) == bool(gap_s)
    expected = "no sound, since a gap of 2.1 s" if gap_s else "its sound is kept"
    assert expected in notes[0]


@pytest.fixture(scope="module")
def detector() -> BlazePose:
    return BlazePose()


def _drive(path: Path, detector: BlazePose, notes: list[str]) -> Driving:
    return read_driving(path, lambda _: detector, notes.append, lambda *_: None, 2)


@pytest.mark.parametrize(
    "name",
    [
        "cover_first.mkv",
        "gap2s.mp4",
        "hlg_rot.mov",
        "interlaced.mp4",
        "mirror.mp4",
        "pq.mp4",
        "sar.mkv",
        "twotracks.mp4",
    ],
)
def test_the_person_is_found_where_the_same_clip_shows_it_plainly(
    detector: BlazePose, media: Path, name: str
) -> None:
    """In shares of the frame: a picture that is mirrored, grey, combed or too wide is far off."""
    notes: list[str] = []
    base = _drive(media / "base.mp4", detector, [])
    found = _drive(media / name, detector, notes)
    assert (found.pose.size_hw, found.fps) == (base.pose.size_hw, 30)
    shares = [d.pose.keypoints_px[0, BODY] / d.pose.size_hw[::-1] for d in (base, found)]
    sure = np.minimum(*(d.pose.scores[0, BODY] for d in (base, found))) > 0.5
    assert sure.sum() >= 12
    assert np.median(np.abs(shares[1] - shares[0])[sure]) < 0.03
    assert ("a gap of 2.0 s" in " ".join(notes)) == (name == "gap2s.mp4")
