"""What aa-animate says and checks before it loads a network; LoRA by its options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image

from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_datasets.video.canonical import read_canonical
from aa_model.checkpoints.store import write_checkpoint
from aa_model.cli.animate import main as aa_animate
from aa_model.errors import ModelError
from aa_model.inference.options import AnimateOptions, UiOptions
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.flops import count_costs
from aa_model.networks.parts import parts_of
from aa_model.presets import TINY
from aa_model.training.options import TrainOptions


@pytest.fixture
def inputs(make_tiny: Callable[..., AnimateAnyone], tmp_path: Path) -> list[str]:
    """A checkpoint, a wide photo and a pose of 12 frames, as options."""
    model = make_tiny(temporal=True)
    made_by = dict.fromkeys(parts_of(model.config), "a test")
    write_checkpoint(tmp_path / "run", model, made_by)
    puppet = render_puppet(1, 1, num_frames=12, size_hw=(32, 48))
    Image.fromarray(puppet.frames[0]).save(tmp_path / "photo.png")
    write_pose(tmp_path / "pose.npz", puppet.pose)
    return [
        "--checkpoint", str(tmp_path / "run"), "--reference", str(tmp_path / "photo.png"),
        "--pose", str(tmp_path / "pose.npz"), "--steps", "1", "--no-align", "--out",
        str(tmp_path / "out.mp4"),
    ]  # fmt: skip


def test_a_missing_file_is_refused_before_anything_else_is_said(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pose.npz").unlink()
    for more in ([], ["--dry-run"]):
        assert aa_animate([*inputs, *more]) == 2
        assert capsys.readouterr().err == f"aa-animate: error: no file {tmp_path / 'pose.npz'}\n"


def test_a_dry_run_counts_parameters_work_and_windows(
    inputs: list[str], make_tiny: Callable[..., AnimateAnyone], capsys: pytest.CaptureFixture[str]
) -> None:
    assert aa_animate([*inputs, "--dry-run", "--size", "64x32"]) == 0
    said = capsys.readouterr().out
    model = make_tiny(temporal=True)
    unused = model.reference_net.unused_parameters() if model.reference_net else set()
    stored = sum(
        p.numel()
        for name, p in model.named_parameters()
        if name.removeprefix("reference_net.") not in unused
    )
    assert "preset tiny, 64x32, 1 steps" in said  # height x width, as --size has it
    assert f"{stored / 1e6:.1f} M parameters" in said
    assert "240 frames" in said
    assert "40 windows, 1.33 times the frames" in said  # 8 frames that share 2
    assert aa_animate([*inputs, "--dry-run", "--merge", "wrapped", "--overlap", "0"]) == 0
    assert "30 windows, 1.00 times the frames" in capsys.readouterr().out
    assert aa_animate([*inputs, "--dry-run", "--window", "9"]) == 2
    assert "the temporal layers see at most 8" in capsys.readouterr().err


def test_costs_grow_with_frames_and_pixels_as_they_must() -> None:
    one, two = (count_costs(TINY.model, frames, (32, 32)) for frames in (2, 4))
    # All but attention over time, which has so few frames that it does not count.
    assert two.without_reference == pytest.approx(2 * one.without_reference, rel=0.01)
    assert one.guided_step == one.with_reference + one.without_reference
    assert one.with_reference > one.without_reference
    wide = count_costs(TINY.model, 2, (32, 64))
    assert wide.encode == pytest.approx(2 * one.encode, rel=0.05)
    guided = one.video(10, 5, 20, guided=True) - one.video(10, 5, 20, guided=False)
    assert guided == pytest.approx(5 * 20 * one.without_reference)


def test_what_a_long_video_costs_more_is_said(
    inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert aa_animate(inputs) == 0
    assert "12 frames in 2 windows of 8: 1.33 times the frames" in capsys.readouterr().err


def test_strings_are_paths_in_python_too(tmp_path: Path) -> None:
    options = AnimateOptions(checkpoint="run", out="o.mp4", reference="r.png", pose="p.npz")  # type: ignore[arg-type]
    assert (options.checkpoint, options.pose) == (Path("run"), Path("p.npz"))
    assert AnimateOptions(checkpoint="r", out="o", shards="a.tar").shards == (Path("a.tar"),)  # type: ignore[arg-type]
    assert UiOptions(checkpoint="run").checkpoint == Path("run")  # type: ignore[arg-type]
    training = TrainOptions(["a.tar"], stage="1", preset="tiny", out="run", init=["x"])  # type: ignore[arg-type]
    assert (training.shards, training.init) == ((Path("a.tar"),), (Path("x"),))
    assert training.out == Path("run")


def test_a_lora_is_taken_from_its_folder_and_changes_the_video(
    inputs: list[str], make_tiny: Callable[..., AnimateAnyone], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    unet = make_tiny(temporal=True).denoising_unet
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    AnimatePipeline.save_lora_weights(tmp_path / "lora", get_peft_model_state_dict(unet))
    videos = []
    for scale in ("0", "1"):
        assert aa_animate([*inputs, "--lora", str(tmp_path / "lora"), "--lora-scale", scale]) == 0
        videos.append(read_canonical(tmp_path / "out.mp4").astype(int))
    assert aa_animate(inputs) == 0
    plain = read_canonical(tmp_path / "out.mp4").astype(int)
    assert np.array_equal(videos[0], plain)
    assert np.abs(videos[1] - plain).mean() > 1
    capsys.readouterr()
    assert aa_animate([*inputs, "--lora", str(tmp_path / "none")]) == 2
    assert "no LoRA" in capsys.readouterr().err
    with pytest.raises(ModelError, match="--lora-scale is for --lora"):
        AnimateOptions(checkpoint=tmp_path, out=tmp_path, shards=(tmp_path,), lora_scale=2.0)
