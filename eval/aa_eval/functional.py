"""The metrics as plain functions of arrays, for a notebook or another tool.

Frames are uint8 [T, H, W, 3] RGB with levels 0 to 255; both sides have the same shape. Image
metrics return float64 [T], one value per frame. Averages, intervals, the reference frame and
everything else that a published number depends on is in a protocol: see `aa_eval.evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import ProtocolError
from aa_eval.features.networks import NETWORKS
from aa_eval.metrics.frechet import frechet_distance
from aa_eval.metrics.kvd import kernel_distance_of_videos
from aa_eval.metrics.l1 import l1
from aa_eval.metrics.psnr import psnr, psnr_uint8_overflow
from aa_eval.metrics.ssim import ssim_colour_gaussian as ssim
from aa_eval.metrics.ssim import ssim_grey_uniform7
from aa_eval.metrics.temporal import flicker
from aa_eval.names import DEFAULT_PROTOCOL
from aa_eval.protocol import read_protocol
from aa_eval.scoring.feature_windows import WindowFeatures, needed_windows
from aa_eval.statistics import stacked

if TYPE_CHECKING:
    from torch import Tensor

    from aa_eval.metrics.lpips import LPIPS

__all__ = [
    "flicker", "fvd", "kvd", "l1", "lpips", "psnr", "psnr_uint8_overflow", "ssim",
    "ssim_grey_uniform7",
]  # fmt: skip

Frames = NDArray[np.uint8]
Values = NDArray[np.float64]


def lpips(
    prediction: Frames,
    reference: Frames,
    net: Literal["alex", "vgg"] = "alex",
    input_range: Literal["-1..1", "0..1"] = "-1..1",
    device: str = "cpu",
) -> Values:
    """LPIPS 0.1 per frame, 0 and more, lower is better (Zhang et al. 2018).

    Args:
        prediction, reference: uint8 [T, H, W, 3].
        net: backbone.
        input_range: "-1..1" as the network was trained; "0..1" as in DisCo's script, whose values
            are not comparable.

    Raises:
        WeightsUnavailable: `aa-eval weights` says what to install.
        MetricUnavailable: frames are too small for the backbone.
        PairingError: the shapes differ.

    Example:
        >>> import numpy as np
        >>> frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        >>> lpips(frames, frames)
        array([0., 0.])
    """
    from aa_eval.metrics.lpips import lpips_per_frame

    return lpips_per_frame(_lpips_model(net, device), prediction, reference, input_range)


def fvd(
    predictions: Sequence[Frames],
    references: Sequence[Frames],
    protocol: str = DEFAULT_PROTOCOL,
    device: str = "cpu",
) -> float:
    """Fréchet video distance of two sets of videos, 0 and more, lower is better.

    Args:
        predictions, references: videos, uint8 [T, H, W, 3] each, of any length and size; the two
            sets need not have the same number of videos.
        protocol: whose network, windows and resize are used.

    Raises:
        MetricUnavailable: fewer than 2 windows of frames on a side.
        WeightsUnavailable: the network's weight is missing or altered.
    """
    spec = read_protocol(protocol).video_features
    unbiased = spec is None or spec.unbiased_covariance
    ours, theirs = (_features(side, protocol, device) for side in (predictions, references))
    return frechet_distance(np.concatenate(ours), np.concatenate(theirs), unbiased)


def kvd(
    predictions: Sequence[Frames],
    references: Sequence[Frames],
    protocol: str = DEFAULT_PROTOCOL,
    device: str = "cpu",
) -> float:
    """Kernel video distance of predictions and their references, lower is better.

    Binkowski et al. 2018, over pairs of windows of different videos: see
    `aa_eval.metrics.kvd.kernel_distance_of_videos`. Unbiased, so that it may be negative.
    Arguments and errors as of `fvd`; predictions[i] is the prediction of references[i].
    """
    sides = (_features(side, protocol, device) for side in (predictions, references))
    ours, theirs = (stacked(list(enumerate(side))) for side in sides)
    return kernel_distance_of_videos(ours[0], theirs[0], ours[1], theirs[1])


@cache
def _lpips_model(net: Literal["alex", "vgg"], device: str) -> LPIPS:
    from aa_eval.metrics.lpips import make_lpips

    return make_lpips(net, device)


@cache
def _network(protocol: str, device: str) -> Callable[[Tensor], Tensor]:
    spec = read_protocol(protocol).video_features
    assert spec is not None  # _features has seen to it
    return NETWORKS[spec.net].make(spec, device)


def _features(videos: Sequence[Frames], protocol: str, device: str) -> list[Values]:
    """The vectors [windows, d] of each video."""
    spec = read_protocol(protocol).video_features
    if spec is None or spec.window_rule != "stride":
        raise ProtocolError(
            f"protocol {protocol}: has no windows of its own: choose {DEFAULT_PROTOCOL}"
        )
    found = []
    for frames in videos:
        windows = needed_windows(spec, "", range(len(frames)), is_reference=False)
        stream = WindowFeatures(spec, lambda: _network(protocol, device), windows, device)
        stream.push(frames)
        found.append(stream.finish())
    return found
