from __future__ import annotations

import dataclasses
import itertools
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.corpus.near_duplicates import Pictures, separate
from aa_curation.errors import LedgerError
from aa_curation.executors.local import Local
from aa_curation.executors.run import run
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import CorpusHead, Decision, Survey
from aa_curation.ledger.takedown import taken_down
from aa_curation.measure.distance import NearDuplicates, Stacked
from aa_curation.measure.signature import (
    NUM_FRAMES,
    Signature,
    limbs_apart,
    look_at_frame,
    make_signature,
    perceptual_hash,
    signature_frames,
)
from aa_curation.recipe import Recipe
from aa_curation.report.text import format_why
from aa_curation.sources.source_list import read_sources
from aa_datasets.clip import Clip
from aa_datasets.pose import Pose, make_pose, read_pose, write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import encode_canonical, read_canonical

BOUNDS = NearDuplicates()
Frames = np.ndarray


def _signature(frames: Frames, pose: Pose) -> Signature:
    return make_signature([look_at_frame(frames[i]) for i in signature_frames(len(frames))], pose)


def _smaller_and_coarser(frames: Frames, pose: Pose) -> tuple[Frames, Pose]:
    small = np.stack([cv2.resize(f, (128, 128), interpolation=cv2.INTER_AREA) for f in frames])
    return read_canonical(encode_canonical(small, 24, crf=36)), pose.resized((128, 128))


def _half_the_rate(frames: Frames, pose: Pose) -> tuple[Frames, Pose]:
    return frames[::2], pose.at_frames(np.arange(0, len(frames), 2))


def _trimmed(frames: Frames, pose: Pose) -> tuple[Frames, Pose]:
    return frames[2:], pose.at_frames(np.arange(2, len(frames)))


def _darker(frames: Frames, pose: Pose) -> tuple[Frames, Pose]:
    return (0.7 * frames + 10).astype(np.uint8), pose


def _cropped(frames: Frames, pose: Pose) -> tuple[Frames, Pose]:
    inner = np.ascontiguousarray(frames[:, 12:-12, 12:-12])
    return inner, make_pose(pose.keypoints_px - 12, pose.scores, inner.shape[1:3])


COPIES = (_smaller_and_coarser, _half_the_rate, _trimmed, _darker, _cropped)


@pytest.fixture(scope="module")
def puppets() -> list[tuple[Frames, Pose]]:
    made = (render_puppet(s, 100 + s, num_frames=48, size_hw=(256, 256)) for s in range(6))
    return [(puppet.frames, puppet.pose) for puppet in made]


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_near_and_another_puppet_far(
    puppets: list[tuple[Frames, Pose]], copy: Callable[[Frames, Pose], tuple[Frames, Pose]]
) -> None:
    for frames, pose in puppets:
        ours, theirs = _signature(frames, pose), _signature(*copy(frames, pose))
        assert BOUNDS.apart(ours, theirs) <= 0.85
    for (a, a_pose), (b, b_pose) in itertools.combinations(puppets, 2):
        assert BOUNDS.apart(_signature(a, a_pose), _signature(b, b_pose)) >= 1.4


def test_one_character_before_one_wall_is_another_recording_when_it_moves_otherwise() -> None:
    for seed in range(12):
        clips = (
            render_puppet(seed, motion, num_frames=8, fps=4, size_hw=(128, 128))
            for motion in (seed, 77 + seed)
        )
        a, b = (_signature(clip.frames, clip.pose) for clip in clips)
        assert BOUNDS.apart(a, b) > 1.1, seed


def _draw(seed: int) -> Signature:
    rng = np.random.default_rng(seed)
    return Signature(
        rng.integers(0, 1 << 63, NUM_FRAMES).astype(np.uint64),
        rng.integers(60, 110, (4, 4, 2)).astype(np.uint8),
        rng.integers(-128, 100, (NUM_FRAMES, 18, 2)).astype(np.int8),
    )


