"""Measures: a protocol's metrics made ready to compute, or the reason why they cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aa_eval.errors import MetricUnavailable, WeightsUnavailable
from aa_eval.features.networks import NETWORKS, own_weight, verified, verified_own
from aa_eval.features.spec import VideoFeatures
from aa_eval.metrics.colour import colour_distribution
from aa_eval.metrics.faces import aligned_places
from aa_eval.metrics.l1 import l1, l1_per_pixel_count, l1_unit_range_float32
from aa_eval.metrics.masks import Mask
from aa_eval.metrics.psnr import psnr, psnr_float32, psnr_uint8_overflow
from aa_eval.metrics.skeleton import Crop
from aa_eval.metrics.ssim import (
    ssim_colour_gaussian,
    ssim_colour_gaussian_frame_range,
    ssim_colour_gaussian_padded_float32,
    ssim_grey_uniform7,
)
from aa_eval.metrics.temporal import (
    Flow,
    dtssd,
    flicker,
    flicker_own,
    ssim_of_differences,
    tof,
    warp_error,
)
from aa_eval.protocol import KINDS, SET_KINDS, Metric, Protocol, use_metric_module
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.optical_flow import OpticalFlowILK

if TYPE_CHECKING:
    from torch import Tensor

    from aa_eval.features.arcface import ArcFace
    from aa_eval.features.patches import PatchDistance
    from aa_eval.scoring.lpips_features import Perceptual

Frames = NDArray[np.uint8]
Values = NDArray[np.float64]

_PIXEL_METRICS: dict[str, Callable[[Frames, Frames, Mask | None], Values]] = {
    "l1": l1,
    "l1_per_pixel_count": l1_per_pixel_count,
    "l1_unit_range_float32": l1_unit_range_float32,
    "ssim_grey_uniform7": ssim_grey_uniform7,
    "ssim_colour_gaussian": ssim_colour_gaussian,
    "ssim_colour_gaussian_frame_range": ssim_colour_gaussian_frame_range,
    "ssim_colour_gaussian_padded_float32": ssim_colour_gaussian_padded_float32,
    "psnr": psnr,
    "psnr_float32": psnr_float32,
    "psnr_uint8_overflow": psnr_uint8_overflow,
    "colour_distribution": colour_distribution,
}
_CHANGE_METRICS: dict[str, Callable[[Frames, Frames], Values]] = {
    "dtssd": dtssd,
    "flicker": flicker,
    "ssim_of_differences": ssim_of_differences,
}
# The weight of a metric with a network of its own.
_OWN_WEIGHT = {
    "picd": "dinov2-b14", "picd_nearest": "dinov2-b14", "csim": "arcface-w600k-r50",
}  # fmt: skip
_FLOW_METRICS: dict[str, Callable[[Frames, Frames, Flow], Values]] = {
    "tof_ilk": tof,
    "warp_error_ilk": warp_error,
    "flicker_own_ilk": lambda prediction, _, flow: flicker_own(prediction, flow),
    "warp_error_own_ilk": lambda prediction, _, flow: warp_error(prediction, prediction, flow),
}


@contextmanager
def full_float32(device: str) -> Iterator[None]:
    """TensorFloat-32 off meanwhile, where `device` is a GPU.

    torch has it on for convolutions: 10 bits of mantissa in place of 23.
    """
    if not device.startswith("cuda"):
        yield
        return
    import torch  # takes seconds to import

    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


class Where(NamedTuple):
    """The parts of frames that a metric looks at.

    Attributes:
        mask: [T, H, W], the pixels that a metric of `REGION_KINDS` looks at; None for all.
        faces: five points of each side's faces, [T, 5, 2] each, for a metric that needs them.
        shown: where each side's crops show anything, [T, H, W] each.
    """

    mask: Mask | None = None
    faces: tuple[Values, Values] | None = None
    shown: tuple[Mask, Mask] | None = None

    @property
    def both(self) -> Mask | None:
        """The mask, or where both crops show something; None for all."""
        if self.shown is None:
            return self.mask
        both = self.shown[0] & self.shown[1]
        return None if both.all() else both


class Fit(NamedTuple):
    """How frames of unequal size are brought to one: by which filter, and which side; or by crops
    of both (`aa_eval.metrics.crops`)."""

    resize: str
    side: str
    crop: Crop = ""


def fit_of(protocol: Protocol, crop: Crop = "") -> Fit:
    """How image metrics of the protocol compare frames of unequal size."""
    if crop:
        return Fit("", "", crop)
    return Fit(protocol.size_mismatch_resize, protocol.size_mismatch_side)


def features_of(protocol: Protocol) -> tuple[VideoFeatures, Fit | None]:
    """The protocol's video features, and how frames are fitted before."""
    assert protocol.video_features is not None  # asked for set metrics only
    spec = protocol.video_features
    return spec, fit_of(protocol) if spec.fit_first else None


