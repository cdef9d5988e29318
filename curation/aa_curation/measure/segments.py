"""A long video's pictures, measured in segments at a time, each decoded by a process of its own."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from aa_curation.measure.frame_stats import Picture, PictureMeter, cropped_planes
from aa_datasets.errors import KilledDecodeError, VideoError
from aa_datasets.video.foreign import DecodeLimits, VideoInfo, iter_survey_frames

SEGMENT_S = 60.0  # or longer: each decodes a few seconds before it, too


def picture_in_segments(
    path: Path,
    info: VideoInfo,
    processes: int,
    limits: DecodeLimits,
    *,
    crop_px: tuple[int, int, int, int] | None = None,
    max_side_px: int | None = None,
    span_s: tuple[float, float] | None = None,
) -> Picture | None:
    """Measure a video as one decode from its start would, to the last digit.

    Args:
        processes: how many segments are decoded at a time.
        span_s: only this part of the video.

    Returns:
        None where the video is short, or in doubt: a segment cannot be read, times do not rise, or
        the frames are not as many as the header says. Then one decode has the word.

    Raises:
        KilledDecodeError: a decoder took too long, or the system killed it.
    """
    start_s, end_s = span_s or (0.0, math.inf)
    count = min(processes, int((min(end_s, info.duration_s) - start_s) // SEGMENT_S))
    if count < 2:
        return None
    inner_s = np.linspace(start_s, min(end_s, info.duration_s), count + 1)[1:-1].tolist()
    # Where a jump goes astray, all that lies before a segment is decoded, too.
    longest_s = max(limits.total_s, limits.s_per_video_s * info.duration_s)
    limits = dataclasses.replace(limits, total_s=longest_s)

    def measure(span_s: tuple[float, float]) -> Picture:
        """With the first frame of the next segment: what changed since the last is known here."""
        meter = PictureMeter()
        first_s, next_s = span_s
        frames = iter_survey_frames(
            path, limits, max_side_px=max_side_px, start_s=first_s, end_s=end_s
        )
        with closing(frames):
            for frame in frames:
                planes = frame.planes if crop_px is None else cropped_planes(frame.planes, crop_px)
                meter.see(planes, frame.time_s, frame.is_combed)
                if frame.time_s >= next_s:
                    break
        return meter.picture()

    with ThreadPoolExecutor(count) as pool:
        try:
            spans_s = itertools.pairwise([start_s, *inner_s, math.inf])
            picture = _joined(list(pool.map(measure, spans_s)))
        except KilledDecodeError:
            raise
        except VideoError:
            return None
    if picture is None or np.any(np.diff(picture.times_s) <= 0):
        return None
    counted = span_s is None and info.num_frames_claimed
    return None if counted and picture.num_frames != counted else picture


def _joined(parts: Sequence[Picture]) -> Picture | None:
    """Each part but the last ends with the frame that the next begins with."""
    if any(part.num_frames < 2 for part in parts):
        return None
    if any(one.times_s[-1] != other.times_s[0] for one, other in itertools.pairwise(parts)):
        return None
    if len({part.brightest.shape for part in parts}) > 1:
        return None
    first, *others = parts
    merged = {
        name: np.concatenate([getattr(first, name), *(getattr(part, name)[1:] for part in others)])
        for name in ("times_s", "change", "sharpness", "brightness", "camera", "combed")
    }
    return Picture(**merged, brightest=np.maximum.reduce([part.brightest for part in parts]))
