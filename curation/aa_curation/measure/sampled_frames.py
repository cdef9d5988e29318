"""The frames of a clip that are searched for people, for filters that look at pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SampledFrames:
    """Some frames of a clip, at the middles of equal parts.

    Attributes:
        frames: uint8 RGB [H, W, 3], all of one size.
        weights: the folder of model files that `--weights` names, or None.
    """

    frames: Sequence[NDArray[np.uint8]]
    weights: Path | None = None
