"""Somebody else's files: tensors come out of every form that they have, and nothing is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from aa_model.checkpoints.safe_load import read_weights
from aa_model.errors import CheckpointError

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.float16)}


@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {"state_dict": TENSORS, "epoch": 3},
        {"state_dict": {f"module.{name}": tensor for name, tensor in TENSORS.items()}},
        {f"module.{name}": tensor for name, tensor in TENSORS.items()},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_gives_its_tensors(tmp_path: Path, content: Any, zipped: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read_weights(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())
    assert found["b"].dtype == torch.float16


def test_a_safetensors_file_gives_its_tensors(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "weights.safetensors")
    found = read_weights(tmp_path / "weights.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())
    (tmp_path / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors cannot be read as weights al"):
        read_weights(tmp_path / "weights.safetensors")


class _Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_a_pickle_that_would_run_something_is_refused_and_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(pickle.dumps({"a": _Command()}))
    with pytest.raises(CheckpointError, match=r"as weights alone: .*; nothing else of it is run"):
        read_weights(tmp_path / "weights.bin")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"a": torch.ones(1), "epoch": 3}, "it holds epoch"),
        ({"state_dict": {"lr": 0.1}}, "it holds lr"),
        ({n: n for n in "abcdefg"}, "it holds a, b, c, d, e$"),
        ([torch.ones(1)], "it holds list"),
        ({"state_dict": [1]}, "it holds state_dict"),
    ],
)
def test_what_is_no_dict_of_tensors_is_refused(tmp_path: Path, content: Any, why: str) -> None:
    torch.save(content, tmp_path / "weights.ckpt")
    with pytest.raises(CheckpointError, match=rf"weights\.ckpt is not a dict of tensors: {why}"):
        read_weights(tmp_path / "weights.ckpt")


def test_a_file_that_is_missing_or_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"weights\.pth is missing: it is one of the files"):
        read_weights(tmp_path / "weights.pth")
    for content in (b"", b"\x80\x02"):
        (tmp_path / "weights.pth").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"weights\.pth cannot be read"):
            read_weights(tmp_path / "weights.pth")
