"""Measures: a protocol's metrics made ready to compute, or the reason why they cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from aa_eval.errors import MetricUnavailable, WeightsUnavailable
from aa_eval.features.i3d import I3D, make_i3d
from aa_eval.metrics.frechet import frechet_distance
from aa_eval.metrics.kvd import kernel_distance
from aa_eval.metrics.l1 import l1, l1_per_pixel_count
from aa_eval.metrics.lpips import lpips_per_frame, make_lpips
from aa_eval.metrics.psnr import psnr, psnr_uint8_overflow
from aa_eval.metrics.ssim import ssim_colour_gaussian, ssim_grey_uniform7
from aa_eval.protocol import SET_KINDS, Metric, Protocol, VideoFeatures
from aa_eval.result import MetricValue
from aa_eval.weights import WEIGHTS
from aa_eval.windows import FEATURE_SIZE

Frames = NDArray[np.uint8]
Values = NDArray[np.float64]

_PIXEL_METRICS: dict[str, Callable[[Frames, Frames], Values]] = {
    "l1": l1,
    "l1_per_pixel_count": l1_per_pixel_count,
    "ssim_grey_uniform7": ssim_grey_uniform7,
    "ssim_colour_gaussian": ssim_colour_gaussian,
    "psnr": psnr,
    "psnr_uint8_overflow": psnr_uint8_overflow,
}
# KVD is unbiased at any N, but below this its spread is as large as what it measures.
_FEW_WINDOWS = 50


class Measures:
    """What the given protocols need, each metric and network once however many share it.

    A metric whose weights are missing or altered, or that some frame is too small for, is
    unavailable: `reason` says why; the others go on.

    Attributes:
        frame_metrics: distinct (metric, resize for mismatched sizes); the metric's key is empty,
            since protocols may name it differently.
        networks: of the video features that can be computed.
    """

    def __init__(self, protocols: Sequence[Protocol], device: str) -> None:
        self.networks: dict[VideoFeatures, I3D] = {}
        self._lpips: dict[str, nn.Module] = {}
        self._reasons: dict[Metric | VideoFeatures, str] = {}
        wanted = [
            (self.without_key(metric), protocol.size_mismatch_resize)
            for protocol in protocols
            for metric in protocol.metrics
            if metric.kind not in SET_KINDS
        ]
        self.frame_metrics = list(dict.fromkeys(wanted))
        for metric, _ in self.frame_metrics:
            if metric.net is not None:
                try:
                    if metric.net not in self._lpips:
                        self._lpips[metric.net] = make_lpips(metric.net, device)
                except WeightsUnavailable as error:
                    self._reasons[metric] = str(error)
        for spec in {p.video_features: None for p in protocols}:
            if spec is not None:
                try:
                    self.networks[spec] = make_i3d(spec.bn_eps, device, spec.pool_frames)
                except WeightsUnavailable as error:
                    self._reasons[spec] = str(error)

    @staticmethod
    def without_key(metric: Metric) -> Metric:
        return replace(metric, key="")

    def reason(self, metric: Metric, protocol: Protocol) -> str | None:
        """Why the metric has no value, or None."""
        if metric.kind in SET_KINDS and protocol.video_features is not None:
            return self._reasons.get(protocol.video_features)
        return self._reasons.get(self.without_key(metric))

    def per_frame(
        self, metric: Metric, prediction: Frames, reference: Frames, video_id: str
    ) -> Values | None:
        """The metric per frame, [T]; None once it is unavailable."""
        if metric in self._reasons:
            return None
        try:
            if metric.net is None:
                return _PIXEL_METRICS[metric.kind](prediction, reference)
            assert metric.input_range is not None
            model = self._lpips[metric.net]
            return lpips_per_frame(model, prediction, reference, metric.input_range)
        except MetricUnavailable as error:
            self._reasons[metric] = f"'{video_id}': {error}"
            return None

    def of_set(
        self, metric: Metric, spec: VideoFeatures, prediction: Values, reference: Values
    ) -> MetricValue:
        """FVD or KVD of two sets of features [N, 400]; no interval (see eval/README.md)."""
        count = len(reference)
        if count < 2:
            reason = (
                f"{count} windows of {spec.window_frames} consecutive frames "
                f"(stride {spec.window_stride}): a distribution needs at least 2"
            )
            return MetricValue(None, None, None, reason, count, None)
        try:
            if metric.kind == "kvd":
                value = kernel_distance(prediction, reference)
                noisy = f"noisy: N = {count} < {_FEW_WINDOWS} windows"
                note = noisy if count < _FEW_WINDOWS else None
                return MetricValue(value, None, None, None, count, note)
            value = frechet_distance(prediction, reference, spec.unbiased_covariance)
        except MetricUnavailable as error:
            return MetricValue(None, None, None, str(error), count, None)
        deficient = f"rank-deficient: N = {count} <= d = {FEATURE_SIZE}"
        note = deficient if count <= FEATURE_SIZE else None
        return MetricValue(value, None, None, None, count, note)

    def weights_of(self, protocol: Protocol) -> dict[str, str]:
        """Weight name -> sha256, of the weights that the protocol's available metrics rest on."""
        names = set()
        for metric in protocol.metrics:
            if self.reason(metric, protocol) is not None:
                continue
            if metric.net is not None:
                names.add(f"lpips-{metric.net}")
            if metric.kind in SET_KINDS:
                names.add("i3d-k400")
        return {name: WEIGHTS[name].sha256 for name in sorted(names)}
