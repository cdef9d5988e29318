"""Survey and clip step on puppets and on bad files, without Ray."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aa_curation.ledger.records import Decision
from aa_curation.measure.signature import Signature
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source, read_sources
from aa_curation.steps.worker import Worker
from aa_datasets.pose import read_pose, write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_datasets.video.foreign import DecodeLimits


def _decide(worker: Worker, source: Source) -> list[Decision]:
    survey = worker.survey(source)
    decided = {decision.clip_id for decision in survey.decisions}
    left_in = [planned for planned in survey.planned if planned.clip_id not in decided]
    return [*survey.decisions, *(worker.curate(planned, source) for planned in left_in)]


@pytest.fixture
def by_id(sources_folder: Path) -> dict[str, Source]:
    return {source.source_id: source for source in read_sources([sources_folder])}


@pytest.mark.parametrize(
    ("source_id", "reason", "detail"),
    [
        ("bad_empty", "unreadable_video", "empty"),
        ("bad_html", "unreadable_video", "cannot be decoded"),
        ("bad_truncated", "unreadable_video", "truncated"),
        ("bad_missing", "unreadable_video", "does not exist"),
        ("no_licence", "no_licence", "gives no licence"),
        ("short", "too_short", ""),
    ],
)
def test_bad_sources_are_rejected_by_name(
    by_id: dict[str, Source],
    demo_recipe: Recipe,
    tmp_path: Path,
    source_id: str,
    reason: str,
    detail: str,
) -> None:
    (decision,) = _decide(Worker(demo_recipe, tmp_path), by_id[source_id])
    assert (decision.status, decision.reason) == ("rejected", reason)
    assert detail in decision.detail
    assert not list(tmp_path.iterdir())


def test_a_puppet_keeps_its_exact_pose_and_its_pixels(
    by_id: dict[str, Source], demo_recipe: Recipe, tmp_path: Path
) -> None:
    source = by_id["puppet_1"]
    (decision,) = _decide(Worker(demo_recipe, tmp_path), source)
    assert decision.status == "accepted", decision
    clip = decision.clip
    assert clip is not None
    assert (clip.pose_from, clip.synthetic, clip.fps) == ("renderer", True, 24)
    assert (clip.num_frames, clip.size_hw) == (30, (256, 256))
    assert source.pose_path is not None
    exact, stored = read_pose(source.pose_path), read_pose(tmp_path / f"{clip.clip_id}.pose.npz")
    np.testing.assert_array_equal(stored.keypoints_px, exact.keypoints_px)
    before = read_canonical(source.path).astype(int)
    after = read_canonical(tmp_path / f"{clip.clip_id}.mp4", num_frames=30).astype(int)
    assert np.abs(before - after).mean() < 1.5  # grey levels: encoded twice


def test_a_smaller_and_slower_canonical_form_moves_the_pose_along(
    by_id: dict[str, Source], demo_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(
        demo_recipe,
        canonical=dataclasses.replace(demo_recipe.canonical, short_side_px=128, max_fps=12),
    )
    source = by_id["puppet_1"]
    (decision,) = _decide(Worker(recipe, tmp_path), source)
    assert decision.clip is not None
    assert (decision.clip.num_frames, decision.clip.fps) == (15, 12)
    assert source.pose_path is not None
    exact = read_pose(source.pose_path).at_frames(np.arange(0, 30, 2)).resized((128, 128))
    stored = read_pose(tmp_path / f"{decision.clip_id}.pose.npz")
    np.testing.assert_allclose(stored.keypoints_px, exact.keypoints_px, atol=1e-4)


def test_a_pose_of_another_length_is_refused(
    demo_recipe: Recipe,
    tmp_path: Path,
    write_puppet: Callable[..., dict[str, str]],
    write_sources: Callable[..., Path],
) -> None:
    row = write_puppet(tmp_path, 5, num_frames=30)
    write_puppet(tmp_path, 6, num_frames=26)
    row["pose_file"] = "puppet_6.pose.npz"
    (source,) = read_sources([write_sources(tmp_path, [row])])
    (decision,) = _decide(Worker(demo_recipe, tmp_path), source)
    assert (decision.status, decision.reason) == ("rejected", "unreadable_video")
    assert "ends after 26 frames" in decision.detail


@pytest.mark.parametrize("step", ["survey", "clip"])
def test_a_decode_that_took_too_long_failed_and_is_tried_again(
    by_id: dict[str, Source],
    demo_recipe: Recipe,
    tmp_path: Path,
    step: str,
) -> None:
    """On another day the machine is quicker: that is no verdict on the file."""
    worker, source = Worker(demo_recipe, tmp_path), by_id["puppet_1"]
    (planned,) = worker.survey(source).planned
    at_once = DecodeLimits(total_s=1e-6, s_per_video_s=0)
    worker = Worker(dataclasses.replace(demo_recipe, decode=at_once), tmp_path)
    if step == "survey":
        (decision,) = worker.survey(source).decisions
    else:
        decision = worker.curate(planned, source)
    assert (decision.status, decision.stage) == ("failed", step)
    assert decision.reason == "KilledDecodeError"


def test_a_bug_in_a_step_is_a_failed_row_with_its_traceback(
    by_id: dict[str, Source], demo_recipe: Recipe, tmp_path: Path
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("a bug")

    recipe = dataclasses.replace(demo_recipe, pose_filters=(broken,))
    (decision,) = _decide(Worker(recipe, tmp_path), by_id["puppet_1"])
    assert (decision.status, decision.reason) == ("failed", "ZeroDivisionError")
    assert "in broken" in decision.detail
    recipe = dataclasses.replace(demo_recipe, picture_filters=(broken,))
    (decision,) = _decide(Worker(recipe, tmp_path), by_id["puppet_1"])
    assert (decision.status, decision.stage) == ("failed", "survey")


@pytest.mark.parametrize("num_frames", [1, 5, 7, 8])
def test_a_clip_of_a_few_frames_has_a_whole_signature(
    demo_recipe: Recipe,
    tmp_path: Path,
    write_puppet: Callable[..., dict[str, str]],
    write_sources: Callable[..., Path],
    num_frames: int,
) -> None:
    row = write_puppet(tmp_path, 5, num_frames=num_frames)
    (source,) = read_sources([write_sources(tmp_path, [row])])
    lax = {"too_short": 0.0, "static": 1.0}
    recipe = dataclasses.replace(demo_recipe, thresholds=lax, pose_filters=())
    (decision,) = _decide(Worker(recipe, tmp_path), source)
    assert decision.status == "accepted", decision
    signature = Signature.from_text(decision.signature)
    assert len(signature.hashes) == 8


def test_a_turned_video_is_stored_as_it_is_shown(
    demo_recipe: Recipe, tmp_path: Path, write_sources: Callable[..., Path]
) -> None:
    puppet = render_puppet(3, 4, num_frames=30, size_hw=(256, 320))
    mp4 = encode_canonical(puppet.frames, 24)
    at = mp4.index(b"tkhd") + 44  # the display matrix of a version 0 box (ISO/IEC 14496-12)
    quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    turned = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    (tmp_path / "p.mp4").write_bytes(mp4[:at] + turned + mp4[at + 36 :])
    write_pose(tmp_path / "p.npz", dataclasses.replace(puppet.pose, size_hw=(320, 256)))
    row = {"source_id": "p", "location": "p.mp4", "licence": "CC0-1.0", "pose_file": "p.npz"}
    (source,) = read_sources([write_sources(tmp_path, [row])])
    (decision,) = _decide(Worker(demo_recipe, tmp_path), source)
    assert decision.clip is not None, decision
    assert decision.clip.size_hw == (320, 256)
    stored = read_canonical(tmp_path / "p-0000.mp4", num_frames=30).astype(int)
    difference = np.abs(stored - np.rot90(puppet.frames, 1, (1, 2)).astype(int)).mean()
    opposite = np.abs(stored - np.rot90(puppet.frames, -1, (1, 2)).astype(int)).mean()
    near, far = sorted([difference, opposite])
    assert near < 5 < 50 < far  # grey levels: encoded twice
