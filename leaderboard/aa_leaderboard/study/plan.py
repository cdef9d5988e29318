"""Which pairs a study shows, on which side, and which of them check attention."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from cyclopts import Parameter

from aa_eval.cli.app import NonNegativeInt, PositiveInt
from aa_leaderboard.errors import StudyError


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How a study is made."""

    out: Path
    """Folder to write to: study.html for the raters, key.json for you."""
    references: Path | None = None
    """Folder of the true videos: each one's first frame is shown as the photo."""
    videos: PositiveInt | None = None
    """How many videos, in the order of their names; without it all."""
    checks: NonNegativeInt = 2
    """Attention checks: pairs of a video and its unmistakably spoilt copy."""
    question: str = "Which video shows the person and the motion better?"
    """What raters are asked."""
    seed: int = 0
    """Of the sides, the checks and the clips' blind names."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One pair of clips of one video.

    Attributes:
        left, right: the methods; equal in an attention check.
        spoilt: the side on which a check shows the spoilt copy; "" in a pair of two methods.
    """

    video: str
    left: str
    right: str
    spoilt: Literal["left", "right", ""] = ""


def plan_trials(
    methods: Sequence[str], videos: Sequence[str], checks: int, seed: int
) -> list[Trial]:
    """Every two methods on every video, and `checks` attention checks.

    Of every two methods each stands left as often as right, or once more. Each rater's page
    mixes the order, and half of the raters see all sides swapped.

    Raises:
        StudyError: fewer than two methods, two of one name, or no video.
    """
    if len(methods) < 2 or len(set(methods)) < len(methods):
        raise StudyError(
            f"methods are {', '.join(methods) or 'none'}: expected two folders or more, of "
            "different names"
        )
    if not videos:
        raise StudyError("the methods' folders have no video in common: nothing to compare")
    draw = random.Random(seed)
    trials = []
    for a, b in combinations(methods, 2):
        swapped = draw.randrange(2)
        for number, video in enumerate(videos):
            left, right = (a, b) if (number + swapped) % 2 == 0 else (b, a)
            trials.append(Trial(video, left, right))
    for number in range(checks):
        method = methods[number % len(methods)]
        side: Literal["left", "right"] = "left" if (number + seed) % 2 else "right"
        trials.append(Trial(draw.choice(videos), method, method, side))
    draw.shuffle(trials)
    return trials
