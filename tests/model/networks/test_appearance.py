"""Table 3's four ways to show the reference: what each has, reads, trains and stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel

from aa_datasets.loader.batch import Batch
from aa_model.checkpoints.store import read_model, write_checkpoint
from aa_model.cli.train import main
from aa_model.config import GenerateConfig
from aa_model.errors import ModelError
from aa_model.inference.denoise import denoise, encode_conditions, predict
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.image_encoder import null_tokens
from aa_model.networks.parts import part_parameters, parts_of
from aa_model.presets import TINY
from aa_model.training.loop import TrainingState, train
from aa_model.training.stages import STAGES, make_loss, trained_parameters

VARIANTS = ["reference_net", "clip", "controlnet", "clip+controlnet"]
MakeBatch = Callable[..., Batch]


def make(appearance: str, *, temporal: bool = False, seed: int = 0) -> AnimateAnyone:
    torch.manual_seed(seed)
    config = dataclasses.replace(TINY.model, appearance=appearance)
    model = AnimateAnyone(config, temporal=temporal)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return model.eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(
    model: AnimateAnyone, reference: torch.Tensor, which: tuple[int | None, ...], T: int = 1
) -> torch.Tensor:
    """Predictions for videos of T frames of which each names its reference."""
    tokens = model.image_tokens(reference)
    features = model.reference_features(reference, model.encode(reference), tokens)
    rows = torch.stack([null_tokens(tokens[0]) if r is None else tokens[r] for r in which])
    B = len(which)
    pose = model.pose_features(noise(B, T, 3, 32, 32, seed=3))
    timesteps = torch.arange(100, 100 + 50 * B, 50)
    return model(noise(B, T, 4, 8, 8), timesteps, rows, pose, features, which)


@pytest.mark.parametrize("appearance", VARIANTS)
@torch.no_grad()
def test_the_reference_reaches_the_prediction_and_only_where_it_is_named(appearance: str) -> None:
    model = make(appearance, temporal=True)
    references, others = noise(2, 3, 32, 32, seed=1).tanh(), noise(2, 3, 32, 32, seed=2).tanh()
    found, changed = (run(model, r, (1, None, 0), T=2) for r in (references, others))
    for video, named in enumerate((True, False, True)):
        difference = (found[video] - changed[video]).abs().max()
        assert difference > 1e-3 if named else difference < 1e-6
    swapped = run(model, references[[1, 0]], (0, None, 1), T=2)
    assert torch.allclose(found, swapped, atol=1e-5)


@pytest.mark.parametrize("appearance", VARIANTS)
@torch.no_grad()
def test_videos_in_one_batch_are_computed_as_if_alone(appearance: str) -> None:
    model = make(appearance)
    references = noise(2, 3, 32, 32, seed=1).tanh()
    tokens = model.image_tokens(references)
    features = model.reference_features(references, model.encode(references), tokens)
    x, pose = noise(3, 1, 4, 8, 8), model.pose_features(noise(3, 1, 3, 32, 32))
    which, t = (1, None, 0), torch.tensor([3, 500, 900])
    rows = torch.stack([null_tokens(tokens[0]) if r is None else tokens[r] for r in which])
    together = model(x, t, rows, pose, features, which)
    for i in range(3):
        one = slice(i, i + 1)
        alone = model(x[one], t[one], rows[one], pose[one], features, (which[i],))
        assert torch.allclose(together[one], alone, atol=2e-5)


@torch.no_grad()
def test_controlnet_is_diffusers_own_with_the_embedding_taken_out() -> None:
    model = make("clip+controlnet")
    ours = model.controlnet
    plain = ControlNetModel.from_unet(
        model.denoising_unet, conditioning_embedding_out_channels=(16, 32, 96)
    )
    plain.load_state_dict(
        {**ours.net.state_dict(),
         **{f"controlnet_cond_embedding.{n}": p for n, p in ours.embedding.state_dict().items()}}
    )  # fmt: skip
    picture, latents, tokens = noise(1, 3, 32, 32), noise(1, 2, 4, 8, 8), noise(1, 1, 16)
    found = ours(latents, torch.tensor([7]), tokens, ours.embedding(picture), (0,))
    expected = plain(
        latents[0], torch.tensor([7, 7]), tokens.expand(2, -1, -1), picture.expand(2, -1, -1, -1),
        return_dict=False,
    )  # fmt: skip
    for a, b in zip((*found[0], found[1]), (*expected[0], expected[1]), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@torch.no_grad()
def test_a_new_controlnet_changes_nothing_and_starts_as_the_denoising_unet() -> None:
    torch.manual_seed(0)
    model = AnimateAnyone(dataclasses.replace(TINY.model, appearance="controlnet")).eval()
    references = noise(1, 3, 32, 32)
    assert torch.equal(run(model, references, (0,)), run(model, references, (None,)))
    model.controlnet.start_from(model.denoising_unet)
    for name, parameter in model.denoising_unet.named_parameters():
        if name.startswith(("conv_in", "down_blocks", "mid_block", "time_embedding")):
            assert torch.equal(model.controlnet.net.get_parameter(name), parameter), name


@pytest.mark.parametrize("appearance", VARIANTS)
def test_a_variant_has_exactly_its_parts_and_stages_train_only_those(
    appearance: str, make_batch: MakeBatch
) -> None:
    expected = {
        "reference_net": {"image_encoder", "reference_net"},
        "clip": {"image_encoder"},
        "controlnet": {"controlnet"},
        "clip+controlnet": {"image_encoder", "controlnet"},
    }[appearance]
    always = {"vae", "denoising_unet", "pose_guider", "temporal_layers"}
    assert set(parts_of(make(appearance).config)) == expected | always
    names = ["1", "2"] + (["1-controlnet"] if "controlnet" in appearance else [])
    for name in names:
        model = make(appearance, temporal=name == "2")
        stage = STAGES[name].of(model.config)
        config = dataclasses.replace(TINY.training["2"], num_frames=2, steps=1, reference_drop=0.0)
        trained = trained_parameters(model, stage)
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        loss = make_loss(model, stage, config)
        batches = iter([make_batch(B=2, T=2)])
        list(train(TrainingState(trained, config), loss, batches, config))
        moved = {n.partition(".")[0] for n, p in model.named_parameters()
                 if not torch.equal(before[n], p)}  # fmt: skip
        owners = {"temporal_layers": "denoising_unet"}
        assert moved == {owners.get(part, part) for part in stage.trains}
        assert all(p.grad is not None for p in trained.values()), name


def test_stages_that_have_nothing_to_train_say_so() -> None:
    with pytest.raises(ModelError, match="appearance clip does not have"):
        STAGES["1-controlnet"].of(dataclasses.replace(TINY.model, appearance="clip"))


@pytest.mark.parametrize("appearance", VARIANTS)
@torch.no_grad()
def test_checkpoints_hold_the_variant_and_animate(appearance: str, tmp_path: Path) -> None:
    model = make(appearance, temporal=True)
    write_checkpoint(tmp_path, model, dict.fromkeys(parts_of(model.config), "a test"))
    again = read_model(tmp_path)
    assert again.config.appearance == appearance
    for part in parts_of(model.config):
        stored = part_parameters(again, part)
        for name, parameter in part_parameters(model, part).items():
            assert torch.equal(parameter, stored[name]), name
    picture, pose = noise(3, 32, 32).tanh(), noise(10, 3, 32, 32).tanh()
    config = GenerateConfig(steps=2, guidance=2.0)
    found = [denoise(m, encode_conditions(m, picture, pose), config) for m in (model, again)]
    assert torch.allclose(*found, atol=1e-4)
    # Guidance is the textbook's, with the unconditional pass without any reference.
    conditions = encode_conditions(model, picture, pose[:4])
    x, t = noise(1, 4, 4, 8, 8), torch.tensor([600])
    tokens, features = conditions.image_tokens, conditions.pose.of([range(4)])
    with_it = model(x, t, tokens, features, conditions.reference, (0,))
    without = model(x, t, null_tokens(tokens), features, {}, (None,))
    guided = predict(model, x, 600, conditions, (range(4),), guidance=2.5)
    assert torch.allclose(guided, without + 2.5 * (with_it - without), atol=1e-4)


def test_the_papers_two_steps_from_the_command_line(
    puppet_shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = tmp_path / "start"
    write_checkpoint(start, make("clip+controlnet"), {"vae": "a test", "image_encoder": "a test"})
    inits = {"1": [start], "1-controlnet": [tmp_path / "1"], "2": [tmp_path / "1-controlnet"]}
    for stage, init in inits.items():
        more = ["--appearance", "clip+controlnet"] if stage != "2" else []
        # The ControlNet is all that this stage trains: a step without any reference must pass.
        more += ["--reference-drop", "1"] if stage == "1-controlnet" else []
        command = [*puppet_shards, "--stage", stage, "--preset", "tiny", "--steps", "1", "--out",
                   tmp_path / stage, "--init", *init, *more]  # fmt: skip
        assert main([str(argument) for argument in command]) == 0, capsys.readouterr().err
    assert read_model(tmp_path / "2").controlnet is not None
    command = [*puppet_shards, "--stage", "1-controlnet", "--preset", "tiny", "--out",
               tmp_path / "x", "--init", tmp_path / "1", "--appearance", "clip"]  # fmt: skip
    assert main([str(argument) for argument in command]) == 2
    assert "stage 1-controlnet trains controlnet" in capsys.readouterr().err