@given(seed=st.integers(0, 999), bits=st.integers(0, 64), shift=st.integers(0, 30))
def test_comparing_with_many_at_once_is_comparing_with_each(
    seed: int, bits: int, shift: int
) -> None:
    one = _draw(seed)
    flipped = one.hashes ^ np.uint64((1 << bits) - 1)
    others = [
        dataclasses.replace(one, hashes=flipped, colours=one.colours + np.uint8(shift)),
        *(_draw(seed + n) for n in range(4)),
    ]
    places, pictures = BOUNDS.near_pictures(one, Stacked.of(others))
    found = dict(zip(places.tolist(), pictures.tolist(), strict=True))
    for place, other in enumerate(others):
        apart = BOUNDS.apart(one, other)
        if place in found:
            assert found[place] + BOUNDS.poses_apart(one, other) == pytest.approx(apart, abs=1e-4)
        else:
            assert apart > 1 - 1e-6
    assert BOUNDS.apart(one, others[0]) == pytest.approx(bits / 18 + shift / 9, abs=1e-4)


@pytest.mark.slow
def test_no_two_of_the_demos_puppets_are_taken_for_one(demo_recipe: Recipe) -> None:
    """All 132, as demo/run.sh renders them. Before colours counted, six pairs had agreed."""
    signatures = []
    for seed in (*range(120), *range(1_000_000, 1_000_012)):
        puppet = render_puppet(seed, seed, num_frames=30, fps=15, size_hw=(256, 256))
        signatures.append(_signature(puppet.frames, puppet.pose))
    assert demo_recipe.near_duplicates == BOUNDS
    assert min(BOUNDS.apart(a, b) for a, b in itertools.combinations(signatures, 2)) > 1.2


