"""--cache-latents with --frozen-bfloat16: the VAE is halved, the cache must not mind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from aa_model.checkpoints.store import write_checkpoint
from aa_model.cli.train import main
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.precision import freeze_as_bfloat16
from aa_model.training.latent_cache import LatentCache
from aa_model.training.stages import STAGES, trained_parameters

MakeModel = Callable[..., AnimateAnyone]


@torch.no_grad()
def test_the_cache_gives_what_encoding_under_autocast_gives(make_tiny: MakeModel) -> None:
    model = make_tiny()
    trained_parameters(model, STAGES["1"])
    exact = LatentCache(model)
    images = torch.rand((3, 3, 32, 32), generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = exact.encode(images)
    freeze_as_bfloat16(model)
    halved = LatentCache(model)
    found = halved.encode(images)
    assert found.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        plain = torch.cat([model.encode(image[None]) for image in images])
        assert torch.equal(halved.encode(images), found)
        again = LatentCache(model).encode(images)
    assert torch.equal(found, plain.float())
    assert torch.equal(again, found)
    error = (found - expected).norm() / expected.norm()
    assert 0 < error < 0.03  # bfloat16 keeps 8 bits


def test_a_run_with_both_flags_trains(
    make_tiny: MakeModel,
    puppet_shards: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = tmp_path / "start"
    write_checkpoint(start, make_tiny(), {"vae": "a test", "image_encoder": "a test"})
    command = [*puppet_shards, "--stage", "1", "--preset", "tiny", "--steps", "1", "--out",
               tmp_path / "1", "--init", start, "--cache-latents", "--frozen-bfloat16",
               "--autocast", "--samples-every", "1"]  # fmt: skip
    assert main([str(argument) for argument in command]) == 0, capsys.readouterr().err
    assert len(list((tmp_path / "1" / "samples").glob("step-000001-*.png"))) == 2
    assert (tmp_path / "1" / "denoising_unet.safetensors").is_file()
