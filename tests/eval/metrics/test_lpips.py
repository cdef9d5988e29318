"""LPIPS against published values, the lpips package's own arithmetic, and torchmetrics' heads."""

from pathlib import Path

import lpips
import numpy as np
import pytest
import torch

from aa_eval.errors import MetricUnavailable, PairingError, WeightsUnavailable
from aa_eval.metrics.lpips import LPIPS, lpips_per_frame, make_lpips
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.lpips_features import Perceptual
from aa_eval.weights.numpy_pickle import read_numpy_pickle
from aa_eval.weights.weight_files import find_weight

pytestmark = pytest.mark.weights

ZEROS = np.zeros((2, 64, 64, 3), np.uint8)
ONES = np.full((2, 64, 64, 3), 255, np.uint8)


@pytest.fixture(scope="module")
def alex() -> LPIPS:
    return make_lpips("alex")


@pytest.fixture(scope="module")
def networks(alex: LPIPS) -> dict[str, LPIPS]:
    return {"alex": alex, "vgg": make_lpips("vgg")}


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 48, 40, 3), dtype=np.uint8)


def test_zeros_against_ones(alex: LPIPS) -> None:
    # upstream's weights: 0.8140; in [0, 1] the zeros are grey: another value
    np.testing.assert_allclose(lpips_per_frame(alex, ZEROS, ONES), 0.81395, atol=1e-4)
    assert np.all(np.abs(lpips_per_frame(alex, ZEROS, ONES, "0..1") - 0.81395) > 0.1)


@pytest.mark.parametrize(("net", "first"), [("alex", 0.11864), ("vgg", -0.55373)])
def test_backbone_is_torchvisions_and_heads_are_the_packages(
    networks: dict[str, LPIPS], net: str, first: float
) -> None:
    model = networks[net]
    convolution = next(m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d))
    assert convolution.weight[0, 0, 0, 0].item() == pytest.approx(first, abs=1e-5)
    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    expected = torch.load(heads, map_location="cpu", weights_only=True)
    for index, head in enumerate(model.heads):
        assert torch.equal(head, expected[f"lin{index}.model.1.weight"]), index
    assert len(model.heads) == len(expected)
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_kernels_stand_upright(networks: dict[str, LPIPS], net: str) -> None:
    """A transposed kernel has the same sums: the first layer is computed here, place by place."""
    name = {"alex": "AlexNet_0", "vgg": "VGG16_0"}[net]
    tree = read_numpy_pickle(find_weight(f"lpips-{net}"))[name]
    kernel, bias = (np.asarray(tree["Conv_0"][k], dtype=np.float64) for k in ("kernel", "bias"))
    assert np.abs(kernel - kernel.transpose(1, 0, 2, 3)).max() > 0.1
    convolution = next(m for m in networks[net].net.modules() if isinstance(m, torch.nn.Conv2d))
    picture = np.random.default_rng(0).normal(size=(40, 40, 3))
    padded = np.pad(picture, [(convolution.padding[0],) * 2] * 2 + [(0, 0)])
    given = torch.from_numpy(picture).float().movedim(-1, 0)[None]
    found = convolution(given)[0].detach().numpy()
    side, step = len(kernel), convolution.stride[0]
    for row, column in ((0, 3), (5, 2), (7, 7)):
        seen = padded[row * step : row * step + side, column * step : column * step + side]
        wanted = np.einsum("hwi,hwio->o", seen, kernel) + bias
        np.testing.assert_allclose(found[:, row, column], wanted, atol=1e-4)
    # as printed by anyone who has loaded torchvision's weights
    row = {"alex": [0.11864, 0.09407, 0.09543], "vgg": [-0.55373, 0.14270, 0.52896]}[net]
    printed = convolution.weight[0, 0, 0, :3].detach().numpy()
    np.testing.assert_allclose(printed, row, atol=2e-5)


def test_identical_is_zero_and_order_does_not_matter(alex: LPIPS, noise: np.ndarray) -> None:
    other = noise[::-1].copy()
    np.testing.assert_array_equal(lpips_per_frame(alex, noise, noise), np.zeros(5))
    forward = lpips_per_frame(alex, noise, other)
    np.testing.assert_allclose(forward, lpips_per_frame(alex, other, noise), rtol=1e-5)
    assert forward[0] > 0.05


def test_batch_size_does_not_matter(alex: LPIPS, noise: np.ndarray) -> None:
    other = 255 - noise
    one, all_at_once = (lpips_per_frame(alex, noise, other, batch=n) for n in (1, 16))
    assert one.dtype == np.float64
    np.testing.assert_allclose(one, all_at_once, rtol=1e-5)


def package(model: LPIPS) -> lpips.LPIPS:
    """The lpips package's own network, with the same backbone."""
    theirs = lpips.LPIPS(net=model.pnet_type, pnet_rand=True, verbose=False)
    there, here = (
        [m for m in net.net.modules() if isinstance(m, torch.nn.Conv2d)] for net in (theirs, model)
    )
    for to, of in zip(there, here, strict=True):
        to.load_state_dict(of.state_dict())
        assert (to.stride, to.padding) == (of.stride, of.padding)
    return theirs