def test_the_hash_ignores_brightness_and_contrast_and_not_a_mirror() -> None:
    frame = render_puppet(1, 2, num_frames=1, size_hw=(256, 256)).frames[0]

    def distance(other: Frames) -> int:
        return (perceptual_hash(frame) ^ perceptual_hash(other)).bit_count()

    assert distance((frame // 2 + 20).astype(np.uint8)) <= 2
    assert distance(np.ascontiguousarray(frame[:, ::-1])) >= 20


def test_a_signature_survives_its_text(puppets: list[tuple[Frames, Pose]]) -> None:
    signature = _signature(*puppets[0])
    again = Signature.from_text(signature.to_text())
    np.testing.assert_array_equal(again.hashes, signature.hashes)
    np.testing.assert_array_equal(again.colours, signature.colours)
    np.testing.assert_array_equal(again.pose, signature.pose)
    assert limbs_apart(again.pose, again.pose) == 0
    assert BOUNDS.apart(signature, again) == 0
    with pytest.raises(LedgerError, match="another version made this corpus"):
        Signature.from_text(signature.to_text()[:-2])


def test_without_a_limb_in_common_pictures_must_agree_better() -> None:
    one, bare = _draw(1), np.full((NUM_FRAMES, 18, 2), -128, np.int8)
    assert np.isnan(limbs_apart(one.pose, bare))
    assert BOUNDS.apart(one, dataclasses.replace(one, pose=bare)) == pytest.approx(0.6)
    other = dataclasses.replace(one, pose=bare, hashes=one.hashes ^ np.uint64(0x3FF))  # 10 bits
    assert BOUNDS.apart(one, other) > 1


def _decision(
    name: str, picture: int, *, side: int = 256, split: str = "train", uploader: str = ""
) -> Decision:
    """An accepted clip that shows picture number `picture`; pictures are far apart."""
    clip = Clip(f"{name}-0000", name, name, "MIT", 0, 2, 24, (side, side), 48, False, "x", split)
    return Decision(
        clip.clip_id,
        name,
        "accepted",
        "clip",
        clip=clip,
        uploader=uploader,
        signature=_draw(picture).to_text(),
    )


def _ledger(*decisions: Decision) -> Ledger:
    ledger = Ledger(CorpusHead("demo", "abc"))
    for decision in decisions:
        ledger.add_decision(decision)
    return ledger


def _settle(ledger: Ledger) -> dict[str, str]:
    """Reasons by source after the step; it must leave nothing to do for a second one."""
    for row in separate(ledger, BOUNDS):
        ledger.add_decision(row)
    assert separate(ledger, BOUNDS) == []
    return {d.source_id: d.reason for d in ledger.decisions.values()}


def test_the_largest_copy_stays_and_comes_back_when_a_larger_one_leaves() -> None:
    ledger = _ledger(_decision("a", 1, side=128), _decision("b", 1, side=512), _decision("c", 2))
    assert _settle(ledger) == {"a": "near_duplicate", "b": "", "c": ""}
    assert "the same recording as b-0000" in ledger.decisions["a-0000"].detail
    words = format_why(ledger.decisions["a-0000"], short=True)
    assert words == "a-0000: rejected, near_duplicate (measured 0, bound 1)"
    ledger.add_decision(_decision("d", 1, side=1024))
    assert _settle(ledger)["b"] == "near_duplicate"
    for name in ("b", "d"):
        ledger.add_decision(Decision(f"{name}-0000", name, "rejected", "survey", "static"))
    assert _settle(ledger) == {"a": "", "b": "static", "c": "", "d": "static"}


@pytest.mark.parametrize("better", ["a", "b"])
def test_a_copy_that_is_out_for_a_reason_of_its_own_takes_no_other_out(better: str) -> None:
    sides = dict.fromkeys("ab", 128) | {better: 512}
    rows = {name: _decision(name, 1, side=side) for name, side in sides.items()}
    blurred = dataclasses.replace(rows["a"], status="rejected", reason="blurred")
    assert blurred.signature
    assert _settle(_ledger(blurred, rows["b"])) == {"a": "blurred", "b": ""}


def test_of_copies_of_one_size_the_fastest_stays_then_the_first_id() -> None:
    slow, fast, last = (_decision(name, 1) for name in "abc")
    assert fast.clip is not None
    assert _settle(_ledger(slow, fast, last)) == {
        "a": "", "b": "near_duplicate", "c": "near_duplicate"
    }  # fmt: skip
    fast = dataclasses.replace(fast, clip=dataclasses.replace(fast.clip, fps=30))
    assert _settle(_ledger(slow, fast, last)) == {
        "a": "near_duplicate", "b": "", "c": "near_duplicate"
    }  # fmt: skip


def test_a_recording_that_was_taken_down_comes_back_in_no_copy() -> None:
    best = _decision("b", 1, side=512)
    ledger = _ledger(_decision("a", 1, side=128), best, _decision("c", 2))
    assert _settle(ledger)["a"] == "near_duplicate"
    ledger.add_decision(taken_down("b-0000", "b", best))
    ledger.add_decision(_decision("later", 1, side=2048))
    reasons = _settle(ledger)
    assert reasons == {
        "a": "near_duplicate", "b": "takedown", "c": "", "later": "near_duplicate"
    }  # fmt: skip
    assert "b-0000, which was taken down" in ledger.decisions["later-0000"].detail
    # Not even the copy that was out before, taken down itself, lets another in.
    ledger = _ledger(_decision("a", 1, side=128), best)
    _settle(ledger)
    ledger.add_decision(taken_down("a-0000", "a", ledger.decisions["a-0000"]))
    assert _settle(ledger) == {"a": "takedown", "b": "near_duplicate"}


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([128, 256]),
            st.sampled_from(["train", "test", "val"]),
            st.sampled_from(["", "", "u", "v"]),
        ),
        max_size=8,
    ),
    seed=st.integers(0, 99),
)
def test_no_recording_is_in_twice_and_no_uploader_in_two_splits_in_any_order(
    rows: list[tuple[int, int, str, str]], seed: int
) -> None:
    decisions = [
        _decision(f"s{n}", picture, side=side, split=split, uploader=uploader)
        for n, (picture, side, split, uploader) in enumerate(rows)
    ]
    ledger = _ledger(*decisions)
    reasons = _settle(ledger)
    shuffled = random.Random(seed).sample(decisions, len(decisions))
    assert _settle(_ledger(*shuffled)) == reasons
    kept = [d for d in ledger.decisions.values() if d.status == "accepted"]
    shown = [d.signature for d in kept]
    assert len(shown) == len(set(shown))
    for uploader in ("u", "v"):
        assert len({d.clip.split for d in kept if d.clip and d.uploader == uploader}) <= 1
    # Whatever is in the lists, something of every recording or of its group stays.
    assert bool(kept) == bool(rows)


