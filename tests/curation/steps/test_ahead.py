"""A clip that is made in the decode of its survey is the one that the clip step makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from aa_curation.check import Drop
from aa_curation.corpus.purge import take_down
from aa_curation.ledger.ledger import LedgerWriter, read_ledger
from aa_curation.ledger.records import CorpusHead, rejected
from aa_curation.measure.frames import iter_frames_at, shown_at
from aa_curation.measure.signature import Signature
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.ahead import AheadOfPlan
from aa_curation.steps.worker import Worker
from aa_datasets.pose import read_pose, write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.foreign import iter_foreign_frames

Sizes = tuple[int, int]


@pytest.fixture
def make_source(tmp_path: Path, write_sources: Callable[..., Path]) -> Callable[..., Source]:
    """A puppet's video, with its exact pose, in whatever container, rate and size."""

    def make(
        name: str = "puppet.mp4",
        fps: Fraction = Fraction(24),
        size_hw: Sizes = (256, 256),
        num_frames: int = 40,
        cut: bool = False,
    ) -> Source:
        puppet = render_puppet(3, 4, num_frames=num_frames, size_hw=size_hw)
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
            stream.height, stream.width = size_hw
            stream.pix_fmt = "yuv420p"
            for number, frame in enumerate(puppet.frames):
                shown = 255 - frame if cut and number >= num_frames // 2 else frame
                picture = av.VideoFrame.from_ndarray(shown, format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        write_pose(tmp_path / "puppet.pose.npz", puppet.pose)
        row = {"source_id": "p", "location": name, "licence": "CC0-1.0", "synthetic": "true"}
        row["pose_file"] = "puppet.pose.npz"
        (source,) = read_sources([write_sources(tmp_path, [row])])
        return source

    return make


@pytest.mark.parametrize(
    ("name", "fps", "size_hw"),
    [
        ("puppet.mp4", Fraction(24), (256, 256)),
        ("puppet.mp4", Fraction(30000, 1001), (480, 272)),
        ("puppet.mp4", Fraction(25), (240, 426)),
        ("puppet.mov", Fraction(30), (384, 320)),
        ("puppet.mp4", Fraction(60), (256, 256)),
        ("puppet.mp4", Fraction(50), (360, 320)),
        ("puppet.avi", Fraction(24), (256, 256)),  # no presentation times: frames out of order
    ],
)
def test_a_clip_made_ahead_is_the_one_of_the_clip_step(
    make_source: Callable[..., Source],
    demo_recipe: Recipe,
    tmp_path: Path,
    name: str,
    fps: Fraction,
    size_hw: Sizes,
) -> None:
    source = make_source(name, fps, size_hw, num_frames=83 if fps > 30 else 40)
    early, late = tmp_path / "early", tmp_path / "late"
    early.mkdir()
    late.mkdir()
    survey = Worker(demo_recipe, early).survey(source)
    (planned,) = survey.planned
    if not survey.ahead:
        assert name == "puppet.avi"
        return
    (ahead,) = survey.ahead
    assert ahead.status == "accepted", ahead
    decision = Worker(demo_recipe, late).curate(planned, source)
    assert dataclasses.replace(ahead, seconds=0) == dataclasses.replace(decision, seconds=0)
    files = {path.name: path.read_bytes() for path in late.iterdir()}
    assert files == {path.name: path.read_bytes() for path in early.iterdir()}
    assert len(files) == 2


@pytest.mark.parametrize("num_frames", [1, 5, 7, 8])
def test_a_clip_of_a_few_frames_has_a_whole_signature(
    make_source: Callable[..., Source], demo_recipe: Recipe, tmp_path: Path, num_frames: int
) -> None:
    lax = {"too_short": 0.0, "static": 1.0}
    recipe = dataclasses.replace(demo_recipe, thresholds=lax, pose_filters=())
    source = make_source(num_frames=num_frames)
    worker = Worker(recipe, tmp_path)
    survey = worker.survey(source)
    (ahead,) = survey.ahead
    (planned,) = survey.planned
    assert ahead.status == "accepted", ahead
    Signature.from_text(ahead.signature)
    assert worker.curate(planned, source).signature == ahead.signature


def test_a_turned_video_is_made_ahead_as_it_is_shown(
    make_source: Callable[..., Source], demo_recipe: Recipe, tmp_path: Path
) -> None:
    source = make_source(size_hw=(256, 320))
    assert source.pose_path is not None
    mp4 = source.path.read_bytes()
    at = mp4.index(b"tkhd") + 44  # the display matrix of a version 0 box (ISO/IEC 14496-12)
    quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    turned = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    source.path.write_bytes(mp4[:at] + turned + mp4[at + 36 :])
    pose = read_pose(source.pose_path)
    write_pose(source.pose_path, dataclasses.replace(pose, size_hw=(320, 256)))
    worker = Worker(demo_recipe, tmp_path)
    survey = worker.survey(source)
    (ahead,) = survey.ahead
    assert ahead.clip is not None
    assert ahead.clip.size_hw == (320, 256)
    mp4_ahead = (tmp_path / "p-0000.mp4").read_bytes()
    assert worker.curate(survey.planned[0], source).mp4_sha256 == ahead.mp4_sha256
    assert (tmp_path / "p-0000.mp4").read_bytes() == mp4_ahead


@pytest.mark.parametrize("unforeseen", ["shots", "length", "crop", "span", "header"])
def test_what_was_not_foreseen_is_left_to_the_clip_step(
    make_source: Callable[..., Source],
    demo_recipe: Recipe,
    tmp_path: Path,
    unforeseen: str,
) -> None:
    source = make_source(
        name="puppet.mkv" if unforeseen == "header" else "puppet.mp4",  # it counts no frames
        num_frames=80 if unforeseen == "shots" else 40,
        cut=unforeseen == "shots",
    )
    if unforeseen == "crop":
        source = dataclasses.replace(source, crop_px=(0, 0, 256, 240))
    if unforeseen == "span":
        source = dataclasses.replace(source, span_s=(0.0, 1.5))
    recipe = demo_recipe
    if unforeseen == "length":
        recipe = dataclasses.replace(demo_recipe, max_s=1.4)
    survey = Worker(recipe, tmp_path).survey(source)
    assert len(survey.planned) == (2 if unforeseen in {"shots", "length"} else 1)
    assert survey.ahead == ()
    assert not list(tmp_path.glob("p-*"))


def test_who_is_not_known_beforehand_is_not_encoded_ahead(
    make_source: Callable[..., Source], demo_recipe: Recipe, tmp_path: Path
) -> None:
    """A pose has to be found in large frames: the clip step decodes them anyway."""
    source = dataclasses.replace(make_source(), pose_path=None)
    assert not AheadOfPlan.may_be(source)
    assert Worker(demo_recipe, tmp_path).survey(source).ahead == ()


def test_nothing_is_made_ahead_of_a_source_that_has_clips_already(
    make_source: Callable[..., Source], demo_recipe: Recipe, tmp_path: Path
) -> None:
    """Its file would replace an accepted one before the ledger knows."""
    source = make_source()
    assert Worker(demo_recipe, tmp_path).survey(source, False).ahead == ()
    assert not list(tmp_path.glob("p-*"))


def test_a_rejection_ahead_counts_and_a_failure_is_tried_again(
    make_source: Callable[..., Source], demo_recipe: Recipe, tmp_path: Path
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("a bug")

    source = make_source()
    strict = dataclasses.replace(demo_recipe, thresholds={"small_person": 1.1})
    (row,) = Worker(strict, tmp_path).survey(source).ahead
    assert (row.status, row.stage, row.reason) == ("rejected", "clip", "small_person")
    recipe = dataclasses.replace(demo_recipe, pose_filters=(broken,))
    assert Worker(recipe, tmp_path).survey(source).ahead == ()


@pytest.mark.parametrize("end", ["count", "decision", "thresholds"])
def test_what_was_made_ahead_counts_until_there_is_a_decision_or_other_thresholds(
    make_source: Callable[..., Source], demo_recipe: Recipe, tmp_path: Path, end: str
) -> None:
    source, corpus = make_source(), tmp_path / "corpus"
    survey = Worker(demo_recipe, tmp_path).survey(source)
    (ahead,) = survey.ahead
    duplicate = rejected(ahead.clip_id, "p", "survey", Drop("duplicate"))
    with LedgerWriter(corpus, CorpusHead("demo", "abc")) as writer:
        writer.add_survey(survey)
    assert read_ledger(corpus).surveys["p"] == survey
    assert read_ledger(corpus).decisions == {}
    with LedgerWriter(corpus, CorpusHead("demo", "abc")) as writer:
        if end == "decision":
            writer.add_decision(duplicate)
        if end == "thresholds":
            writer.add_thresholds({"blurred": 1e9})
        writer.count_ahead("p")
        counted = {"count": [ahead], "decision": [duplicate], "thresholds": []}[end]
        for ledger in (writer.ledger, read_ledger(corpus)):
            assert list(ledger.decisions.values()) == counted
            assert ledger.surveys["p"].ahead == ()


def test_what_was_made_ahead_does_not_undo_a_takedown(
    make_source: Callable[..., Source], demo_recipe: Recipe, tmp_path: Path
) -> None:
    survey = Worker(demo_recipe, tmp_path).survey(make_source())
    with LedgerWriter(tmp_path / "corpus", CorpusHead("demo", "abc")) as writer:
        writer.add_survey(survey)
        take_down(writer, "p")
        writer.count_ahead("p")
    (decision,) = read_ledger(tmp_path / "corpus").decisions.values()
    assert (decision.status, decision.reason) == ("rejected", "takedown")


def test_the_frames_shown_are_those_that_are_decoded(
    make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = make_source(fps=Fraction(30000, 1001), num_frames=30)
    frames = list(iter_foreign_frames(source.path))
    frame_times_s = np.array([frame.time_s for frame in frames])
    generator = np.random.default_rng(7)
    for fps in (12.0, 29.97, 47.0):
        times_s = generator.uniform(0, 0.1) + np.arange(1, 1 + int(0.9 * fps)) / fps
        shown = shown_at(frame_times_s, times_s, 29.97)
        found = iter_frames_at(source.path, times_s, 29.97, crop_px=None, max_side_px=4096)
        for index, pixels in zip(shown, found, strict=True):
            np.testing.assert_array_equal(frames[index].pixels, pixels)
