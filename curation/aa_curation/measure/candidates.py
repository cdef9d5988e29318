"""Candidates for near duplicates: few pairs of many clips, among them nearly all that are alike.

Two recordings of one thing agree in most bits of most frames' hashes, and in the colours. So clips
are sorted by some bits of one frame's hash, with or without the coarse colours before them, in 72
ways; neighbours in which these bits are equal are compared. The cost grows
with the number of clips, and not with its square.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aa_curation.measure.distance import NearDuplicates, Stacked
from aa_curation.measure.signature import NUM_FRAMES, Signature

# Bits of a frame's hash that agree, at which of its bits they begin, and how many clips each is
# compared with, at most: without the colours, and with them.
_BANDS = (16, (0, 16, 32, 48), 64)
_COLOUR_BANDS = (12, (0, 12, 24, 36, 48), 16)
_COLOUR_STEP = 12.0  # width of a cell of colours, in 1/255 of all light
_AT_ONCE = 8192  # clips asked for whose neighbours are compared at once
_CELLS = 1 << 20
# Parts of the picture whose colours are compared: sums over a grid of 4 x 4 cells, red and green.
_PARTS = np.stack(
    [
        np.einsum("y,x,c->yxc", y, x, c).ravel()
        for y, x, c in (
            (np.ones(4), np.ones(4), np.array([1.0, 0.0])),
            (np.ones(4), np.ones(4), np.array([0.0, 1.0])),
            (np.array([1.0, 1, -1, -1]), np.ones(4), np.ones(2)),
            (np.ones(4), np.array([1.0, 1, -1, -1]), np.ones(2)),
        )
    ]
)

Places = NDArray[np.int64]


def alike_pictures(
    signatures: Stacked,
    bounds: NearDuplicates,
    all_pairs_up_to: int = 4096,
    *,
    new: NDArray[np.bool_] | None = None,
    known: tuple[Places, Places] | None = None,
) -> tuple[Places, Places, NDArray[np.float32]]:
    """Pairs of clips whose pictures alone leave their distance at 1 or below.

    Args:
        signatures: of N clips.
        bounds: what is one recording.
        all_pairs_up_to: so many clips are compared each with each. Of more than that some pairs
            are missed: docs/scale.md tells how many.
        new: bool [N]: only pairs with one of these; None takes all.
        known: pairs that were found before.

    Returns:
        first, second, apart: places of the clips, first < second, sorted; and the pictures' part of
        the distance.
    """
    num = len(signatures.hashes)
    asked = np.ones(num, np.bool_) if new is None else new
    keys = [np.empty(0, np.int64)]
    parts: Iterator[tuple[Places, Places]]
    if num <= all_pairs_up_to:
        parts = (_of_one(signatures, place, bounds) for place in np.flatnonzero(asked).tolist())
    else:
        parts = _neighbours(signatures, asked, bounds)
    keys += [first * num + second for first, second in parts]
    found = np.unique(np.concatenate(keys))
    if num > all_pairs_up_to:  # of three that are alike, two may have been compared with one only
        before = known or (np.empty(0, np.int64), np.empty(0, np.int64))
        groups = _groups(
            np.concatenate([found // max(num, 1), before[0]]),
            np.concatenate([found % max(num, 1), before[1]]),
            num,
        )
        inside = [_within(signatures, group, bounds) for group in groups if asked[group].any()]
        found = np.unique(np.concatenate([found, *inside]))
    first, second = found // max(num, 1), found % max(num, 1)
    wanted = asked[first] | asked[second]
    first, second = first[wanted], second[wanted]
    return first, second, _apart(signatures, first, second, bounds)


def _of_one(signatures: Stacked, place: int, bounds: NearDuplicates) -> tuple[Places, Places]:
    """A clip with all others, the lower place first."""
    pose = np.empty((0, 2), np.int8)  # pictures alone
    one = Signature(signatures.hashes[place], signatures.colours[place], pose)
    near, _ = bounds.near_pictures(one, signatures)
    near = near[near != place]
    return np.minimum(near, place), np.maximum(near, place)


def _neighbours(
    signatures: Stacked, asked: NDArray[np.bool_], bounds: NearDuplicates
) -> Iterator[tuple[Places, Places]]:
    """Near pairs of clips that are next to each other in some order, with one of those asked
    for."""
    parts = signatures.colours.reshape(len(signatures.hashes), -1) @ (_PARTS.T / _PARTS.shape[1])
    parts = np.asarray(parts / _COLOUR_STEP, np.float32)
    ways = itertools.product(range(NUM_FRAMES), (False, True))
    for frame, by_colours in ways:
        hashes = np.ascontiguousarray(signatures.hashes[:, frame])
        num_bits, begin_at, neighbours = _COLOUR_BANDS if by_colours else _BANDS
        for begin in begin_at:
            order_by = _turned(hashes, np.uint64(begin))
            if by_colours:  # the cell of the colours first
                offset = np.float32(((5 * frame + begin) * 0.618034) % 1)
                cells = np.floor(parts + offset) @ np.array([1, 31, 961, 29791], np.float32)
                mixed = cells.astype(np.int64).astype(np.uint64)
                order_by = (mixed << np.uint64(48)) | (order_by >> np.uint64(16))
                num_bits = 16 + _COLOUR_BANDS[0]
            yield from _near_in_order(signatures, bounds, order_by, asked, num_bits, neighbours)


def _near_in_order(
    signatures: Stacked,
    bounds: NearDuplicates,
    order_by: NDArray[np.uint64],
    asked: NDArray[np.bool_],
    num_bits: int,
    neighbours: int,
) -> Iterator[tuple[Places, Places]]:
    """Near pairs of clips of which the first bits are equal and that lie next to each other in an
    order of all bits, with one of those asked for."""
    # Only clips that share these bits, or the last of them, with one that is asked for.
    cell = (order_by >> np.uint64(64 - num_bits)) & np.uint64(_CELLS - 1)
    has_asked = np.zeros(_CELLS, np.bool_)
    has_asked[cell[asked]] = True
    some = np.flatnonzero(has_asked[cell])
    # The place takes the last bits: numbers are sorted several times faster than their places.
    last = np.uint64((1 << max(1, len(some).bit_length())) - 1)
    order = order_by[some] & ~last | np.arange(len(some), dtype=np.uint64)
    order.sort()
    key, places = order >> np.uint64(64 - num_bits), some[(order & last).astype(np.int64)]
    begins = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    ends = np.append(begins[1:], len(key))
    run = np.repeat(np.arange(len(begins)), ends - begins)
    is_asked = asked[places]
    asked_at = np.flatnonzero(is_asked)
    for start in range(0, len(asked_at), _AT_ONCE):
        at = asked_at[start : start + _AT_ONCE]
        before, after = at - begins[run[at]], ends[run[at]] - at - 1
        # What these are compared with is put together: it stays in the processor's cache.
        begin = max(0, at[0] - neighbours)
        near_by = places[begin : at[-1] + neighbours + 1]
        hashes = signatures.hashes.take(near_by, axis=0)
        for apart in range(1, 1 + min(neighbours, max(before.max(), after.max()))):
            left, right = at[before >= apart] - apart, at[after >= apart]
            one = np.concatenate([left, right[~is_asked[right + apart]]]) - begin
            other = one + apart
            near = _bits_apart(hashes, one, other) <= NUM_FRAMES * bounds.bits
            if near.any():
                first, second = near_by[one[near]], near_by[other[near]]
                near = _apart(signatures, first, second, bounds) <= 1
                first, second = first[near], second[near]
                yield np.minimum(first, second), np.maximum(first, second)


def _turned(hashes: NDArray[np.uint64], bits: np.uint64) -> NDArray[np.uint64]:
    """Hashes with other bits first."""
    if not bits:
        return hashes
    return (hashes << bits) | (hashes >> (np.uint64(64) - bits))


def _apart(
    signatures: Stacked, first: Places, second: Places, bounds: NearDuplicates
) -> NDArray[np.float32]:
    colours = signatures.colours
    bits = _bits_apart(signatures.hashes, first, second)
    light = np.abs(colours[first].astype(np.int16) - colours[second]).mean((-3, -2, -1))
    mean_bits = np.asarray(bits / NUM_FRAMES, np.float32) / np.float32(bounds.bits)
    return np.asarray(mean_bits + light / bounds.colour, np.float32)


def _bits_apart(hashes: NDArray[np.uint64], first: Places, second: Places) -> NDArray[np.uint64]:
    """How many bits of all frames differ, of hashes [N, 8]."""
    # `take` copies rows several times faster than an index.
    differ = hashes.take(first, axis=0) ^ hashes.take(second, axis=0)
    counts = np.bitwise_count(differ).view(np.uint64)[:, 0]
    # The eight bytes of a number are added up within it: `sum` takes five times as long.
    low = np.uint64(0x00FF00FF00FF00FF)
    halves = (counts & low) + (counts >> np.uint64(8) & low)
    return np.asarray(halves * np.uint64(0x0001000100010001) >> np.uint64(48))


def _groups(first: Places, second: Places, num: int) -> list[Places]:
    """Clips that pairs hold together, three or more."""
    label = np.arange(num)
    while True:  # each takes the least label of its pairs, until none changes
        before = label.copy()
        np.minimum.at(label, first, label[second])
        np.minimum.at(label, second, label[first])
        label = label[label]
        if np.array_equal(label, before):
            break
    members = np.unique(np.concatenate([first, second]))
    order = members[np.argsort(label[members], kind="stable")]
    cuts = np.flatnonzero(np.diff(label[order])) + 1
    return [group for group in np.split(order, cuts) if len(group) > 2]


def _within(signatures: Stacked, group: Places, bounds: NearDuplicates) -> Places:
    """The pairs of a group, as first * N + second."""
    group = np.sort(group)
    some = Stacked(signatures.hashes[group], signatures.colours[group])
    found = [np.empty(0, np.int64)]
    for place in range(len(group)):
        first, second = _of_one(some, place, bounds)
        found.append(group[first] * len(signatures.hashes) + group[second])
    return np.concatenate(found)