def test_a_held_out_split_keeps_its_clips_and_training_gives_way() -> None:
    ledger = _ledger(
        _decision("a", 1, uploader="u"),
        _decision("b", 2, uploader="u", split="test"),
        _decision("c", 3),
    )
    assert _settle(ledger) == {"a": "split_leak", "b": "", "c": ""}
    # A larger copy for training does not push it out; v's other clips go with the copy.
    ledger = _ledger(
        _decision("a", 1, uploader="u", split="test", side=128),
        _decision("b", 1, uploader="v"),
        _decision("c", 2, uploader="v"),
        _decision("d", 3),
    )
    assert _settle(ledger) == {"a": "", "b": "near_duplicate", "c": "split_leak", "d": ""}


def test_two_held_out_splits_are_kept_apart_next_to_a_larger_one_for_training() -> None:
    rows = [_decision(name, number) for number, name in enumerate("abc")]
    one = _decision("d", 3, uploader="u", split="test")
    assert _settle(_ledger(*rows, one, _decision("e", 4, uploader="u", split="val"))) == {
        "a": "", "b": "", "c": "", "d": "", "e": "split_leak"
    }  # fmt: skip


def test_a_copy_that_is_out_holds_no_split_for_its_recording() -> None:
    ledger = _ledger(_decision("a", 1, side=128, split="test"), _decision("b", 1, split="val"))
    assert _settle(ledger) == {"a": "near_duplicate", "b": ""}


def test_pictures_that_are_kept_from_block_to_block_are_those_of_the_ledger() -> None:
    """In the order of the ids, whatever was added first: ties among equal hashes follow it."""
    blocks = {0: ["d", "a"], 1: ["e", "b", "g"], 3: ["c", "f"]}
    ledger, kept = _ledger(_decision("old", 9)), Pictures()
    ledger.add_blocks(blocks)
    for number, names in blocks.items():
        for name in names:
            ledger.add_decision(_decision(name, ord(name)))
        kept.read(ledger, number)
        for row in separate(ledger, BOUNDS, through_block=number, pictures=kept):
            ledger.add_decision(row)
        fresh = Pictures()
        fresh.read(ledger, number)
        assert list(kept.names) == list(fresh.names) == sorted(fresh.names)
        np.testing.assert_array_equal(kept.stacked.hashes, fresh.stacked.hashes)
        np.testing.assert_array_equal(kept.stacked.colours, fresh.stacked.colours)
        assert len(set(kept.sources.tolist())) == len(kept.names)
        places, there = fresh.find(np.array(["a-0000", "b-0001"], np.object_))
        assert fresh.names[places[0]] == "a-0000"
        assert there.tolist() == [True, False]
    assert len(kept.names) == 8


