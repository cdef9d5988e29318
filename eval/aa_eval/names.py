"""Names with a meaning in results: protocols, values of keypoints, trivial baselines."""

from __future__ import annotations

from typing import Literal

DEFAULT_PROTOCOL = "aa-clean-v2"
CROSS_PROTOCOL = "aa-cross-v1"  # the default without true frames
# with keypoints; not part of a protocol
POSE_BETTER: dict[str, Literal["higher", "lower"]] = {
    "pck": "higher", "akd": "lower", "missing_rate": "lower", "limb_angle": "lower",
}  # fmt: skip
REPEATED = "repeat-reference"
STATIC = "static"
STATIC_OF = f"{STATIC} of "  # how a result names a method's own still baseline
