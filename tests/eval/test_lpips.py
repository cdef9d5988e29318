"""LPIPS against published values, the lpips package's own arithmetic, and torchmetrics' heads."""

from pathlib import Path

import lpips
import numpy as np
import pytest
import torch

from aa_eval.errors import MetricUnavailable, PairingError, WeightsUnavailable
from aa_eval.metrics.lpips import lpips_per_frame, make_lpips
from aa_eval.weights import find_weight

pytestmark = pytest.mark.weights

ZEROS = np.zeros((2, 64, 64, 3), np.uint8)
ONES = np.full((2, 64, 64, 3), 255, np.uint8)


@pytest.fixture(scope="module")
def alex() -> torch.nn.Module:
    return make_lpips("alex")


@pytest.fixture(scope="module")
def networks(alex: torch.nn.Module) -> dict[str, torch.nn.Module]:
    return {"alex": alex, "vgg": make_lpips("vgg")}


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 48, 40, 3), dtype=np.uint8)


def test_zeros_against_ones(alex: torch.nn.Module) -> None:
    # upstream's weights: 0.8140; in [0, 1] the zeros are grey: another value
    np.testing.assert_allclose(lpips_per_frame(alex, ZEROS, ONES), 0.81395, atol=1e-4)
    assert np.all(np.abs(lpips_per_frame(alex, ZEROS, ONES, "0..1") - 0.81395) > 0.1)


@pytest.mark.parametrize(("net", "first"), [("alex", 0.11864), ("vgg", -0.55373)])
def test_backbone_is_torchvisions_and_heads_are_the_packages(
    networks: dict[str, torch.nn.Module], net: str, first: float
) -> None:
    model = networks[net]
    convolution = next(m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d))
    assert convolution.weight[0, 0, 0, 0].item() == pytest.approx(first, abs=1e-5)
    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    state = model.state_dict()
    for name, head in torch.load(heads, map_location="cpu", weights_only=True).items():
        assert torch.equal(state[name], head), name
    assert not any(p.requires_grad for p in model.parameters())


def test_identical_is_zero_and_order_does_not_matter(
    alex: torch.nn.Module, noise: np.ndarray
) -> None:
    other = noise[::-1].copy()
    np.testing.assert_array_equal(lpips_per_frame(alex, noise, noise), np.zeros(5))
    forward = lpips_per_frame(alex, noise, other)
    np.testing.assert_allclose(forward, lpips_per_frame(alex, other, noise), rtol=1e-5)
    assert forward[0] > 0.05


def test_batch_size_does_not_matter(alex: torch.nn.Module, noise: np.ndarray) -> None:
    other = 255 - noise
    one, all_at_once = (lpips_per_frame(alex, noise, other, batch=n) for n in (1, 16))
    assert one.dtype == np.float64
    np.testing.assert_allclose(one, all_at_once, rtol=1e-5)


def test_ranges_equal_the_packages_own(alex: torch.nn.Module, noise: np.ndarray) -> None:
    x, y = (
        torch.from_numpy(f).permute(0, 3, 1, 2).float() / 255 for f in (noise, noise[::-1].copy())
    )
    with torch.no_grad():
        rescaled = alex(x, y, normalize=True).flatten().numpy()
        raw = alex(x, y).flatten().numpy()
    other = noise[::-1].copy()
    np.testing.assert_allclose(lpips_per_frame(alex, noise, other), rescaled, rtol=1e-5)
    np.testing.assert_allclose(lpips_per_frame(alex, noise, other, "0..1"), raw, rtol=1e-5)


def test_making_it_leaves_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    make_lpips("alex")
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("net", "smallest"), [("alex", 31), ("vgg", 16)])
def test_small_frames_are_unavailable(
    networks: dict[str, torch.nn.Module], net: str, smallest: int
) -> None:
    model = networks[net]
    frames = np.zeros((1, smallest, 40, 3), np.uint8)
    assert lpips_per_frame(model, frames, frames)[0] == 0
    with pytest.raises(MetricUnavailable, match=f"{smallest} px"):
        lpips_per_frame(model, frames[:, 1:], frames[:, 1:])


def test_wrong_shapes_are_refused(alex: torch.nn.Module) -> None:
    with pytest.raises(PairingError, match="equal shapes"):
        lpips_per_frame(alex, ZEROS, ONES[:1])
    with pytest.raises(PairingError, match="float64"):
        lpips_per_frame(alex, ZEROS / 255, ONES)


def test_altered_backbone_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "alexnet.ckpt"
    copy.write_bytes(find_weight("lpips-alex").read_bytes() + b"\0")
    with pytest.raises(WeightsUnavailable, match="expected 443c5bc3"):
        make_lpips("alex", path=copy)