@pytest.mark.parametrize("key", ["uploader", "person", "content", "source"])
def test_what_belongs_together_is_never_in_two_splits(key: str) -> None:
    """The other key of each is different: `key` alone holds the two together."""

    def clips(one: str, other: str) -> Ledger:
        a, b = _decision("a", 1), _decision("b", 2, split="test")
        if key in {"uploader", "person"}:
            a, b = dataclasses.replace(a, **{key: one}), dataclasses.replace(b, **{key: other})
        if key == "source":
            name = "a" if one == other else "b"
            assert b.clip is not None
            clip = dataclasses.replace(b.clip, clip_id=f"{name}-0001", source_id=name)
            b = dataclasses.replace(b, clip_id=clip.clip_id, source_id=name, clip=clip)
        ledger = Ledger(CorpusHead("demo", "abc"))
        if key == "content":
            ledger.add_survey(Survey("a", "s1", one, 1, 2, (), ()))
            ledger.add_survey(Survey("b", "s2", other, 1, 2, (), ()))
        for decision in (a, b):
            ledger.add_decision(decision)
        return ledger

    together, apart = clips("same", "same"), clips("one", "other")
    for ledger in (together, apart):
        for row in separate(ledger, BOUNDS):
            ledger.add_decision(row)
    reasons = {d.clip.split: d.reason for d in together.decisions.values() if d.clip}
    assert reasons == {"train": "split_leak", "test": ""}
    assert {d.reason for d in apart.decisions.values()} == {""}


@pytest.mark.parametrize(
    ("bits", "shift", "pose_lost", "one_recording"),
    [
        (18, 0, False, True),  # a distance of exactly 1
        (19, 0, False, False),  # 1.06
        (0, 9, False, True),
        (0, 10, False, False),  # 1.11
        (9, 4, False, True),  # 0.94
        (9, 5, False, False),  # 1.06
        (7, 0, True, True),  # 0.99
        (8, 0, True, False),  # 1.04
    ],
)
def test_two_clips_just_inside_the_bound_are_one_and_just_outside_are_two(
    bits: int, shift: int, pose_lost: bool, one_recording: bool
) -> None:
    first, second = _decision("a", 1), _decision("b", 1)
    one = dataclasses.replace(_draw(1), colours=np.full((4, 4, 2), 100, np.uint8))
    other = dataclasses.replace(
        one,
        hashes=one.hashes ^ np.uint64((1 << bits) - 1),
        colours=one.colours + np.uint8(shift),
        pose=np.full_like(one.pose, -128) if pose_lost else one.pose,
    )
    ledger = _ledger(
        dataclasses.replace(first, signature=one.to_text()),
        dataclasses.replace(second, signature=other.to_text()),
    )
    assert _settle(ledger) == {"a": "", "b": "near_duplicate" if one_recording else ""}


def test_a_planted_copy_is_found_in_a_corpus(
    small_shards: Recipe,
    sources_folder: Path,
    tmp_path: Path,
    write_sources: Callable[[Path, list[dict[str, str]]], Path],
) -> None:
    frames = read_canonical(sources_folder / "puppet_1.mp4")
    pose = read_pose(sources_folder / "puppet_1.pose.npz")
    copied, copied_pose = _trimmed(frames, pose)
    (tmp_path / "copy.mp4").write_bytes(encode_canonical(copied, 24, crf=30))
    write_pose(tmp_path / "copy.pose.npz", copied_pose)
    for name in ("puppet_1", "puppet_2"):
        for kind in ("mp4", "pose.npz"):
            shutil.copy(sources_folder / f"{name}.{kind}", tmp_path)
    names = ("puppet_1", "puppet_2", "copy")
    rows = [
        {"source_id": n, "location": f"{n}.mp4", "licence": "MIT", "pose_file": f"{n}.pose.npz"}
        for n in names
    ]
    sources = read_sources([write_sources(tmp_path, rows)])
    decisions = run(small_shards, sources, tmp_path / "corpus", Local()).decisions.values()
    # The same size and rate: the first id stays.
    out = [(row.source_id, row.reason) for row in decisions if row.status != "accepted"]
    assert out == [("puppet_1", "near_duplicate")]
