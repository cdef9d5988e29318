"""Convolutions with weights laid out once are torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from aa_eval.weights import packed
from aa_eval.weights.packed import ReLUConvolution

CASES = {
    "as in VGG": ((16, 8, 3, 3), (1, 1), (1, 1), [(1, 8, 20, 12), (2, 8, 7, 9)]),
    "as in AlexNet": ((16, 3, 11, 11), (4, 4), (2, 2), [(1, 3, 40, 44), (1, 3, 33, 31)]),
    "of one pixel": ((16, 8, 1, 1), (1, 1), (0, 0), [(1, 8, 14, 14)]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_is_the_relu_of_torchs_convolution_whatever_sizes_came_before(
    case: str, with_bias: bool
) -> None:
    size, stride, padding, shapes = CASES[case]
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(size, generator=draw)
    bias = torch.randn(size[0], generator=draw) if with_bias else None
    inputs = [torch.randn(shape, generator=draw) for shape in shapes]
    with torch.inference_mode():
        ours = ReLUConvolution(weight, bias, stride, padding)
        found = [ours(x) for x in (*inputs, *inputs)]
        for x, value in zip((*inputs, *inputs), found, strict=True):
            expected = F.conv2d(
                x.double(), weight.double(), None if bias is None else bias.double(), stride,
                padding,
            ).relu()  # fmt: skip
            assert (value - expected).abs().max() < 2e-6 * expected.max()
            alone = ReLUConvolution(weight, bias, stride, padding)(x)
            assert torch.equal(value, alone)  # to the bit, whatever came before
    assert (found[0] == 0).any()


def test_without_the_operators_or_with_gradients_torchs_own_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight, x = torch.randn(4, 3, 3, 3), torch.randn(1, 3, 8, 8)
    ours = ReLUConvolution(weight, None, (1, 1), (1, 1))
    expected = F.conv2d(x, weight, padding=1).relu()
    assert torch.equal(ours(x), expected)  # gradients are on
    monkeypatch.setattr(packed, "_HAS_OPERATORS", False)
    with torch.inference_mode():
        assert torch.equal(ours(x), expected)


def test_this_torch_has_the_operators() -> None:
    assert packed._HAS_OPERATORS or not torch.backends.mkldnn.is_available()
