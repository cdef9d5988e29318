"""Which file goes into which network; what the networks compute, their own tests hold.

The files are gigabytes that no package carries: only their way into the network is followed here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from aa_eval.features import (
    i3d,
    inception,
    networks,
    pips2,
    resnet3d,
    vision_transformer,
)
from aa_eval.features.networks import NETWORKS, OWN_WEIGHTS
from aa_eval.features.spec import VideoFeatures
from aa_eval.protocol import list_protocols, read_protocol

FILES = {
    "resnet3d-50-kinetics": (resnet3d, "load_resnet3d", ["resnet-50-kinetics.pth"]),
    "inception-2015": (inception, "load_inception", ["pt_inception-2015-12-05-6726825d.pth"]),
    "videomae-v2-g-ssv2": (
        vision_transformer, "load_videomae_v2", ["vit_g_hybrid_pt_1200e_ssv2_ft.pth"],
    ),
    "vjepa-h16-ssv2": (vision_transformer, "load_vjepa", ["vith16.pth.tar", "ssv2-probe.pth.tar"]),
    "pips2-fvmd": (pips2, "load_pips2", ["pips2_weights.pth"]),
}  # fmt: skip
WRAPPED = {"resnet3d-50-kinetics": resnet3d.SegmentMeans, "pips2-fvmd": pips2.MotionFeatures}


@pytest.fixture
def specs() -> dict[str, VideoFeatures]:
    """Of each network, as some protocol uses it."""
    found = (read_protocol(name).video_features for name in list_protocols())
    return {spec.net: spec for spec in found if spec is not None}


@pytest.mark.parametrize("net", FILES)
def test_a_network_is_loaded_from_its_own_files(
    net: str, specs: dict[str, VideoFeatures], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    module, loader, files = FILES[net]
    given: list[object] = []
    loaded = nn.Linear(1, 1)

    def load(*arguments: object) -> nn.Module:
        given.extend(arguments)
        return loaded

    monkeypatch.setattr(module, loader, load)
    made = NETWORKS[net].make(specs[net], "cpu")
    *paths, model = given
    assert paths == [tmp_path / "aa-eval/weights" / name for name in files]
    assert isinstance(model, nn.Module)
    if net in WRAPPED:
        assert isinstance(made, WRAPPED[net])
        assert made._model is loaded
    else:
        assert made is loaded
    if net in ("videomae-v2-g-ssv2", "vjepa-h16-ssv2"):  # a thousand million numbers: made once
        assert all(p.device == torch.device("meta") for p in model.parameters())
    if net == "resnet3d-50-kinetics":
        assert model.pool_frames == specs[net].pool_frames
        norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm3d))
        assert norm.eps == specs[net].bn_eps


def test_i3d_is_made_with_the_protocols_numbers(
    specs: dict[str, VideoFeatures], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(i3d, "make_i3d", lambda *a: given.extend(a) or nn.Linear(1, 1))
    spec = specs["i3d-kinetics-400"]
    made = NETWORKS["i3d-kinetics-400"].make(spec, "cpu")
    assert given == [spec.bn_eps, "cpu", spec.pool_frames]
    assert isinstance(made, i3d.I3DNetwork)


def test_each_network_verifies_its_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(networks, "verify_weight", asked.append)
    monkeypatch.setattr(networks, "verify_own_weight", lambda w: (Path(), f"sha of {w.name}"))
    stated = {net: NETWORKS[net].verify() for net in NETWORKS}
    assert asked == ["i3d-k400"]
    assert stated.pop("i3d-kinetics-400").keys() == {"i3d-k400"}
    assert stated == {
        net: {name: f"sha of {name}" for name in OWN_WEIGHTS if OWN_WEIGHTS[name].file in files}
        for net, (_, _, files) in FILES.items()
    }


def test_dimensions_and_sizes_are_those_that_the_papers_name() -> None:
    assert {net: (n.dim, n.size_hw, n.slide is not None) for net, n in NETWORKS.items()} == {
        "i3d-kinetics-400": (400, (224, 224), True),
        "resnet3d-50-kinetics": (2048, (112, 112), False),
        "inception-2015": (2048, (299, 299), False),
        "videomae-v2-g-ssv2": (1408, (224, 224), False),
        "vjepa-h16-ssv2": (1280, (224, 224), False),
        "pips2-fvmd": (1024, (256, 256), False),
    }
