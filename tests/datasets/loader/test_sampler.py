"""The order of clips alone, without pictures: many worlds, in little time."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from aa_datasets.loader.sampler import Draw, Draws, Order, Shuffle

worlds = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(0, 12))  # ranks, batch, steps


def _take(seed: int, clips: int, world: tuple[int, int, int], start: int) -> list[list[list[Draw]]]:
    """[step][rank] -> that rank's batch."""
    ranks, batch_size, steps = world
    order = Order(Shuffle(seed), [clips])
    samplers = [iter(Draws(order, batch_size, rank, ranks, start)) for rank in range(ranks)]
    return [[next(sampler) for sampler in samplers] for _ in range(steps)]


@settings(max_examples=200)
@given(
    seed=st.integers(0, 99), clips=st.integers(1, 40), legs=st.lists(worlds, min_size=1, max_size=4)
)
def test_however_often_the_world_changes_the_sequence_is_one(
    seed: int, clips: int, legs: list[tuple[int, int, int]]
) -> None:
    """Elastic resume: legs at different world and batch sizes draw what a lone rank would have."""
    consumed, drawn = 0, []
    for world in legs:
        ranks, batch_size, _ = world
        for step in _take(seed, clips, world, consumed):
            assert [len(batch) for batch in step] == [batch_size] * ranks  # equal on every rank
            drawn += sorted(itertools.chain(*step), key=lambda draw: draw.number)
            consumed += ranks * batch_size
    alone = itertools.chain(*_take(seed, clips, (1, 1, consumed), 0))
    assert drawn == list(itertools.chain(*alone))
    assert [draw.number for draw in drawn] == list(range(consumed))
    counts = Counter(draw.clip for draw in drawn[: consumed - consumed % clips])
    assert set(counts.values()) <= {consumed // clips}  # each clip once in every whole epoch


@given(seed=st.integers(0, 99), clips=st.integers(16, 40))
def test_every_epoch_is_another_order(seed: int, clips: int) -> None:
    drawn = [d.clip for batch in _take(seed, clips, (1, clips, 5), 0) for d in batch[0]]
    epochs = [tuple(drawn[i : i + clips]) for i in range(0, len(drawn), clips)]
    assert len(set(epochs)) == 5
