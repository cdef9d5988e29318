"""Feature networks: a callable that turns windows of frames into vectors, and its weight's hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aa_eval.weights.weight_files import (
    WEIGHTS,
    OwnWeight,
    verify_own_weight,
    verify_weight,
    weights_folder,
)

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


# No package index carries these files.
OWN_WEIGHTS = {
    weight.name: weight
    for weight in (
        OwnWeight(
            "resnet3d-50-kinetics",
            "resnet-50-kinetics.pth",
            "3D ResNet-50 on Kinetics of kenshohara/video-classification-3d-cnn-pytorch: FID-VID",
        ),
        OwnWeight(
            "inception-2015",
            "pt_inception-2015-12-05-6726825d.pth",
            "github.com/mseitzer/pytorch-fid, release fid_weights: FID",
            sha256="6726825d",  # as its name says
        ),
        OwnWeight(
            "videomae-v2-g-ssv2",
            "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
            "VideoMAE v2 ViT-g fine-tuned on Something-Something v2, OpenGVLab: CD-FVD",
        ),
        OwnWeight(
            "vjepa-h16",
            "vith16.pth.tar",
            "dl.fbaipublicfiles.com/jepa/vith16/vith16.pth.tar, 10 GB: JEDi",
        ),
        OwnWeight(
            "vjepa-h16-ssv2-probe",
            "ssv2-probe.pth.tar",
            "dl.fbaipublicfiles.com/jepa/vith16/ssv2-probe.pth.tar: JEDi",
        ),
        OwnWeight(
            "pips2-fvmd",
            "pips2_weights.pth",
            "github.com/ljh0v0/FVMD-frechet-video-motion-distance, release pips2_weights: FVMD",
        ),
        OwnWeight(
            "dinov2-b14",
            "dinov2_vitb14_pretrain.pth",
            "dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth: pICD",
        ),
        OwnWeight(
            "arcface-w600k-r50",
            "w600k_r50.onnx",
            "in buffalo_l.zip of github.com/deepinsight/insightface, release v0.7, for research "
            "that is not commercial: CSIM",
            sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        ),
    )
}


def verified_own(*names: str) -> Callable[[], dict[str, str]]:
    """A `verify` for weights of `OWN_WEIGHTS`."""
    return lambda: {name: verify_own_weight(OWN_WEIGHTS[name])[1] for name in names}


def own_weight(name: str) -> Path:
    """Where a weight of `OWN_WEIGHTS` is; it was verified before."""
    return weights_folder() / OWN_WEIGHTS[name].file


def _resnet3d(spec: VideoFeatures, device: str) -> Network:
    from aa_eval.features.resnet3d import ResNet3D, SegmentMeans, load_resnet3d

    model = ResNet3D(bn_eps=spec.bn_eps, pool_frames=spec.pool_frames)
    path = own_weight("resnet3d-50-kinetics")
    return SegmentMeans(load_resnet3d(path, model).to(device))


def _inception(spec: VideoFeatures, device: str) -> Network:
    from aa_eval.features.inception import Inception2015, load_inception

    return load_inception(own_weight("inception-2015"), Inception2015()).to(device)


def _videomae(spec: VideoFeatures, device: str) -> Network:
    import torch

    from aa_eval.features.vision_transformer import VideoMAEv2, load_videomae_v2

    with torch.device("meta"):  # of a thousand million numbers: made once, by the file
        model = VideoMAEv2()
    return load_videomae_v2(own_weight("videomae-v2-g-ssv2"), model).to(device)


def _vjepa(spec: VideoFeatures, device: str) -> Network:
    import torch

    from aa_eval.features.vision_transformer import VJepa, load_vjepa

    with torch.device("meta"):
        model = VJepa()
    encoder, probe = own_weight("vjepa-h16"), own_weight("vjepa-h16-ssv2-probe")
    return load_vjepa(encoder, probe, model).to(device)


def _pips2(spec: VideoFeatures, device: str) -> Network:
    from aa_eval.features.pips2 import MotionFeatures, Pips2, load_pips2

    return MotionFeatures(load_pips2(own_weight("pips2-fvmd"), Pips2()).to(device))


NETWORKS: dict[str, FeatureNetwork] = {
    "i3d-kinetics-400": FeatureNetwork(400, (224, 224), verified("i3d-k400"), _i3d, _slide_i3d),
    "resnet3d-50-kinetics": FeatureNetwork(
        2048, (112, 112), verified_own("resnet3d-50-kinetics"), _resnet3d
    ),
    "inception-2015": FeatureNetwork(2048, (299, 299), verified_own("inception-2015"), _inception),
    "videomae-v2-g-ssv2": FeatureNetwork(
        1408, (224, 224), verified_own("videomae-v2-g-ssv2"), _videomae
    ),
    "vjepa-h16-ssv2": FeatureNetwork(
        1280, (224, 224), verified_own("vjepa-h16", "vjepa-h16-ssv2-probe"), _vjepa
    ),
    "pips2-fvmd": FeatureNetwork(1024, (256, 256), verified_own("pips2-fvmd"), _pips2),
}
