"""Windows over a long video: which frames are denoised together, and how windows merge.

`edge` is the paper's choice (Sec. 3.3 cites EDGE, Tseng et al. 2023): windows overlap, each has
latents of its own, after every denoising step the overlap is copied from the window before,
and in the end the overlap fades linearly from one to the next. `mean` keeps one latent per frame
and averages the predictions of all windows that see it (MultiDiffusion, as Moore-AnimateAnyone);
`wrapped` does so over windows that go round the end, for Moore-AnimateAnyone's own numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aa_model.errors import ModelError

_SHARED = 4  # neighbouring windows share one in so many frames, unless told


def make_windows(num_frames: int, window: int, overlap: int | None = None) -> tuple[range, ...]:
    """Windows of equal length that cover every frame, each overlapping only its neighbours' ends.

    The last one is anchored at the end, so it may overlap more; nothing wraps round.

    Args:
        window: frames that the network sees at once; fewer if the video is shorter.
        overlap: frames shared with the window before; a quarter of the window unless given: EDGE's
            half costs 1.5 times as much, and looked the same (docs/model_performance.md).

    Raises:
        ModelError: no frames, or an overlap that leaves no progress.
    """
    overlap = window // _SHARED if overlap is None else overlap
    if num_frames < 1 or not 0 <= overlap < window:
        raise ModelError(
            f"{num_frames} frames in windows of {window} overlapping by {overlap}: expected at "
            "least one frame, and an overlap shorter than the window"
        )
    if num_frames <= window:
        return (range(num_frames),)
    hop = window - overlap
    starts = [*range(0, num_frames - window, hop), num_frames - window]
    return tuple(range(start, start + window) for start in starts)


def make_wrapped_windows(
    num_frames: int, window: int, overlap: int | None = None
) -> tuple[Sequence[int], ...]:
    """Windows as Moore-AnimateAnyone lays them: every one full, the last ones ending at the start.

    The first and the last frames then see each other, and 25 frames cost as much as 48; it is here
    so that its numbers can be had. Arguments and errors as of `make_windows`.
    """
    plain = make_windows(num_frames, window, overlap)
    if len(plain) == 1:
        return plain
    hop = window - (window // _SHARED if overlap is None else overlap)
    starts = range(0, num_frames, hop)
    return tuple([frame % num_frames for frame in range(s, s + window)] for s in starts)


def cut(video: Tensor, windows: Sequence[Sequence[int]]) -> Tensor:
    """[T, ...] -> [W, window, ...], one row per window."""
    return video[torch.tensor([list(window) for window in windows])]


def copy_overlaps(latents: Tensor, windows: Sequence[range]) -> Tensor:
    """EDGE's constraint, in place: the head of each window becomes the tail of the one before.

    From the first window on, so that all windows agree on a frame that more than two of them see.
    """
    for i in range(1, len(windows)):
        shared = windows[i - 1].stop - windows[i].start
        if shared > 0:
            latents[i, :shared] = latents[i - 1, -shared:]
    return latents


def stitch(latents: Tensor, windows: Sequence[range]) -> Tensor:
    """One video from windows [W, window, ...]: over an overlap, a linear fade to the later one."""
    video = latents.new_zeros((windows[-1].stop, *latents.shape[2:]))
    done = 0
    for rows, window in zip(latents, windows, strict=True):
        shared = done - window.start
        if shared > 0:
            fade = torch.linspace(0, 1, shared, dtype=latents.dtype, device=latents.device)
            fade = fade.view(-1, *[1] * (rows.dim() - 1))
            head = video[window.start : done] * (1 - fade) + rows[:shared] * fade
            video[window.start : done] = head
        video[done : window.stop] = rows[max(shared, 0) :]
        done = window.stop
    return video


def average(predictions: Tensor, windows: Sequence[Sequence[int]]) -> Tensor:
    """The mean, for each frame, of the predictions [W, window, ...] of the windows that see it."""
    num_frames = 1 + max(max(window) for window in windows)
    total = predictions.new_zeros((num_frames, *predictions.shape[2:]))
    count = predictions.new_zeros(num_frames)
    for rows, window in zip(predictions, windows, strict=True):
        total[list(window)] += rows
        count[list(window)] += 1
    return total / count.view(-1, *[1] * (total.dim() - 1))
