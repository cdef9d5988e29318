"""Windows cover every frame once in the end; EDGE's merge against ten lines of numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aa_model.errors import ModelError
from aa_model.networks.windows import (
    average,
    copy_overlaps,
    cut,
    make_windows,
    make_wrapped_windows,
    stitch,
)


@given(T=st.integers(1, 200), window=st.integers(1, 30), share=st.floats(0, 0.99))
def test_windows_cover_every_frame_in_order_without_wrapping(
    T: int, window: int, share: float
) -> None:
    windows = make_windows(T, window, int(share * window))
    assert windows[0].start == 0
    assert windows[-1].stop == T
    assert {len(w) for w in windows} == {min(T, window)}
    for before, after in pairwise(windows):
        assert before.start < after.start <= before.stop
    assert set().union(*windows) == set(range(T))


@given(T=st.integers(1, 100), window=st.integers(2, 24))
def test_windows_of_one_video_merge_back_to_it(T: int, window: int) -> None:
    video = torch.arange(float(T))[:, None].expand(T, 3) + torch.tensor([0.0, 0.5, 0.25])
    windows = make_windows(T, window)
    assert torch.allclose(stitch(cut(video, windows), windows), video)
    assert torch.allclose(average(cut(video, windows), windows), video)
    assert torch.equal(copy_overlaps(cut(video, windows), windows), cut(video, windows))


@settings(max_examples=30)
@given(count=st.integers(2, 5), half=st.integers(1, 6), seed=st.integers(0, 9))
def test_edge_merge_equals_numpy(count: int, half: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(count, 2 * half, 4))
    windows = make_windows((count + 1) * half, 2 * half, half)
    assert len(windows) == count

    copied = x.copy()
    copied[1:, :half] = x[:-1, half:]
    found = copy_overlaps(torch.from_numpy(x.copy()), windows)
    assert np.array_equal(found.numpy(), copied)

    fade = np.linspace(0, 1, half)[:, None]
    expected = [x[0, :half]]
    for before, after in pairwise(x):
        expected.append(before[half:] * (1 - fade) + after[:half] * fade)
    expected.append(x[-1, half:])
    assert np.allclose(stitch(torch.from_numpy(x), windows).numpy(), np.concatenate(expected))


@given(T=st.integers(1, 80), window=st.integers(2, 12), share=st.floats(0, 0.99))
def test_after_the_copy_all_windows_agree_on_every_frame(T: int, window: int, share: float) -> None:
    """Also where the last window, anchored at the end, overlaps more than one other."""
    windows = make_windows(T, window, int(share * window))
    latents = torch.arange(float(len(windows) * len(windows[0]))).view(len(windows), -1, 1)
    copied = copy_overlaps(latents, windows)[..., 0].tolist()
    found: dict[int, set[float]] = {}
    for row, frames in zip(copied, windows, strict=True):
        for value, frame in zip(row, frames, strict=True):
            found.setdefault(frame, set()).add(value)
    assert all(len(values) == 1 for values in found.values())


@given(T=st.integers(1, 60), window=st.integers(2, 12))
def test_mean_counts_how_many_windows_see_a_frame(T: int, window: int) -> None:
    windows = make_windows(T, window)
    rows = torch.stack([torch.full((len(windows[0]), 1), float(i)) for i in range(len(windows))])
    found = average(rows, windows)[:, 0]
    for t in range(T):
        seen_by = [i for i, w in enumerate(windows) if t in w]
        assert found[t] == pytest.approx(sum(seen_by) / len(seen_by))


def test_wrapped_windows_are_moores() -> None:
    """As its `uniform` scheduler gave them at commit a914ef3, closed loop, stride 1."""
    found = make_wrapped_windows(30, 24, 4)
    assert [list(w) for w in found] == [[*range(24)], [*range(20, 30), *range(14)]]
    found = make_wrapped_windows(30, 12, 4)
    assert [w[0] for w in found] == [0, 8, 16, 24]
    assert list(found[-1]) == [*range(24, 30), *range(6)]
    assert make_wrapped_windows(8, 24, 4) == (range(8),)
    video = torch.arange(30.0)[:, None]
    assert torch.equal(average(cut(video, found), found), video)


@pytest.mark.parametrize(("T", "window", "overlap"), [(0, 8, 4), (5, 8, 8), (5, 0, 0)])
def test_windows_without_frames_or_progress_are_refused(T: int, window: int, overlap: int) -> None:
    with pytest.raises(ModelError, match="expected at least one frame"):
        make_windows(T, window, overlap)


@pytest.mark.parametrize(
    ("T", "window", "overlap", "starts"),
    [
        (20, 8, None, [0, 6, 12]),
        (20, 7, None, [0, 6, 12, 13]),  # an overlap of 7 // 4
        (21, 8, None, [0, 6, 12, 13]),
        (20, 8, 4, [0, 4, 8, 12]),
        (20, 8, 0, [0, 8, 12]),
        (16, 8, 0, [0, 8]),
        (9, 8, None, [0, 1]),
        (8, 8, None, [0]),
    ],
)
def test_there_are_no_more_windows_than_it_takes(
    T: int, window: int, overlap: int | None, starts: list[int]
) -> None:
    assert [w.start for w in make_windows(T, window, overlap)] == starts


def test_wrapped_windows_overlap_by_a_quarter_unless_told() -> None:
    assert [w[0] for w in make_wrapped_windows(30, 12)] == [0, 9, 18, 27]
    with pytest.raises(ModelError, match="5 frames in windows of 8 overlapping by -1: expected"):
        make_windows(5, 8, -1)
