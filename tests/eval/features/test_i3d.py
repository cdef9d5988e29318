"""I3D against the values that TensorFlow's own module and its FVD print."""

import pytest
import torch
from torch.nn import functional as F

from aa_eval.errors import EvalError, MetricUnavailable
from aa_eval.features.i3d import I3D, SamePool, i3d_logits, make_i3d, pad_same
from aa_eval.features.sliding_i3d import SlidingI3D
from aa_eval.metrics.frechet import frechet_distance

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def model() -> I3D:
    return make_i3d()


def grey(frames: int, value: float) -> torch.Tensor:
    return torch.full((1, frames, 224, 224, 3), value)


def test_black_frames(model: I3D) -> None:
    logits = i3d_logits(model, grey(15, -1.0))
    expected = torch.tensor([0.7422105, 2.829727, 0.39993525])  # tfhub i3d-kinetics-400/1
    assert logits.shape == (1, 400)
    torch.testing.assert_close(logits[0, :3], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("frames", "expected"), [(10, 569.77), (30, 151.392)])
def test_fvd_of_black_and_white(model: I3D, frames: int, expected: float) -> None:
    # Equal videos have no covariance: only |mu1 - mu2|^2 is left. TensorFlow's FVD: 151.39244.
    black, white = (i3d_logits(model, grey(frames, v)).numpy() for v in (-1.0, 1.0))
    fvd = frechet_distance(black.repeat(2, axis=0), white.repeat(2, axis=0))
    assert fvd == pytest.approx(expected, abs=1e-2)


def test_other_epsilon_gives_the_other_ports_value() -> None:
    port = make_i3d(bn_eps=1e-5)
    black, white = (i3d_logits(port, grey(15, v)).double() for v in (-1.0, 1.0))
    assert (black - white).square().sum().item() == pytest.approx(134.21, abs=1e-2)


def test_layouts_and_batches_agree(model: I3D) -> None:
    video = torch.rand((2, 9, 224, 224, 3), generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = i3d_logits(model, video)
    channels_first = i3d_logits(model, video[1:].movedim(-1, 1))
    torch.testing.assert_close(together[1:], channels_first, atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_sliding_windows_are_the_plain_ones(model: I3D) -> None:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand((1, 3, 8, 9, 9), generator=generator) * 2 - 1
    video = F.interpolate(coarse, size=(21, 224, 224), mode="trilinear")
    slider = SlidingI3D(model)
    logits = {s: slider.logits(video[:, :, s : s + 16], s) for s in (0, 1, 2, 4, 5)}
    for start in (0, 4, 5):
        plain = i3d_logits(model, video[:, :, start : start + 16])
        torch.testing.assert_close(logits[start], plain, rtol=1e-4, atol=1e-4)
    alone = SlidingI3D(model).logits(video[:, :, 5:21], 5)
    assert torch.equal(alone, logits[5])  # whatever was computed before


@pytest.mark.parametrize("frames", [9, 10, 15])
def test_sliding_windows_of_other_lengths(model: I3D, frames: int) -> None:
    video = torch.rand((1, 3, frames + 2, 224, 224), generator=torch.Generator().manual_seed(3))
    slider = SlidingI3D(model)
    slider.logits(video[:, :, :frames], 0)
    ours = slider.logits(video[:, :, 2:], 2)
    torch.testing.assert_close(ours, i3d_logits(model, video[:, :, 2:]), rtol=1e-4, atol=1e-4)


def test_motion_is_seen(model: I3D) -> None:
    generator = torch.Generator().manual_seed(1)
    first = F.interpolate(torch.rand((1, 3, 14, 14), generator=generator) * 2 - 1, size=(224, 224))
    still = first[:, :, None].repeat(1, 1, 16, 1, 1)
    moving = torch.stack([first.roll(8 * t, dims=3) for t in range(16)], dim=2)
    still_logits, moving_logits = i3d_logits(model, still), i3d_logits(model, moving)
    assert (still_logits - moving_logits).square().sum() > 50


def test_pool_of_one_frame_takes_short_clips(model: I3D) -> None:
    with pytest.raises(MetricUnavailable, match="needs 9 frames, the clip has 8"):
        i3d_logits(model, grey(8, 0.0))
    model.pool_frames = 1
    try:
        assert i3d_logits(model, grey(8, 0.0)).isfinite().all()
    finally:
        model.pool_frames = 2


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (torch.zeros((1, 16, 64, 64, 3)), "resize first"),
        (torch.zeros((1, 16, 224, 224, 3), dtype=torch.uint8), "expected float"),
        (torch.full((1, 16, 224, 224, 3), 255.0), "values up to 255"),
        (torch.full((1, 16, 224, 224, 3), float("nan")), "values up to nan"),
    ],
)
def test_wrong_input_is_refused(model: I3D, video: torch.Tensor, message: str) -> None:
    with pytest.raises(EvalError, match=message):
        i3d_logits(model, video)


@pytest.mark.parametrize("n", range(1, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (3, 1), (2, 2), (1, 1)])
def test_same_padding_is_tensorflows(n: int, kernel: int, stride: int) -> None:
    padded = pad_same(torch.ones(1, 1, n, n, n), (kernel,) * 3, (stride,) * 3, 0.0)
    pooled = F.max_pool3d(padded, kernel, stride)
    assert pooled.shape[2:] == (-(-n // stride),) * 3
    line = padded[0, 0].amax(dim=(1, 2))
    before = int(line.argmax())
    after = padded.shape[2] - n - before
    assert 0 <= after - before <= 1  # the odd pixel goes to the end


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (2, 2, 2)),
        ((2, 2, 2), (2, 2, 2)),
        ((3, 3, 3), (1, 1, 1)),
    ],
)
@pytest.mark.parametrize("size", [(8, 14, 14), (5, 7, 9)])
def test_pools_are_torchs_to_the_bit(
    kernel: tuple[int, int, int], stride: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    x = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(4))
    padded = pad_same(x, kernel, stride, float("-inf"))
    assert torch.equal(SamePool(kernel, stride)(x), F.max_pool3d(padded, kernel, stride))
