"""AnimateDiff's names against diffusers' converter, its numbers against its formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor

from aa_model.checkpoints.animatediff import from_animatediff, to_animatediff
from aa_model.checkpoints.store import load_part, read_checkpoint, resolve_config
from aa_model.cli.model import main
from aa_model.errors import CheckpointError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import part_parameters
from aa_model.presets import TINY

Make = Callable[..., AnimateAnyone]


@pytest.fixture
def layers(make_tiny: Make) -> dict[str, Tensor]:
    return {n: p.detach() for n, p in part_parameters(make_tiny(temporal=True), "temporal_layers")
            .items()}  # fmt: skip


def test_names_agree_with_diffusers_converter_and_come_back(layers: dict[str, Tensor]) -> None:
    written = to_animatediff(layers, 24)
    assert convert_animatediff_checkpoint_to_diffusers(written).keys() == layers.keys()
    tables = [n for n in written if n.endswith(".attention_blocks.1.pos_encoder.pe")]
    assert len(written) == len(layers) + 2 * len(tables)
    again, temporal = from_animatediff(written, TINY.model.temporal, "file")
    assert again.keys() == layers.keys()
    assert all(again[name] is tensor for name, tensor in layers.items())
    assert (temporal.max_frames, temporal.mid_block) == (24, True)


def peers_temporal_layer(w: dict[str, Tensor], x: Tensor, heads: int) -> Tensor:
    """x [B, C, T, h, w] by the formula of AnimateDiff's paper and names, frames folded first."""
    B, C, T, h, wd = x.shape
    frames = x.transpose(1, 2).reshape(B * T, C, h, wd)
    y = F.group_norm(
        frames, TINY.model.unet.norm_num_groups, w["norm.weight"], w["norm.bias"], 1e-6
    )
    y = y.permute(0, 2, 3, 1).reshape(B, T, h * wd, C)
    y = F.linear(y, w["proj_in.weight"], w["proj_in.bias"])
    block = "transformer_blocks.0."
    for i in (0, 1):
        a, n = f"{block}attention_blocks.{i}.", f"{block}norms.{i}."
        z = F.layer_norm(y, (C,), w[f"{n}weight"], w[f"{n}bias"])
        z = z.transpose(1, 2) + w[f"{a}pos_encoder.pe"][:, None, :T]  # attention over time
        q, k, v = (F.linear(z, w[f"{a}to_{p}.weight"]).unflatten(-1, (heads, -1)) for p in "qkv")
        logits = torch.einsum("bpthd,bpshd->bphts", q, k) * (C // heads) ** -0.5
        z = torch.einsum("bphts,bpshd->bpthd", logits.softmax(-1), v).flatten(-2)
        y = y + F.linear(z, w[f"{a}to_out.0.weight"], w[f"{a}to_out.0.bias"]).transpose(1, 2)
    z = F.layer_norm(y, (C,), w[f"{block}ff_norm.weight"], w[f"{block}ff_norm.bias"])
    z, gate = F.linear(z, w[f"{block}ff.net.0.proj.weight"], w[f"{block}ff.net.0.proj.bias"]).chunk(
        2, -1
    )
    z = F.linear(z * F.gelu(gate), w[f"{block}ff.net.2.weight"], w[f"{block}ff.net.2.bias"])
    y = F.linear(y + z, w["proj_out.weight"], w["proj_out.bias"])
    return x + y.unflatten(2, (h, wd)).permute(0, 4, 1, 2, 3)


@torch.no_grad()
def test_written_weights_give_the_peers_numbers(make_tiny: Make) -> None:
    unet = make_tiny(temporal=True).denoising_unet
    layers = {n: p.detach() for n, p in unet.named_parameters() if ".motion_modules." in n}
    written = to_animatediff(layers, 8)
    modules = {n: m for n, m in unet.named_modules() if isinstance(m, AnimateDiffTransformer3D)}
    assert len(modules) == 7
    for name, module in modules.items():
        prefix = f"{name}.temporal_transformer."
        own = {n.removeprefix(prefix): t for n, t in written.items() if n.startswith(prefix)}
        assert len(own) == 28  # of the facts: 588 tensors in 21 modules
        x = torch.randn(2, own["norm.weight"].shape[0], 5, 3, 4)
        expected = peers_temporal_layer(own, x, TINY.model.temporal.num_heads)
        found = module(x.transpose(1, 2).flatten(0, 1), num_frames=5)
        found = found.unflatten(0, (2, 5)).transpose(1, 2)
        assert torch.allclose(found, expected, atol=1e-5), name


@pytest.mark.parametrize(("length", "mid"), [(24, False), (32, True), (32, False), (128, True)])
def test_a_file_of_each_version_starts_stage_2(
    make_tiny: Make,
    tmp_path: Path,
    layers: dict[str, Tensor],
    length: int,
    mid: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """v1, v2, v3 and MusePose, as training scripts save them: under state_dict, with a prefix."""
    tensors = {n: t for n, t in to_animatediff(layers, length).items() if mid or n[:3] != "mid"}
    path, out = tmp_path / "mm.ckpt", tmp_path / "out"
    torch.save({"epoch": 3, "state_dict": {f"module.{n}": t for n, t in tensors.items()}}, path)
    command = ["import", "--from", "animatediff", str(path), "--preset", "tiny", "--out", str(out)]
    assert main([*command, "--vae", "elsewhere"]) == 2
    assert "--vae is not for --from animatediff" in capsys.readouterr().err
    assert main(command) == 0
    config = read_checkpoint(out).model
    assert (config.temporal.max_frames, config.temporal.mid_block) == (length, mid)
    # A sinusoid has as many positions as a preset asks for: MusePose takes 48 of AnimateDiff's 32.
    longer = replace(TINY.model, temporal=replace(TINY.model.temporal, max_frames=48))
    for wanted in (TINY.model, longer):
        resolved = resolve_config(wanted, {"temporal_layers": out}).temporal
        assert resolved.max_frames == max(length, wanted.temporal.max_frames)
        assert resolved.mid_block == mid
    model = AnimateAnyone(config, temporal=True)
    load_part(model, out, "temporal_layers")
    for name, parameter in part_parameters(model, "temporal_layers").items():
        assert torch.equal(parameter, layers[name]), name


def test_a_learned_table_and_other_tensors_are_refused(layers: dict[str, Tensor]) -> None:
    written = to_animatediff(layers, 24)
    table = next(n for n in written if n.endswith("pe"))
    changed = {**written, table: written[table] + 0.1}
    with pytest.raises(CheckpointError, match="is not the sinusoid"):
        from_animatediff(changed, TINY.model.temporal, "file")
    with pytest.raises(CheckpointError, match=r"lengths \[12, 24\]"):
        from_animatediff({**written, table: written[table][:, :12]}, TINY.model.temporal, "file")
    with pytest.raises(CheckpointError, match="holds more than motion modules: conv_in"):
        from_animatediff({**written, "conv_in.bias": torch.zeros(1)}, TINY.model.temporal, "file")
