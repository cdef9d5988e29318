"""Time stamps of a video file: whether its frames come at a steady rate, and up to its end."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, BinaryIO

from aa_eval.errors import VideoError


def require_end(name: str, file: BinaryIO, container: Any, times_s: list[float]) -> None:
    """Refuse a file that stops early, of the formats that do not count their frames in advance.

    Args:
        name: what errors call the file.
        file: its bytes; the read position is moved.
        container: the same file, opened by PyAV.
        times_s: presentation times of its frames, ascending.

    Raises:
        VideoError: a GIF without its end, or a Matroska or WebM shorter than its header says.
    """
    stream = container.streams.video[0]
    if container.format.name == "gif":
        file.seek(-1, 2)
        if file.read(1) != b";":
            raise VideoError(f"{name}: truncated: a GIF ends in ';'; write it again")
    written = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if written and times_s:  # FFmpeg's tag in Matroska and WebM; includes the last frame's time
        hours, minutes, seconds = (float(part) for part in written.groups())
        end_s = 3600 * hours + 60 * minutes + seconds
        step_s = (times_s[-1] - times_s[0]) / max(len(times_s) - 1, 1)
        if end_s > times_s[-1] + 2.5 * max(step_s, 1e-3):
            raise VideoError(
                f"{name}: truncated: its header promises {end_s:g} s, the last frame is at "
                f"{times_s[-1]:g} s; write it again"
            )


def is_steady(times_s: list[float]) -> bool:
    """Whether no frame lasts far longer or shorter than the middle one.

    GIF counts in 1/100 s and Matroska in 1/1000 s: 30 fps are 3, 3 and 4 there.
    """
    steps = sorted(after - before for before, after in pairwise(times_s))
    middle = steps[len(steps) // 2] if steps else 0.0
    return not steps or (steps[0] > 0.6 * middle and steps[-1] < 1.6 * middle)
