"""What is in shards, in numbers: read it before a training starts on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from aa_datasets.command_line import counted
from aa_datasets.pose import BODY, FACE, LEFT_HAND, RIGHT_HAND
from aa_datasets.shards import ShardSample

if TYPE_CHECKING:
    import pandas as pd

_PARTS = {"body": BODY, "left hand": LEFT_HAND, "right hand": RIGHT_HAND, "face": FACE}


def clips_frame(samples: Iterable[ShardSample]) -> pd.DataFrame:
    """Tabulate clips: one row each, with the fields of `Clip`.

    Further columns: `video_bytes`, `length_s`, and per part of the body ("body", "left hand",
    "right hand", "face") the share of its joints that are present, in [0, 1].

    Example:
        >>> clips_frame(read_shards("corpus")).groupby("licence").length_s.sum()
    """
    import pandas as pd

    return pd.DataFrame(
        {
            **dataclasses.asdict(sample.clip),
            "video_bytes": len(sample.mp4),
            "length_s": sample.clip.num_frames / sample.clip.fps,
            **{part: (sample.pose.scores[:, joints] > 0).mean() for part, joints in _PARTS.items()},
        }
        for sample in samples
    )


def describe(clips: pd.DataFrame, num_frames: int) -> Iterator[str]:
    """Yield the lines of `aa-datasets stats`.

    Args:
        clips: of `clips_frame`.
        num_frames: of the window that training takes, at stride 1.
    """
    if clips.empty:
        yield "0 clips"
        return
    frames = clips.num_frames.sum()
    yield _amount(clips)
    for split, some in clips.groupby("split"):
        yield f"split {split}: {_amount(some)}"
    yield f"length in s: {_spread(clips.length_s)}"
    yield f"length in frames: {_spread(clips.num_frames)}"
    short = (clips.num_frames < num_frames).sum()
    shorter = f"shorter than a window of {num_frames} frames"
    yield f"{shorter}: {counted(short, 'clip')}, which stage 2 leaves out"
    yield f"frames per second: {_shares(clips.fps.map('{:g}'.format))}"
    yield f"width x height: {_shares(clips.size_hw.map(lambda hw: f'{hw[1]}x{hw[0]}'))}"
    video_bytes = clips.video_bytes.sum()
    yield f"video: {video_bytes} bytes, {video_bytes / frames:.0f} a frame"
    present = {part: (clips[part] * clips.num_frames).sum() / frames for part in _PARTS}
    yield f"joints present: {', '.join(f'{p} {100 * share:.1f} %' for p, share in present.items())}"
    yield f"poses from: {_shares(clips.pose_from)}"
    yield f"synthetic: {clips.synthetic.sum()} of {len(clips)} clips"
    yield f"with text laid over: {clips.text_px.map(bool).sum()} of {len(clips)} clips"
    yield f"licences: {_shares(clips.licence)}"


def _amount(clips: pd.DataFrame) -> str:
    return (
        f"{counted(len(clips), 'clip')} of {counted(clips.source_id.nunique(), 'source')}, "
        f"{clips.num_frames.sum()} frames, {clips.length_s.sum():.1f} s"
    )


def _spread(values: pd.Series[float]) -> str:
    return f"{values.min():.4g} to {values.max():.4g}, median {values.median():.4g}"


def _shares(values: pd.Series[str]) -> str:
    counts = values.value_counts(sort=True)
    return ", ".join(f"{value} ({counted(number, 'clip')})" for value, number in counts.items())
