"""The tables of a result folder: values per video and per frame, and the worst frames."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aa_eval.result import Result
from aa_leaderboard.columns import column_of
from aa_leaderboard.errors import SubmissionError

if TYPE_CHECKING:
    import pandas as pd

PER_FRAME_FILE = "per_frame.csv"
PER_VIDEO_FILE = "per_video.csv"
MAX_BYTES = 128 * 2**20  # 100 videos of 350 frames are about 5 MB
# Frames of one video that are nearer than this show one failure, not two.
APART_FRAMES = 8


@dataclass(frozen=True, slots=True)
class WorstFrame:
    """One frame: `position` from 0 among the `of` compared frames of its video."""

    video: str
    number: int
    position: int
    of: int
    value: float


def worst_frames(
    frames: pd.DataFrame, key: str, better: Literal["higher", "lower"], count: int
) -> list[WorstFrame]:
    """The `count` worst frames by one metric, worst first.

    A frame nearer than APART_FRAMES to a worse one of its video is left out.

    Args:
        frames: from `read_frame_scores`.
    """
    of_video = frames.groupby("video", sort=False)["frame"]
    places = frames.assign(position=of_video.cumcount(), of=of_video.transform("size"))
    order = places.dropna(subset=[key]).sort_values(
        [key, "video", "position"], ascending=[better == "higher", True, True]
    )
    found: list[WorstFrame] = []
    for video, number, position, of, value in order[
        ["video", "frame", "position", "of", key]
    ].itertuples(index=False, name=None):
        near = (f for f in found if f.video == video and abs(f.position - position) < APART_FRAMES)
        if not any(near):
            found.append(WorstFrame(video, int(number), int(position), int(of), float(value)))
        if len(found) == count:
            break
    return found


def read_frame_scores(directory: Path, result: Result) -> pd.DataFrame | None:
    """The per_frame.csv of a result folder: video, frame, and a float column a metric.

    Frames stand in the order in which they were compared; NaN where one was not scored. Whether
    the numbers are those of `result`, `cross_check` asks.

    Returns:
        None where the folder has no such file.

    Raises:
        SubmissionError: the file is not what `aa-eval --out` writes, or a value is implausible.
    """
    return _read_table(directory / PER_FRAME_FILE, ("video", "frame"), result)


def read_video_scores(directory: Path, result: Result) -> pd.DataFrame | None:
    """The per_video.csv of a result folder, as `read_frame_scores` reads the other table."""
    return _read_table(directory / PER_VIDEO_FILE, ("video",), result)


def _read_table(path: Path, first: tuple[str, ...], result: Result) -> pd.DataFrame | None:
    import pandas as pd  # takes half a second

    if not path.exists():
        return None
    if not path.is_file():
        raise SubmissionError(f"{path}: not a file: run aa-eval again")
    if path.stat().st_size > MAX_BYTES:
        raise SubmissionError(f"{path}: larger than {MAX_BYTES >> 20} MiB: not written by aa-eval")
    try:
        texts = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, pd.errors.ParserError) as error:  # of letters, of an empty file, of fields
        reason = " ".join(str(error).split())[:200]
        raise SubmissionError(f"{path}: not a table ({reason}): run aa-eval again") from error
    frame, problem = _numbers(texts, first, result.metrics.keys(), result.per_video.keys())
    if problem:
        raise SubmissionError(f"{path}: {problem}: run aa-eval again")
    return frame


def _numbers(
    texts: pd.DataFrame, first: tuple[str, ...], known: Collection[str], videos: Collection[str]
) -> tuple[pd.DataFrame, str]:
    """The table with numbers for texts, and what is wrong with it ("" if nothing is)."""
    head = texts.iloc[0].astype(str).tolist()
    keys = head[len(first) :]
    table = texts.iloc[1:].set_axis(head, axis="columns").reset_index(drop=True)
    if tuple(head[: len(first)]) != first or len(set(keys)) < len(keys):
        return table, f"its first line is {','.join(head)!r:.80}, expected {','.join(first)},METRIC"
    if unknown := sorted(set(keys) - set(known)):
        return table, f"column {unknown[0]!r:.80}, which the result does not have"
    for line, values in enumerate(zip(*(table[name] for name in first), strict=True), start=2):
        if values[0] not in videos:
            return table, f"line {line}: {values[0]!r:.80}, a video that the result does not score"
        if len(first) > 1 and not (values[1].isdecimal() and len(values[1]) < 10):
            return table, f"line {line}: frame is {values[1]!r:.40}, expected a number"
    for key in keys:
        column, numbers = column_of(key), []
        for line, text in enumerate(table[key], start=2):
            try:
                numbers.append(float(text) if text else float("nan"))
            except ValueError:
                return table, f"line {line}: {key} is {text!r:.40}, expected a number"
            if text and not column.low <= numbers[-1] <= column.high:
                expected = f"{column.low:g} to {column.high:g}"
                return table, f"line {line}: {key} is {text!s:.40}, expected {expected}"
        table[key] = numbers
    return table.astype({"frame": int}) if len(first) > 1 else table, ""
