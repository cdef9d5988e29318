"""Feature networks: a callable that turns windows of frames into vectors, and its weight's hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aa_eval.weights.weight_files import WEIGHTS, OwnWeight, verify_own_weight, verify_weight

if TYPE_CHECKING:
    from torch import Tensor

    from aa_eval.features.spec import VideoFeatures

    Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class FeatureNetwork:
    """What FVD and KVD need to know about a network.

    Attributes:
        dim: length of its vectors.
        size_hw: of the frames that it takes.
        verify: weight name -> sha256 of its content, verified now; raises `WeightsUnavailable` with
            the remedy where it is missing or altered: the metrics are unavailable then.
        make: (features of the protocol, device) -> callable from float windows [B, 3, T, H, W] in
            [-1, 1] to float vectors [B, dim]. Called once, when first needed.
        slide: None, or what turns that callable into one for the overlapping windows of one video,
            (window [1, 3, T, H, W], index of its first frame) -> [1, dim]: to share work between
            windows that ascend. Used on the CPU, where windows are not batched.
    """

    dim: int
    size_hw: tuple[int, int]
    verify: Callable[[], dict[str, str]]
    make: Callable[[VideoFeatures, str], Network]
    slide: Callable[[Network], Callable[[Tensor, int], Tensor]] | None = None


def verified(*names: str) -> Callable[[], dict[str, str]]:
    """A `verify` for weights that `aa_eval.weights.weight_files.WEIGHTS` lists."""

    def verify() -> dict[str, str]:
        for name in names:
            verify_weight(name)
        return {name: WEIGHTS[name].sha256 for name in names}

    return verify


# torch takes seconds to import; a run that finds its features in the cache needs none
def _i3d(spec: VideoFeatures, device: str) -> Network:
    from aa_eval.features.i3d import I3DNetwork, make_i3d

    return I3DNetwork(make_i3d(spec.bn_eps, device, spec.pool_frames))


def _slide_i3d(network: Network) -> Callable[[Tensor, int], Tensor]:
    from aa_eval.features.i3d import I3DNetwork
    from aa_eval.features.sliding_i3d import SlidingI3D

    assert isinstance(network, I3DNetwork)  # what `_i3d` has made
    return SlidingI3D(network.model).logits


# No package index carries it, and no hash of it is published.
RESNET3D_50 = OwnWeight(
    "resnet3d-50-kinetics",
    "resnet-50-kinetics.pth",
    "3D ResNet-50 on Kinetics of kenshohara/video-classification-3d-cnn-pytorch",
)


def _verify_resnet3d() -> dict[str, str]:
    return {RESNET3D_50.name: verify_own_weight(RESNET3D_50)[1]}


def _resnet3d(spec: VideoFeatures, device: str) -> Network:
    from aa_eval.features.resnet3d import ResNet3D, load_resnet3d

    path, _ = verify_own_weight(RESNET3D_50)
    model = ResNet3D(bn_eps=spec.bn_eps, pool_frames=spec.pool_frames)
    return load_resnet3d(path, model).to(device)


NETWORKS: dict[str, FeatureNetwork] = {
    "i3d-kinetics-400": FeatureNetwork(400, (224, 224), verified("i3d-k400"), _i3d, _slide_i3d),
    "resnet3d-50-kinetics": FeatureNetwork(2048, (112, 112), _verify_resnet3d, _resnet3d),
}
