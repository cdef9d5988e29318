"""What FVD and KVD are computed from, as a protocol states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class VideoFeatures:
    """How FVD and KVD turn a video into vectors: one per window of frames.

    Attributes:
        net: a key of `aa_eval.features.networks.NETWORKS`.
        bn_eps, pool_frames: epsilon of its batch normalisation, and frames of its last average pool
            (2 in the network that was trained, 1 in DisCo's copy).
        window_rule: "stride": every window, at `window_stride`. "random-reference": one window a
            video, the prediction's first and a random one of the reference, sampled `runs` times;
            the value is the mean over the runs (StyleGAN-V and its copies). "whole": each video is
            one window, whatever its length. "prefixes": the first `window_frames` frames, the
            first `window_frames` + 1, ... up to the whole video.
        window_frames, window_stride: in frames; windows never cross a gap in the numbering (but
            "whole" and "prefixes" do not look at it), and what is left at a video's end is not
            scored. 0 under "whole".
        runs: 1 under "stride".
        resize, size_hw: a key of `aa_eval.resize.RESIZES`, and its target; then x / 127.5 - 1.
        unbiased_covariance: divide by N - 1 (True) or N.
        fit_first: bring both sides to one size by the protocol's `size_mismatch_resize` before.
        reencode: a lossy round trip of each video before, see `aa_eval.videos.reencode`.
    """

    net: str
    bn_eps: float
    pool_frames: int
    window_rule: Literal["stride", "random-reference", "whole", "prefixes"]
    window_frames: int
    window_stride: int
    runs: int
    resize: str
    size_hw: tuple[int, int]
    unbiased_covariance: bool
    fit_first: bool = False
    reencode: Literal["none", "x264-crf23-3fps-3threads"] = "none"
