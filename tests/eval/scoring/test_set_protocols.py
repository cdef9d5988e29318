"""The protocols of FID, CD-FVD, JEDi and FVMD.

Without weights they say what to fetch; with a network of known features they are the distances that
they claim to be.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import sqrtm
from torch import Tensor

from aa_eval.features.networks import NETWORKS, OWN_WEIGHTS
from aa_eval.metrics.kvd import jedi_distance
from aa_eval.protocol import read_protocol
from aa_eval.resize import resize
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import Pair, make_pairs
from aa_eval.weights.weight_files import weights_folder

Values = NDArray[np.floating]
OWN = {
    "fid-onetoall-2025": "pt_inception-2015-12-05-6726825d.pth",
    "fid-vid-onetoall-2025": "resnet-50-kinetics.pth",
    "cd-fvd": "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
    "jedi": "vith16.pth.tar",
    "fvmd": "pips2_weights.pth",
}


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Three videos of 16 frames of 16 px."""
    draw = np.random.default_rng(0)
    for side in ("gen", "gt"):
        for video in "abc":
            (tmp_path / side / video).mkdir(parents=True)
            for number in range(16):
                picture = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(picture).save(tmp_path / side / video / f"{number:03}.png")
    return make_pairs(find_videos(tmp_path / "gen"), find_videos(tmp_path / "gt"))[0]


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize("name", OWN)
def test_without_its_weights_a_protocol_says_what_to_fetch(name: str, pairs: list[Pair]) -> None:
    (result,) = score_pairs(pairs, [read_protocol(name)], method="m")
    (metric,) = result.metrics.values()
    assert metric.value is None
    assert metric.unavailable is not None
    assert f"{weights_folder()}/{OWN[name]} is not there: fetch {OWN[name]} (" in metric.unavailable


def test_a_file_with_a_published_hash_needs_no_statement(tmp_path: Path, pairs: list[Pair]) -> None:
    weights_folder().mkdir(parents=True)
    (weights_folder() / OWN["fid-onetoall-2025"]).write_bytes(b"another file")
    (result,) = score_pairs(pairs, [read_protocol("fid-onetoall-2025")], method="m")
    found = hashlib.sha256(b"another file").hexdigest()
    assert f"has sha256 {found}, expected 6726825d" in str(result.metrics["fid"].unavailable)


def _means(windows: Tensor) -> Tensor:
    """Four numbers of each window: the mean of each quarter of its pictures."""
    return torch.nn.functional.adaptive_avg_pool2d(windows.mean(dim=(1, 2)), (2, 2)).flatten(1)


def _known(monkeypatch: pytest.MonkeyPatch, net: str) -> None:
    network = replace(NETWORKS[net], dim=4, verify=dict, make=lambda spec, device: _means)
    monkeypatch.setitem(NETWORKS, net, network)


def _features(pairs: list[Pair], side: str, protocol: str) -> Values:
    """The same numbers by another way: [videos, windows, 4]."""
    spec = read_protocol(protocol).video_features
    assert spec is not None
    found = []
    for pair in pairs:
        source = pair.reference if side == "gt" else pair.prediction
        assert source is not None
        frames = np.stack([np.asarray(Image.open(file)) for file in source.files])
        levels = torch.from_numpy(resize(frames, spec.resize, spec.size_hw) / 127.5 - 1)
        pictures = levels.permute(0, 3, 1, 2)
        windows = pictures.unflatten(0, (-1, spec.window_frames)).movedim(1, 2)
        found.append(_means(windows).numpy())
    return np.stack(found)


def _frechet(a: Values, b: Values, ddof: int) -> float:
    s, t = (np.cov(x, rowvar=False, ddof=ddof) for x in (a, b))
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(shift @ shift + np.trace(s + t - 2 * np.real(sqrtm(s @ t))))


def test_fid_is_of_each_clip_or_of_all(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    _known(monkeypatch, "inception-2015")
    ours, theirs = (_features(pairs, side, "fid-onetoall-2025") for side in ("gen", "gt"))
    (per_clip,) = score_pairs(pairs, [read_protocol("fid-onetoall-2025")], method="m")
    expected = np.mean([_frechet(a, b, 1) for a, b in zip(ours, theirs, strict=True)])
    assert per_clip.metrics["fid"].value == pytest.approx(expected, rel=1e-4)
    assert per_clip.metrics["fid"].n == 48
    (of_all,) = score_pairs(pairs, [read_protocol("fid-humanvid-2024")], method="m")
    ours, theirs = (_features(pairs, side, "fid-humanvid-2024") for side in ("gen", "gt"))
    expected = _frechet(np.concatenate(ours), np.concatenate(theirs), 1)
    assert of_all.metrics["fid"].value == pytest.approx(expected, rel=1e-4)


def test_jedi_is_videojedis(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    """100 times the sum of mean kernels (x . y / d)^2, diagonals included."""
    a = np.arange(1, 10).reshape(3, 3) / 1.0
    b = np.array([[7, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]]) / 1.0
    kernels = [np.mean((x @ y.T / 3) ** 2) for x, y in ((a, a), (b, b), (a, b))]
    expected = 100 * (kernels[0] + kernels[1] - 2 * kernels[2])
    assert jedi_distance(a, b) == pytest.approx(expected)
    assert jedi_distance(a, a) == pytest.approx(0, abs=1e-9)
    _known(monkeypatch, "vjepa-h16-ssv2")
    (result,) = score_pairs(pairs, [read_protocol("jedi")], method="m")
    metric = result.metrics["jedi"]
    ours, theirs = (np.concatenate(_features(pairs, side, "jedi")) for side in ("gen", "gt"))
    assert metric.value == pytest.approx(jedi_distance(ours, theirs), rel=1e-4)
    assert metric.n == 3


def test_cd_fvd_has_the_biased_covariance(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    _known(monkeypatch, "videomae-v2-g-ssv2")
    (result,) = score_pairs(pairs, [read_protocol("cd-fvd")], method="m")
    ours, theirs = (np.concatenate(_features(pairs, side, "cd-fvd")) for side in ("gen", "gt"))
    metric = result.metrics["cd_fvd"]
    assert metric.value == pytest.approx(_frechet(ours, theirs, 0), rel=1e-4)
    assert metric.note is not None
    assert metric.note.startswith("rank-deficient: N = 3 <= d = 4")


def test_every_own_weight_has_a_place_to_come_from() -> None:
    for weight in OWN_WEIGHTS.values():
        assert len(weight.origin) > 20, weight.name