def without_key(metric: Metric) -> Metric:
    """The metric as it is computed: protocols may name it differently."""
    return replace(metric, key="")


class Measures:
    """What the given protocols need, each metric and network once however many share it.

    A metric whose weights are missing or altered is unavailable: `reason` says why; the others are
    computed. Weights are verified at once; networks are built when first used.

    Attributes:
        frame_metrics: distinct (metric without key, how sizes are fitted) to compute.
        features: distinct (video features, how sizes are fitted before; None: not) to compute.
        device: where networks run.
        chunk_frames: how many frames to give at a time. One on a CPU, which gains nothing from
            batches: what is kept between calls stays small then.

    Args:
        cache: where features of reference frames are kept for other methods.
    """

    def __init__(
        self, protocols: Sequence[Protocol], device: str, cache: Cache | None = None
    ) -> None:
        self.device = device
        self.chunk_frames = 1 if device == "cpu" else 8
        self._cache = cache
        self._flow = OpticalFlowILK()
        self._own: dict[str, Callable[[Frames, Frames], Any]] = {}
        self._weights: dict[Metric | VideoFeatures, dict[str, str]] = {}
        self._reasons: dict[Metric | VideoFeatures, str] = {}
        self._perceptual: dict[tuple[str, str], Perceptual] = {}
        self._patches: PatchDistance | None = None
        self._faces: ArcFace | None = None
        self._networks: dict[VideoFeatures, Callable[[Tensor], Tensor]] = {}
        for protocol in protocols:
            if protocol.metric_module:
                path, sha256 = Path(protocol.metric_module), protocol.metric_module_sha256
                # a worker process has to know its kinds, too
                module = use_metric_module(path, sha256)
                self._own |= {name: metric.function for name, metric in module.metrics.items()}
        wanted = [
            (without_key(metric), fit_of(protocol, metric.crop))
            for protocol in protocols
            for metric in protocol.metrics
            if KINDS[metric.kind].over in ("frame", "change")
        ]
        for metric, _ in wanted:
            if metric.kind in self._own:
                self._weights[metric] = {"metric module": KINDS[metric.kind].module_sha256}
            if metric.net is not None:
                self._verify(metric, verified(f"lpips-{metric.net}"))
            if metric.kind in _OWN_WEIGHT:
                self._verify(metric, verified_own(_OWN_WEIGHT[metric.kind]))
        for protocol in protocols:
            if protocol.video_features is not None:
                spec = protocol.video_features
                self._verify(spec, NETWORKS[spec.net].verify)
        self.frame_metrics = [w for w in dict.fromkeys(wanted) if w[0] not in self._reasons]
        specs = dict.fromkeys(features_of(p) for p in protocols if p.video_features)
        self.features = [(spec, fit) for spec, fit in specs if spec not in self._reasons]

    def _verify(self, what: Metric | VideoFeatures, verify: Callable[[], dict[str, str]]) -> None:
        if what in self._weights or what in self._reasons:
            return
        try:
            self._weights[what] = verify()
        except WeightsUnavailable as error:
            self._reasons[what] = str(error)

    def reason(self, metric: Metric, protocol: Protocol) -> str | None:
        """Why the metric can have no value on any input, or None."""
        return self._reasons.get(_what(metric, protocol))

    def weights(self, what: Metric | VideoFeatures) -> dict[str, str]:
        """Weight name -> sha256, of what a metric (without key) or features rest on."""
        return self._weights.get(what, {})

    def weights_of(self, protocol: Protocol) -> dict[str, str]:
        """Weight name -> sha256, of the weights that the protocol's available metrics rest on."""
        found: dict[str, str] = {}
        for metric in protocol.metrics:
            found |= self.weights(_what(metric, protocol))
        return dict(sorted(found.items()))

    def per_frame(
        self,
        metric: Metric,
        prediction: Frames,
        reference: Frames,
        where: Where = Where(),  # noqa: B008 - immutable
    ) -> Values:
        """The metric per frame, [T]; a temporal one takes consecutive frames, its first is NaN.

        Raises:
            MetricUnavailable: it has no value on these frames.
        """
        if metric.kind in self._own:
            return _checked(metric.kind, self._own[metric.kind](prediction, reference), prediction)
        if metric.kind in _FLOW_METRICS:
            return _FLOW_METRICS[metric.kind](prediction, reference, self._flow)
        if metric.kind in _CHANGE_METRICS:
            return _CHANGE_METRICS[metric.kind](prediction, reference)
        if metric.kind == "picd":
            return self._patch_distance().per_frame(prediction, reference, where.mask)
        if metric.kind == "picd_nearest":
            assert where.shown is not None  # parse_protocol has seen to its crop
            return self._patch_distance().nearest(prediction, reference, *where.shown)
        if metric.kind == "csim":
            faces = where.faces
            if where.shown is not None:  # crops of faces are aligned already
                faces = aligned_places(where.shown[0]), aligned_places(where.shown[1])
            assert faces is not None  # it is not asked for otherwise
            return self._arcface().similarities(prediction, reference, *faces)
        if metric.net is None:
            return _PIXEL_METRICS[metric.kind](prediction, reference, where.both)
        perceptual = self._perceptual_of(metric)
        if metric.kind == "tlpips":
            return perceptual.temporal(prediction, reference)
        return perceptual.per_frame(prediction, reference, where.both)

    def _perceptual_of(self, metric: Metric) -> Perceptual:
        # torch takes seconds to import; a run that finds its values in the cache needs none
        from aa_eval.metrics.lpips import make_lpips
        from aa_eval.scoring.lpips_features import Perceptual

        assert metric.net is not None  # parse_protocol has seen to both
        assert metric.input_range is not None
        key = (metric.net, metric.input_range)
        if key not in self._perceptual:
            model = make_lpips(metric.net, self.device)
            self._perceptual[key] = Perceptual(
                model, metric.input_range, self._cache, self.weights(metric)
            )
        return self._perceptual[key]

    def _patch_distance(self) -> PatchDistance:
        if self._patches is None:
            from aa_eval.features.patches import PatchDistance
            from aa_eval.features.vision_transformer import Dinov2, load_dinov2

            model = load_dinov2(own_weight("dinov2-b14"), Dinov2()).to(self.device)
            self._patches = PatchDistance(model)
        return self._patches

    def _arcface(self) -> ArcFace:
        if self._faces is None:
            from aa_eval.features.arcface import ArcFace

            self._faces = ArcFace(own_weight("arcface-w600k-r50"), self.device)
        return self._faces

    def network(self, spec: VideoFeatures) -> Callable[[Tensor], Tensor]:
        """The features' network; built when first asked for, once for all videos."""
        if spec not in self._networks:
            self._networks[spec] = NETWORKS[spec.net].make(spec, self.device)
        return self._networks[spec]


def _what(metric: Metric, protocol: Protocol) -> Metric | VideoFeatures:
    if metric.kind in SET_KINDS:
        assert protocol.video_features is not None  # parse_protocol has seen to it
        return protocol.video_features
    return without_key(metric)


def _checked(name: str, values: Any, frames: Frames) -> Values:
    """What a metric of the user's returned, as float64 [T].

    Raises:
        MetricUnavailable: it is something else.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (len(frames),):
        raise MetricUnavailable(
            f"{name} returned {list(found.shape)}, expected one value for each of {len(frames)} "
            "frames"
        )
    return found
