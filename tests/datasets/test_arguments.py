"""What arguments are refused by name."""

from __future__ import annotations

import argparse

import pytest

from aa_datasets.arguments import positive, rate


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "²"])
def test_a_count_is_a_whole_number_of_at_least_1(text: str) -> None:
    assert positive("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        positive(text)


@pytest.mark.parametrize("text", ["0", "-24", "nan", "inf", "fast"])
def test_a_rate_is_a_number_above_0(text: str) -> None:
    assert rate("23.976") == 23.976
    with pytest.raises(argparse.ArgumentTypeError, match="frames per second"):
        rate(text)
