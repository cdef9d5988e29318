"""FrameScores: what `aa-eval` found in every single frame, and the frames that are worst."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aa_eval.result import Result
from aa_leaderboard.columns import column_of
from aa_leaderboard.errors import SubmissionError

PER_FRAME_FILE = "per_frame.csv"
MAX_BYTES = 128 * 2**20  # 100 videos of 350 frames are about 5 MB
# Frames of one video that are nearer than this show one failure, not two.
APART_FRAMES = 8


@dataclass(frozen=True, slots=True)
class FrameScores:
    """Values per frame, of every video in the order in which its frames were compared.

    Attributes:
        numbers: video id -> the frames' numbers, as `aa-eval` calls them.
        values: metric key -> video id -> value of each frame; NaN where it was not scored.
    """

    numbers: dict[str, list[int]]
    values: dict[str, dict[str, list[float]]]


@dataclass(frozen=True, slots=True)
class WorstFrame:
    """One frame: `position` from 0 among the `of` compared frames of its video."""

    video: str
    number: int
    position: int
    of: int
    value: float


def worst_frames(
    scores: FrameScores, key: str, better: Literal["higher", "lower"], count: int
) -> list[WorstFrame]:
    """The `count` worst frames by one metric, worst first.

    A frame nearer than APART_FRAMES to a worse one of its video is left out.
    """
    sign = 1 if better == "higher" else -1
    order = sorted(
        (sign * value, video, position)
        for video, values in scores.values[key].items()
        for position, value in enumerate(values)
        if not math.isnan(value)
    )
    found: list[WorstFrame] = []
    for signed, video, position in order:
        near = (f for f in found if f.video == video and abs(f.position - position) < APART_FRAMES)
        if any(near):
            continue
        numbers = scores.numbers[video]
        frame = WorstFrame(video, numbers[position], position, len(numbers), sign * signed)
        found.append(frame)
        if len(found) == count:
            break
    return found


def read_frame_scores(directory: Path, result: Result) -> FrameScores | None:
    """The per_frame.csv of a result folder; None where there is none.

    Whether its numbers are those of `result`, `agreement` asks.

    Raises:
        SubmissionError: the file is not what `aa-eval --out` writes, or a value is not plausible.
    """
    path = directory / PER_FRAME_FILE
    if not path.exists():
        return None
    require_table_file(path)
    scores = FrameScores({}, {})
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for problem in _fill(scores, csv.reader(file, strict=True), result):
                raise SubmissionError(f"{path}: {problem}: run aa-eval again")
    except (UnicodeDecodeError, csv.Error) as error:
        raise SubmissionError(f"{path}: not a table ({error}): run aa-eval again") from error
    return scores


def require_table_file(path: Path) -> None:
    """Refuse what is no file, or larger than a table of `aa-eval` ever is."""
    if not path.is_file():
        raise SubmissionError(f"{path}: not a file: run aa-eval again")
    if path.stat().st_size > MAX_BYTES:
        raise SubmissionError(f"{path}: larger than {MAX_BYTES >> 20} MiB: not written by aa-eval")


def _fill(scores: FrameScores, lines: Iterator[list[str]], result: Result) -> Iterator[str]:
    """Read the lines into `scores`; yields what is wrong with the first that cannot be read."""
    head = next(lines, [])
    keys = head[2:]
    if head[:2] != ["video", "frame"] or len(set(keys)) < len(keys):
        yield f"its first line is {','.join(head)!r:.80}, expected video,frame,METRIC,..."
        return
    if unknown := sorted(set(keys) - result.metrics.keys()):
        yield f"column {unknown[0]!r:.80}, which the result does not have"
        return
    columns = [column_of(key) for key in keys]
    for number, line in enumerate(lines, start=2):
        if len(line) != len(head):
            yield f"line {number} has {len(line)} fields, expected {len(head)}"
            return
        if line[0] not in result.per_video:
            yield f"line {number}: {line[0]!r:.80}, a video that the result does not score"
            return
        try:
            frame = int(line[1])
            values = [float(text) if text else math.nan for text in line[2:]]
        except ValueError:
            yield f"line {number} holds something that is no number"
            return
        scores.numbers.setdefault(line[0], []).append(frame)
        for column, text, value in zip(columns, line[2:], values, strict=True):
            if text and not column.low <= value <= column.high:
                yield (
                    f"line {number}: {column.key} is {text!s:.40}, expected {column.low:g} to "
                    f"{column.high:g}"
                )
                return
            scores.values.setdefault(column.key, {}).setdefault(line[0], []).append(value)
