"""What is in shards, in numbers: what to look at before a training is started on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from aa_datasets.clip import Clip
from aa_datasets.pose import BODY, FACE, LEFT_HAND, RIGHT_HAND
from aa_datasets.shards import ShardSample

_PARTS = {"body": BODY, "left hand": LEFT_HAND, "right hand": RIGHT_HAND, "face": FACE}


@dataclass
class Stats:
    """Sums over clips.

    Attributes:
        clips: their records.
        video_bytes: of all mp4s.
        present: how many joints of each part of the body are there, over all frames.
    """

    clips: list[Clip] = field(default_factory=list)
    video_bytes: int = 0
    present: Counter[str] = field(default_factory=Counter)

    @property
    def num_frames(self) -> int:
        return sum(clip.num_frames for clip in self.clips)


def count(samples: Iterable[ShardSample]) -> Stats:
    """Count clip by clip; holds their records and no pixels."""
    stats = Stats()
    for sample in samples:
        stats.clips.append(sample.clip)
        stats.video_bytes += len(sample.mp4)
        for part, joints in _PARTS.items():
            stats.present[part] += int((sample.pose.scores[:, joints] > 0).sum())
    return stats


def describe(stats: Stats, num_frames: int) -> Iterator[str]:
    """The lines of `aa-datasets stats`.

    Args:
        num_frames: of the window that training takes, at stride 1.
    """
    clips = stats.clips
    if not clips:
        yield "0 clips"
        return
    yield _amount(clips)
    per_split: dict[str, list[Clip]] = {}
    for clip in clips:
        per_split.setdefault(clip.split, []).append(clip)
    for split, some in sorted(per_split.items()):
        yield f"split {split}: {_amount(some)}"
    yield f"length in s: {_spread([c.num_frames / c.fps for c in clips])}"
    yield f"length in frames: {_spread([c.num_frames for c in clips])}"
    short = sum(c.num_frames < num_frames for c in clips)
    yield f"shorter than a window of {num_frames} frames: {short} clips, which stage 2 leaves out"
    yield f"frames per second: {_shares(f'{c.fps:g}' for c in clips)}"
    yield f"width x height: {_shares(f'{c.size_hw[1]}x{c.size_hw[0]}' for c in clips)}"
    yield f"video: {stats.video_bytes} bytes, {stats.video_bytes / stats.num_frames:.0f} a frame"
    shares = {
        part: stats.present[part] / (stats.num_frames * (joints.stop - joints.start))
        for part, joints in _PARTS.items()
    }
    yield f"joints present: {', '.join(f'{p} {100 * share:.1f} %' for p, share in shares.items())}"
    yield f"poses from: {_shares(c.pose_from for c in clips)}"
    yield f"synthetic: {sum(c.synthetic for c in clips)} of {len(clips)} clips"
    yield f"with text laid over: {sum(bool(c.text_px) for c in clips)} of {len(clips)} clips"
    yield f"licences: {_shares(c.licence for c in clips)}"


def _amount(clips: Sequence[Clip]) -> str:
    frames = sum(clip.num_frames for clip in clips)
    seconds = sum(clip.num_frames / clip.fps for clip in clips)
    sources = len({clip.source_id for clip in clips})
    return f"{len(clips)} clips of {sources} sources, {frames} frames, {seconds:.1f} s"


def _spread(values: Sequence[float]) -> str:
    low, middle, high = np.quantile(values, (0, 0.5, 1))
    return f"{low:.4g} to {high:.4g}, median {middle:.4g}"


def _shares(values: Iterable[str]) -> str:
    return ", ".join(f"{value} ({number} clips)" for value, number in Counter(values).most_common())
