"""Checkpoints: round trips, and every way in which one can be wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from safetensors.torch import save as safetensors_save

from aa_model.checkpoints import store as checkpoint
from aa_model.checkpoints.store import (
    check_tensors,
    find_parts,
    is_our_checkpoint,
    read_checkpoint,
    read_model,
    resolve_config,
    write_checkpoint,
    write_parts,
)
from aa_model.config import ModelConfig, TrainConfig, from_json, to_json
from aa_model.errors import CheckpointError, ConfigError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.noise_schedule import make_scheduler
from aa_model.networks.parts import part_parameters, parts_of
from aa_model.networks.reference_net import make_unet2d
from aa_model.presets import PRESETS, TINY

Make = Callable[..., AnimateAnyone]
HAS = parts_of(TINY.model)
MADE_BY = dict.fromkeys(HAS, "a test")


@pytest.mark.parametrize("name", list(PRESETS))
def test_configurations_survive_json(name: str) -> None:
    preset = PRESETS[name]
    row = json.loads(json.dumps(to_json(preset.model)))
    assert from_json(ModelConfig, row) == preset.model
    for training in preset.training.values():
        assert from_json(TrainConfig, json.loads(json.dumps(to_json(training)))) == training


def test_unknown_missing_and_mistyped_fields_are_named() -> None:
    row = to_json(TINY.model)
    with pytest.raises(ConfigError, match="missing required field `vae`"):
        from_json(ModelConfig, {k: v for k, v in row.items() if k != "vae"})
    for more in ({"extra": 1}, {"vae": {**row["vae"], "extra": 1}}):
        with pytest.raises(ConfigError, match=r"unknown fields \['extra'\]"):
            from_json(ModelConfig, {**row, **more})
    with pytest.raises(ConfigError, match=r"got `str` - at `\$.temporal.max_frames`"):
        from_json(ModelConfig, {**row, "temporal": {**row["temporal"], "max_frames": "many"}})
    with pytest.raises(ConfigError, match=r"'moore' - at `\$.pose_guider.layout`"):
        from_json(ModelConfig, {**row, "pose_guider": {**row["pose_guider"], "layout": "moore"}})


@pytest.mark.parametrize("temporal", [False, True])
@torch.no_grad()
def test_a_checkpoint_read_back_predicts_the_same(
    make_tiny: Make, tmp_path: Path, temporal: bool
) -> None:
    model = make_tiny(temporal=temporal)
    model.set_scaling_factor(0.7)
    parts = {p: "a test" for p in HAS if p != "temporal_layers" or temporal}
    write_checkpoint(tmp_path, model, parts)
    torch.manual_seed(123)  # a weight that was not stored would now be another
    again = read_model(tmp_path)
    assert again.has_temporal_layers == temporal
    assert again.config == model.config
    T = 3 if temporal else 1
    images = torch.rand(T, 3, 32, 32)
    found = []
    for network in (model, again):
        latents = network.encode(images)
        tokens = network.image_encoder(images[:1])
        pose = network.pose_features(images[None])
        features = network.reference_net(latents[:1], tokens)
        out = network(latents[None], torch.tensor([5]), tokens, pose, features, (0,))
        found.append(network.decode(out[0]))
    assert torch.allclose(found[0], found[1], atol=5e-5)  # sums differ with memory layout


def test_denoising_weights_carry_the_names_of_a_plain_unet(make_tiny: Make) -> None:
    model = make_tiny(temporal=True)
    plain = make_unet2d(model.config)
    assert set(part_parameters(model, "denoising_unet")) == set(plain.state_dict())


def test_fp16_halves_the_file_and_reads_back_as_float32(make_tiny: Make, tmp_path: Path) -> None:
    model = make_tiny(temporal=True)
    write_checkpoint(tmp_path / "full", model, MADE_BY)
    info = write_checkpoint(tmp_path / "half", model, MADE_BY, torch.float16)
    assert info.parts["vae"].dtype == "float16"
    sizes = [
        sum(path.stat().st_size for path in (tmp_path / name).glob("*.safetensors"))
        for name in ("full", "half")
    ]
    assert sizes[1] < 0.6 * sizes[0]
    again = read_model(tmp_path / "half")
    for (name, a), b in zip(model.vae.named_parameters(), again.vae.parameters(), strict=True):
        assert b.dtype == torch.float32
        assert torch.allclose(a, b, atol=1e-2, rtol=1e-3), name


def test_a_write_that_stops_in_the_middle_leaves_the_checkpoint_that_was(
    make_tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not some parts of the new one under the old one's config.json."""
    model = make_tiny(temporal=True)
    write_checkpoint(tmp_path, model, MADE_BY)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    saved: list[object] = []

    def save(tensors: dict[str, torch.Tensor]) -> bytes:
        saved.append(tensors)
        if len(saved) == 3:
            raise OSError("no space left on device")
        return safetensors_save(tensors)

    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(tmp_path, model, MADE_BY)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_schedule_of_inference_is_the_one_stored(make_tiny: Make, tmp_path: Path) -> None:
    model = make_tiny()
    noise = dataclasses.replace(model.config.noise, beta_schedule="linear", beta_end=0.02)
    model.config = dataclasses.replace(model.config, noise=noise)
    write_checkpoint(tmp_path, model, {p: "a test" for p in HAS if p != "temporal_layers"})
    stored = make_scheduler(read_model(tmp_path).config.noise)
    assert torch.equal(stored.alphas_cumprod, make_scheduler(noise).alphas_cumprod)
    assert not torch.equal(stored.alphas_cumprod, make_scheduler(TINY.model.noise).alphas_cumprod)


