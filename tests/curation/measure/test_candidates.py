"""Near duplicates by candidates, against the exhaustive search."""

from __future__ import annotations

import numpy as np
import pytest

from aa_curation.measure import candidates
from aa_curation.measure.candidates import alike_pictures
from aa_curation.measure.distance import NearDuplicates, Stacked

BOUNDS = NearDuplicates()


def _drawn(rng: np.random.Generator, num: int) -> Stacked:
    hashes = rng.integers(0, 1 << 64, (num, 8), dtype=np.uint64)
    return Stacked(hashes, rng.integers(60, 110, (num, 4, 4, 2)).astype(np.uint8))


def _copies(rng: np.random.Generator, of: Stacked) -> Stacked:
    """Each with 1 to 14 of 64 bits flipped, more in some frames than in others, and other light."""
    num = len(of.hashes)
    share = rng.uniform(1, 14, (num, 1, 1)) / 64 * rng.uniform(0.2, 1.8, (num, 8, 1))
    flips = np.packbits(rng.random((num, 8, 64)) < share, axis=-1).view(np.uint64)[..., 0]
    light = rng.normal(0, 1.5, of.colours.shape).round().astype(np.int16)
    return Stacked(of.hashes ^ flips, np.clip(of.colours + light, 0, 255).astype(np.uint8))


def _joined(*some: Stacked) -> Stacked:
    return Stacked(
        np.concatenate([s.hashes for s in some]), np.concatenate([s.colours for s in some])
    )


def test_nearly_all_copies_among_many_clips_are_found() -> None:
    rng = np.random.default_rng(0)
    originals = _drawn(rng, 600)
    copies = _joined(originals, _copies(rng, originals))
    first, second, apart = alike_pictures(_joined(copies, _drawn(rng, 12_000)), BOUNDS)
    assert (first < second).all()
    assert (apart <= 1).all()
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    assert len(found) == len(first)
    exact = alike_pictures(copies, BOUNDS)
    expected = set(zip(exact[0].tolist(), exact[1].tolist(), strict=True))
    assert len(expected) > 450
    assert found <= expected, "12,000 clips drawn at random are not alike"
    assert len(found) >= 0.98 * len(expected)


def test_candidates_give_the_distances_of_the_exhaustive_search() -> None:
    rng = np.random.default_rng(1)
    originals = _drawn(rng, 200)
    every = _joined(originals, _copies(rng, originals))
    exact = alike_pictures(every, BOUNDS)
    found = alike_pictures(every, BOUNDS, all_pairs_up_to=0)
    apart = dict(zip(zip(*map(np.ndarray.tolist, exact[:2]), strict=True), exact[2], strict=True))
    pairs = list(zip(*map(np.ndarray.tolist, found[:2]), strict=True))
    assert len(pairs) >= 0.98 * len(apart)
    np.testing.assert_allclose(found[2], [apart[pair] for pair in pairs], atol=1e-6)


def test_every_two_of_a_recording_that_is_there_often_are_a_pair() -> None:
    """More than a clip has neighbours in any order."""
    rng = np.random.default_rng(2)
    one = _drawn(rng, 1)
    same = Stacked(one.hashes.repeat(200, axis=0), one.colours.repeat(200, axis=0))
    first, second, _ = alike_pictures(_joined(same, _drawn(rng, 50)), BOUNDS, all_pairs_up_to=0)
    assert len(first) == 200 * 199 // 2
    assert second.max() == 199


@pytest.mark.parametrize("share", [0.03, 0.3, 1.0])
def test_new_clips_are_compared_with_all_however_many_at_once(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fewer clips than have a place next to each other: those asked for alone change nothing."""
    rng = np.random.default_rng(4)
    originals = _drawn(rng, 20)
    every = _joined(originals, _copies(rng, originals), _copies(rng, originals))
    new = rng.random(60) < share
    pairs = list(zip(*alike_pictures(every, BOUNDS, 0)[:2], strict=True))
    expected = [pair for pair in pairs if new[list(pair)].any()]
    assert (share < 1) == (len(expected) < len(pairs))
    for at_once in (1, 7, 8192):
        monkeypatch.setattr(candidates, "_AT_ONCE", at_once)
        first, second, _ = alike_pictures(every, BOUNDS, 0, new=new)
        assert list(zip(first, second, strict=True)) == expected


@pytest.mark.parametrize("num", [0, 1, 2])
@pytest.mark.parametrize("all_pairs_up_to", [0, 4096])
def test_few_clips(num: int, all_pairs_up_to: int) -> None:
    one = _drawn(np.random.default_rng(3), 1)
    same = Stacked(one.hashes.repeat(num, axis=0), one.colours.repeat(num, axis=0))
    first, second, apart = alike_pictures(same, BOUNDS, all_pairs_up_to)
    assert list(zip(first.tolist(), second.tolist(), apart.tolist(), strict=True)) == (
        [(0, 1, 0.0)] if num == 2 else []
    )


@pytest.mark.parametrize("new", [[True, False], [False, True], [True, True], [False, False]])
def test_a_new_clip_is_found_on_either_side(new: list[bool]) -> None:
    """Equal clips lie in the order of their places in every way of sorting."""
    one = _drawn(np.random.default_rng(5), 1)
    same = Stacked(one.hashes.repeat(2, axis=0), one.colours.repeat(2, axis=0))
    first, second, _ = alike_pictures(same, BOUNDS, 0, new=np.array(new))
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 1)] * any(new)