def test_ranges_equal_the_packages_own(alex: LPIPS, noise: np.ndarray) -> None:
    x, y = (
        torch.from_numpy(f).permute(0, 3, 1, 2).float() / 255 for f in (noise, noise[::-1].copy())
    )
    theirs = package(alex)
    with torch.no_grad():
        rescaled = theirs(x, y, normalize=True).flatten().numpy()
        raw = theirs(x, y).flatten().numpy()
        np.testing.assert_array_equal(alex(x, y, normalize=True).flatten().numpy(), rescaled)
        np.testing.assert_array_equal(alex(x, y).flatten().numpy(), raw)
    other = noise[::-1].copy()
    np.testing.assert_allclose(lpips_per_frame(alex, noise, other), rescaled, rtol=1e-5)
    np.testing.assert_allclose(lpips_per_frame(alex, noise, other, "0..1"), raw, rtol=1e-5)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_large_frames_equal_the_packages_own(networks: dict[str, LPIPS], net: str) -> None:
    draw = np.random.default_rng(1)
    first = draw.integers(0, 256, (1, 160, 144, 3), dtype=np.uint8)
    near = np.clip(first + draw.normal(0, 2, first.shape), 0, 255).astype(np.uint8)
    for other in (255 - first, near):
        x, y = (torch.from_numpy(f).permute(0, 3, 1, 2).float() / 255 for f in (first, other))
        with torch.no_grad():
            expected = package(networks[net])(x, y, normalize=True).item()
        assert lpips_per_frame(networks[net], first, other)[0] == pytest.approx(expected, rel=1e-5)


def test_features_are_computed_once_and_kept_for_the_next_method(
    alex: LPIPS, noise: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    net = alex.get_submodule("net")
    forward = net.forward
    monkeypatch.setattr(net, "forward", lambda x: passes.append(len(x)) or forward(x))
    ours, white, other = 255 - noise, np.full_like(noise, 255), noise // 2
    first = Perceptual(alex, "-1..1", Cache(tmp_path), "weights")
    before = np.concatenate([noise[:1], noise[:-1]])
    kept = [first.per_frame(side, noise) for side in (ours, white, before, noise)]
    assert sum(passes) == 5 + 5 + 1
    passes.clear()
    second = Perceptual(alex, "-1..1", Cache(tmp_path), "weights")
    again = [second.per_frame(side, noise) for side in (other, ours)]
    assert sum(passes) == 5 + 5  # no reference among them
    passes.clear()
    third = Perceptual(alex, "-1..1", Cache(tmp_path), "weights")
    assert not third.per_frame(noise[:1], noise[:1]).any()
    assert not third.per_frame(noise[1:], noise[1:]).any()
    assert sum(passes) == 1  # frames of the reference are found, also where they are predicted
    passes.clear()
    Perceptual(alex, "-1..1", Cache(tmp_path), "other weights").per_frame(other, noise)
    assert sum(passes) == 5 + 5
    for values, side in zip(
        [*kept, *again], [ours, white, before, noise, other, ours], strict=True
    ):
        np.testing.assert_array_equal(values, lpips_per_frame(alex, side, noise, batch=1))


def test_what_is_kept_in_memory_does_not_grow_with_the_video(alex: LPIPS) -> None:
    draw = np.random.default_rng(1)
    perceptual = Perceptual(alex, "-1..1", None, "weights")
    most = 0
    for _ in range(40):
        ours, theirs = draw.integers(0, 256, (2, 1, 32, 32, 3), dtype=np.uint8)
        perceptual.per_frame(ours, theirs)
        most = max(most, len(perceptual._kept))
    assert most == perceptual.kept_frames == len(perceptual._kept) == 8


def test_large_frames_are_computed_once_with_the_fast_baselines(
    alex: LPIPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aa_eval.scoring.lpips_features._KEPT_BYTES", 0)
    passes: list[int] = []
    net = alex.get_submodule("net")
    forward = net.forward
    monkeypatch.setattr(net, "forward", lambda x: passes.append(len(x)) or forward(x))
    draw = np.random.default_rng(2)
    ours, theirs = draw.integers(0, 256, (2, 6, 1, 32, 32, 3), dtype=np.uint8)
    perceptual = Perceptual(alex, "-1..1", None, "weights")
    for t in range(6):
        for side in (ours[t], theirs[0], np.full_like(ours[t], 255), theirs[max(t - 1, 0)]):
            perceptual.per_frame(side, theirs[t])
    assert sum(passes) == 6 + 6 + 1


def test_features_stop_at_their_room(
    alex: LPIPS, noise: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Perceptual(alex, "-1..1", Cache(tmp_path), "one").per_frame(255 - noise[:1], noise[:1])
    (one,) = (file.stat().st_size for file in (tmp_path / "features").rglob("*.npy"))
    cache = Cache(tmp_path, max_feature_bytes=int(3.5 * one))
    values = Perceptual(alex, "-1..1", cache, "weights").per_frame(255 - noise, noise)
    np.testing.assert_array_equal(values, lpips_per_frame(alex, 255 - noise, noise, batch=1))
    assert len(list((tmp_path / "features").rglob("*.npy"))) == 3
    assert caplog.text.count("features of further frames are not kept") == 1


def test_making_it_leaves_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    make_lpips("alex")
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("net", "smallest"), [("alex", 31), ("vgg", 16)])
def test_small_frames_are_unavailable(networks: dict[str, LPIPS], net: str, smallest: int) -> None:
    model = networks[net]
    frames = np.zeros((1, smallest, 40, 3), np.uint8)
    assert lpips_per_frame(model, frames, frames)[0] == 0
    with pytest.raises(MetricUnavailable, match=f"{smallest} px"):
        lpips_per_frame(model, frames[:, 1:], frames[:, 1:])


def test_wrong_shapes_are_refused(alex: LPIPS) -> None:
    with pytest.raises(PairingError, match="equal shapes"):
        lpips_per_frame(alex, ZEROS, ONES[:1])
    with pytest.raises(PairingError, match="float64"):
        lpips_per_frame(alex, ZEROS / 255, ONES)


def test_altered_backbone_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "alexnet.ckpt"
    copy.write_bytes(find_weight("lpips-alex").read_bytes() + b"\0")
    with pytest.raises(WeightsUnavailable, match="expected 443c5bc3"):
        make_lpips("alex", path=copy)
