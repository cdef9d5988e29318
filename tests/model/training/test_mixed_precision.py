"""What accelerate is told about precision is heeded or refused, never ignored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aa_model.errors import ModelError
from aa_model.presets import TINY
from aa_model.training.distributed import refuse_mixed_precision


@pytest.mark.parametrize(
    ("asked", "autocast", "remedy"),
    [
        (None, False, None),
        ("no", True, None),
        ("bf16", True, None),
        ("bf16", False, "give --autocast for bf16"),
        ("fp16", True, "--mixed_precision bf16"),
        ("fp8", False, "--mixed_precision no"),
    ],
)
def test_a_precision_that_is_not_trained_in_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, autocast: bool, remedy: str | None
) -> None:
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    if asked is not None:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    config = replace(TINY.training["1"], autocast=autocast)
    if remedy is None:
        refuse_mixed_precision(config)
    else:
        with pytest.raises(ModelError, match=f"asks for mixed precision {asked}.*{remedy}"):
            refuse_mixed_precision(config)