def test_a_loaded_part_keeps_the_shape_it_was_trained_with(make_tiny: Make, tmp_path: Path) -> None:
    model = make_tiny()
    write_checkpoint(tmp_path, model, {"vae": "a test"})
    small_vae = dataclasses.replace(TINY.model, vae=dataclasses.replace(
        TINY.model.vae, block_out_channels=(4, 4, 8)))  # fmt: skip
    assert resolve_config(small_vae, {"vae": tmp_path}).vae == TINY.model.vae


def rewrite(folder: Path, part: str, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change a part's tensors and its recorded hash: a whole file, of another network."""
    path = folder / f"{part}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    row = json.loads((folder / "config.json").read_text())
    row["parts"][part]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(row))


@pytest.fixture
def folder(make_tiny: Make, tmp_path: Path) -> Path:
    write_checkpoint(tmp_path, make_tiny(temporal=True), MADE_BY)
    return tmp_path


def test_missing_surplus_and_misshapen_tensors_are_named(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["conv_in.bias"]
        tensors["conv_more.bias"] = torch.zeros(1)
        tensors["conv_out.weight"] = torch.zeros(4, 16, 1, 1)

    rewrite(folder, "denoising_unet", change)
    with pytest.raises(CheckpointError) as caught:
        read_model(folder)
    message = str(caught.value)
    assert "missing conv_in.bias" in message
    assert "surplus conv_more.bias" in message
    assert "conv_out.weight is [4, 16, 1, 1] instead of [4, 16, 3, 3]" in message


def test_of_many_faults_twenty_are_listed_and_the_others_counted() -> None:
    def faults(count: int) -> str:
        expected = {f"w{n:02}": torch.zeros(1) for n in range(count)}
        with pytest.raises(
            CheckpointError, match="x is of another network: missing w00; "
        ) as caught:
            check_tensors(expected, {}, "x")
        return str(caught.value)

    assert faults(20).endswith("; missing w19")
    assert faults(23).endswith("; missing w19; and 3 more")
    check_tensors({"a": torch.zeros(2, device="meta")}, {"a": torch.ones(2)}, "x")


@pytest.mark.parametrize(
    ("made_by", "parts", "untrained", "is_base"),
    [
        ("imported from sd", ("denoising_unet",), False, True),  # of before bases were marked
        ("imported from moore", ("denoising_unet", "pose_guider"), False, False),
        ("imported from sd", ("denoising_unet", "pose_guider"), True, True),
        ("stage 1, 10 steps", ("denoising_unet",), False, False),
    ],
)
def test_size_and_schedule_are_those_of_a_trained_unet_and_of_no_base(
    tmp_path: Path, made_by: str, parts: tuple[str, ...], untrained: bool, is_base: bool
) -> None:
    noise = dataclasses.replace(TINY.model.noise, beta_end=0.02)
    stored = dataclasses.replace(
        TINY.model, noise=noise, size_hw=(64, 32), more_sizes_hw=((32, 64),), untrained=untrained
    )
    tensors = {part: {"w": torch.zeros(1)} for part in parts}
    write_parts(tmp_path, stored, tensors, dict.fromkeys(parts, made_by))
    found = resolve_config(TINY.model, dict.fromkeys(parts, tmp_path))
    of = TINY.model if is_base else stored
    assert (found.noise, found.size_hw, found.more_sizes_hw) == (
        of.noise, of.size_hw, of.more_sizes_hw
    )  # fmt: skip
    other = resolve_config(TINY.model, {"vae": tmp_path})
    assert other.noise == TINY.model.noise, "another part says nothing of it"


@pytest.mark.parametrize(("asked", "stored"), [(8, 24), (24, 8)])
def test_temporal_layers_have_the_more_of_two_numbers_of_positions(
    tmp_path: Path, asked: int, stored: int
) -> None:
    def config(max_frames: int) -> ModelConfig:
        temporal = dataclasses.replace(TINY.model.temporal, max_frames=max_frames)
        return dataclasses.replace(TINY.model, temporal=temporal)

    parts = {"temporal_layers": {"w": torch.zeros(1)}}
    write_parts(tmp_path, config(stored), parts, {"temporal_layers": "a test"})
    found = resolve_config(config(asked), {"temporal_layers": tmp_path})
    assert found.temporal.max_frames == 24


def test_of_several_folders_the_last_that_has_a_part_counts(tmp_path: Path) -> None:
    for name, parts in (("one", ("vae", "pose_guider")), ("two", ("vae",))):
        tensors = {part: {"w": torch.zeros(1)} for part in parts}
        write_parts(tmp_path / name, TINY.model, tensors, dict.fromkeys(parts, name))
    one, two = tmp_path / "one", tmp_path / "two"
    assert find_parts([one, two]) == {"vae": two, "pose_guider": one}
    assert find_parts([two, one]) == {"vae": one, "pose_guider": one}


def test_what_a_part_is_stored_as_is_recorded(tmp_path: Path) -> None:
    tensors = {"vae": {"a": torch.zeros(2, 3), "b": torch.zeros(4)}}
    info = write_parts(tmp_path, TINY.model, tensors, {"vae": "a test"}, torch.float16)
    record = info.parts["vae"]
    assert (record.dtype, record.num_parameters, record.made_by) == ("float16", 10, "a test")
    content = (tmp_path / "vae.safetensors").read_bytes()
    assert record.sha256 == hashlib.sha256(content).hexdigest()
    assert read_checkpoint(tmp_path) == info
    row = json.loads((tmp_path / "config.json").read_text())
    row["parts"]["wings"] = row["parts"]["vae"]
    (tmp_path / "config.json").write_text(json.dumps(row))
    with pytest.raises(
        CheckpointError, match=r"parts that this version does not know: \['wings'\]"
    ):
        read_checkpoint(tmp_path)
    assert is_our_checkpoint(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    assert is_our_checkpoint(tmp_path), "config.json is ours, whatever else lies there"
    (tmp_path / "config.json").unlink()
    assert not is_our_checkpoint(tmp_path)
    assert not is_our_checkpoint("some/repository")


def test_one_altered_byte_is_found(folder: Path) -> None:
    path = folder / "pose_guider.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"pose_guider\.safetensors was altered"):
        read_model(folder)


@pytest.mark.parametrize("part", [p for p in HAS if p != "temporal_layers"])
def test_an_absent_part_is_an_error_and_never_random(folder: Path, part: str) -> None:
    (folder / f"{part}.safetensors").unlink()
    with pytest.raises(CheckpointError, match=f"holds no {part}"):
        read_model(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a checkpoint: it has no config.json; give one that aa-train wrote"),
        ("{", "cannot be read as a checkpoint"),
        ('{"format": "another"}', "is of format 'another'"),
        ('{"format": "aa-model 1"}', "cannot be read as a checkpoint"),
        ("[]", "cannot be read as a checkpoint"),
    ],
)
def test_a_folder_that_is_no_checkpoint(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path)


def test_a_folder_that_is_not_there_is_told_from_one_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="is not a checkpoint: the folder does not exist; give"
    ):
        read_checkpoint(tmp_path / "absent")
