"""Training may begin with few frames per clip: the same clips, the first of their frames."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from aa_datasets.loader.config import LoaderConfig
from aa_datasets.loader.loader import make_loader
from aa_model.checkpoints.store import write_checkpoint
from aa_model.errors import ConfigError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.presets import TINY
from aa_model.training import run
from aa_model.training.options import PrecomputeOptions, TrainOptions
from aa_model.training.precompute import precompute


def test_the_first_tenth_of_the_steps_has_few_frames() -> None:
    config = dataclasses.replace(TINY.training["1"], steps=25, num_frames=8, early_num_frames=2)
    assert [config.frames_after(step) for step in range(5)] == [2, 2, 2, 8, 8]
    plain = dataclasses.replace(config, early_num_frames=0)
    assert {plain.frames_after(step) for step in range(25)} == {8}
    with pytest.raises(ConfigError, match="early_num_frames is 9: expected at most num_frames"):
        dataclasses.replace(config, early_num_frames=9)


def test_the_first_frames_of_a_batch_are_cut_in_all_of_its_fields(
    puppet_shards: list[Path],
) -> None:
    config = LoaderConfig(stage=1, batch_size=2, size_hw=(32, 32), num_frames=4)
    whole = next(make_loader(puppet_shards, config))
    assert run._first_frames(whole, 4) is whole
    cpu = torch.device("cpu")
    expected = whole.to(cpu)
    for batch in (whole, whole.drawn()):
        found = run._first_frames(batch, 3).to(cpu)
        assert torch.equal(found.target, expected.target[:, :3])
        assert torch.equal(found.pose, expected.pose[:, :3])
        assert torch.equal(found.reference, expected.reference)


def test_a_run_has_few_frames_and_then_all_with_stored_latents_too(
    puppet_shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tmp_path / "start"
    parts = dict.fromkeys(("vae", "image_encoder"), "a test")
    torch.manual_seed(0)
    write_checkpoint(start, AnimateAnyone(TINY.model), parts)
    for suffix in (".tar", ".json"):  # latents are written next to a shard: a copy of it
        shutil.copy(puppet_shards[0].with_suffix(suffix), tmp_path)
    shards = (tmp_path / puppet_shards[0].name,)
    precompute(PrecomputeOptions(shards, preset="tiny", init=(start,), device="cpu"))
    seen: list[tuple[int, int]] = []
    first_frames = run._first_frames

    def note(batch: run.FrameBatch, count: int) -> run.FrameBatch:
        cut = first_frames(batch, count)
        assert cut.latents is not None
        seen.append((cut.target.shape[1], cut.latents.target_moments.shape[1]))
        return cut

    monkeypatch.setattr(run, "_first_frames", note)
    config = dataclasses.replace(
        TINY.training["1"], steps=11, num_frames=3, early_num_frames=1, precomputed_latents=True
    )
    options = TrainOptions(
        shards, stage="1", preset="tiny", out=tmp_path / "run", init=(start,), training=config,
        device="cpu",
    )  # fmt: skip
    steps = run.train_stage(options)
    assert seen == [(1, 1)] * 2 + [(3, 3)] * 9
    assert len(steps) == 11
