"""AnimatePipeline as diffusers' own pipelines: folders, components, dtypes, offloading, LoRA."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from diffusers import AutoencoderKL, DiffusionPipeline, EulerDiscreteScheduler
from diffusers.models.attention_dispatch import AttentionBackendName
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

from aa_datasets.puppets.render import render_puppet
from aa_model.checkpoints.store import read_checkpoint, read_model, write_checkpoint
from aa_model.cli.model import main as aa_model
from aa_model.errors import ModelError
from aa_model.inference.pipeline import AnimatePipeline
from aa_model.networks import reference_attention
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.parts import parts_of
from aa_model.presets import TINY

PUPPET = render_puppet(1, 1, num_frames=3, size_hw=(64, 48))
MakeModel = Callable[..., AnimateAnyone]


def animate(pipeline: AnimatePipeline, **arguments: Any) -> NDArray[np.int64]:
    arguments = {"num_inference_steps": 2, **arguments}
    frames = pipeline(PUPPET.frames[0], PUPPET.pose, **arguments).frames
    return np.asarray(frames).astype(int)


@pytest.fixture
def pipeline(make_tiny: MakeModel) -> AnimatePipeline:
    return AnimatePipeline.from_model(make_tiny(temporal=True), made_by={"vae": "a test"})


@pytest.fixture
def folder(pipeline: AnimatePipeline, tmp_path: Path) -> Path:
    pipeline.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize(
    ("appearance", "layout", "temporal", "clean"),
    [("reference_net", "controlnet", True, True), ("clip+controlnet", "paper", True, None),
     ("clip", "paper", False, None)],
)  # fmt: skip
def test_diffusers_own_loader_gives_the_same_video(
    make_tiny: MakeModel,
    tmp_path: Path,
    appearance: str,
    layout: str,
    temporal: bool,
    clean: bool | None,
) -> None:
    guider = replace(TINY.model.pose_guider, layout=layout)
    if layout == "paper":
        guider = replace(guider, channels=(8, 16), strides=(2, 2))
    times = replace(TINY.model.temporal, clean_attention=clean)
    config = replace(TINY.model, appearance=appearance, pose_guider=guider, temporal=times)
    pipeline = AnimatePipeline.from_model(make_tiny(config, temporal=temporal))
    expected = animate(pipeline)
    pipeline.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(tmp_path)
    loaded = DiffusionPipeline.from_pretrained(tmp_path, trust_remote_code=True)
    assert type(loaded) is AnimatePipeline
    assert np.array_equal(animate(loaded), expected)
    # Ours runs no code of the folder, and puts weights into the layout that is fast on a CPU.
    (tmp_path / "pipeline.py").write_text("raise SystemExit('was run')")
    ours = AnimatePipeline.from_pretrained(tmp_path)
    assert np.abs(animate(ours) - expected).max() <= 1
    by_us = AnimatePipeline.from_model(read_model(tmp_path))
    assert np.abs(animate(by_us) - expected).max() <= 1


def test_what_is_saved_is_a_checkpoint_of_ours_as_well(
    pipeline: AnimatePipeline, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = read_checkpoint(folder)
    assert info.model == pipeline.model.config
    assert set(info.parts) == set(parts_of(info.model)) - {"controlnet"}
    assert info.parts["vae"].made_by == "a test"
    write_checkpoint(tmp_path / "ours", pipeline.model, dict.fromkeys(info.parts, "a test"))
    ours = read_checkpoint(tmp_path / "ours").parts
    for part, record in info.parts.items():
        more = record.num_parameters - ours[part].num_parameters
        assert more == 0 or part == "reference_net"  # its unused tensors (trap T4)
    expected = read_model(tmp_path / "ours").state_dict()
    found = read_model(folder).state_dict()
    unused = pipeline.model.reference_net.unused_parameters()
    for name, tensor in expected.items():
        if name.removeprefix("reference_net.") not in unused:
            assert torch.equal(found[name], tensor), name
    write_checkpoint(tmp_path / "copied", pipeline.model, {}, copied={"vae": folder})
    assert read_checkpoint(tmp_path / "copied").parts["vae"].num_parameters
    assert aa_model(["info", str(folder)]) == 0
    assert "temporal_layers" in capsys.readouterr().out
    assert aa_model(["export", str(tmp_path / "ours"), "--to", "diffusers", "--out",
                     str(tmp_path / "exported"), "--dtype", "fp32"]) == 0  # fmt: skip
    again = AnimatePipeline.from_pretrained(tmp_path / "exported")
    assert np.abs(animate(again) - animate(pipeline)).max() <= 1
    assert again.config.made_by["vae"] == "a test"


def test_components_are_replaced_at_loading_or_later(
    pipeline: AnimatePipeline, folder: Path, tmp_path: Path
) -> None:
    other = AutoencoderKL.from_config(pipeline.vae.config)
    expected = None
    write_checkpoint(tmp_path / "ours", pipeline.model,
                     dict.fromkeys(read_checkpoint(folder).parts, "a test"))  # fmt: skip
    for loaded in (
        AnimatePipeline.from_pretrained(folder, vae=other),
        AnimatePipeline.from_pretrained(tmp_path / "ours", vae=other),
        DiffusionPipeline.from_pretrained(folder, vae=other, trust_remote_code=True),
    ):
        assert loaded.vae is loaded.model.vae is other
        expected = animate(loaded) if expected is None else expected
        assert np.abs(animate(loaded) - expected).max() <= 1
    assert np.abs(expected - animate(pipeline)).max() > 1
    rebuilt = AnimatePipeline(**pipeline.components, **pipeline.parameters)
    assert np.array_equal(animate(rebuilt), animate(pipeline))
    scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    assert AnimatePipeline.from_pretrained(folder, scheduler=scheduler).scheduler is scheduler
    with pytest.raises(ModelError, match="compile it in place"):
        pipeline.denoising_unet = torch.compile(pipeline.denoising_unet)
    with pytest.raises(ModelError, match="lacks denoising_unet"):
        AnimatePipeline(**{**pipeline.components, "denoising_unet": None}, **pipeline.parameters)
    with pytest.raises(ModelError, match=r"variant: for folders that save_pretrained wrote"):
        AnimatePipeline.from_pretrained(tmp_path / "ours", variant="fp16")


def test_a_dtype_of_all_or_of_each_component_is_taken(
    pipeline: AnimatePipeline, folder: Path
) -> None:
    expected = animate(pipeline)
    half = DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.bfloat16,
                                             trust_remote_code=True)  # fmt: skip
    assert {n.dtype for n in half.components.values() if isinstance(n, nn.Module)} == {
        torch.bfloat16
    }
    assert np.abs(animate(half) - expected).mean() < 3
    mixed = AnimatePipeline.from_pretrained(
        folder, dtype={"vae": torch.float32, "default": torch.bfloat16}
    )
    assert (mixed.vae.dtype, mixed.denoising_unet.dtype) == (torch.float32, torch.bfloat16)
    assert np.abs(animate(mixed) - expected).mean() < 3
    pipeline.to(torch.bfloat16)
    assert np.abs(animate(pipeline) - animate(half)).mean() < 1
    half.save_pretrained(folder, variant="bf16")
    named = AnimatePipeline.from_pretrained(folder, variant="bf16", dtype=torch.bfloat16)
    assert np.abs(animate(named) - animate(half)).mean() < 1


class _Watch(ModelHook):
    """accelerate's hook without a device: remembers that it was asked to bring the network."""

    def __init__(self, name: str, brought: list[str]) -> None:
        self.name, self.brought = name, brought

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self.name not in self.brought[-1:]:
            self.brought.append(self.name)
        return args, kwargs


@pytest.fixture
def watched(pipeline: AnimatePipeline) -> Iterator[tuple[AnimatePipeline, list[str]]]:
    """No layer may compute before the hook of its network has run: it would lie on the CPU."""
    brought: list[str] = []

    def check(name: str) -> Callable[..., None]:
        def before(*unused: object) -> None:
            assert name in brought, f"{name} computes, and was not brought to its device"

        return before

    for name, network in pipeline.components.items():
        if isinstance(network, nn.Module):
            for layer in network.modules():
                if not [*layer.children()]:
                    layer.register_forward_pre_hook(check(name))
            add_hook_to_module(network, _Watch(name, brought))
    return pipeline, brought


def test_every_network_is_brought_before_it_computes(
    watched: tuple[AnimatePipeline, list[str]],
) -> None:
    pipeline, brought = watched
    animate(pipeline)
    order = pipeline.model_cpu_offload_seq.split("->")
    assert {*brought} == {*order}
    # One network follows another: none is fetched twice but the VAE, which decodes in the end.
    assert sorted(brought) == sorted([*{*brought}, "vae"])


def test_offloading_on_this_machine_changes_nothing(pipeline: AnimatePipeline) -> None:
    """diffusers' group offloading with the CPU as both places; the rest of it needs a GPU."""
    expected = animate(pipeline)
    pipeline.enable_group_offload(
        onload_device=torch.device("cpu"), offload_device=torch.device("cpu"),
        offload_type="leaf_level", exclude_modules=["image_encoder"],
    )  # fmt: skip
    assert np.array_equal(animate(pipeline), expected)


def test_the_vae_slices_and_tiles(pipeline: AnimatePipeline) -> None:
    expected, decoded = animate(pipeline), []
    pipeline.vae.decoder.register_forward_hook(lambda m, i, o: decoded.append(len(o)))
    pipeline.enable_vae_slicing()
    assert np.abs(animate(pipeline) - expected).max() <= 1
    assert decoded == [1, 1, 1]
    pipeline.disable_vae_slicing()
    pipeline.enable_vae_tiling()
    pipeline.vae.tile_sample_min_size, pipeline.vae.tile_latent_min_size = 16, 4
    del decoded[:]
    assert animate(pipeline).shape == expected.shape
    assert len(decoded) > 1
    pipeline.disable_vae_tiling()
    assert np.array_equal(animate(pipeline), expected)


def test_latents_are_taken_and_given(pipeline: AnimatePipeline) -> None:
    noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    by_noise = animate(pipeline, latents=noise)
    assert np.array_equal(by_noise, animate(pipeline, generator=torch.manual_seed(0)))


def add_lora(network: nn.Module, targets: list[str] | str, seed: int) -> dict[str, torch.Tensor]:
    """Put a LoRA that changes something into a network, as training does; its tensors."""
    network.add_adapter(LoraConfig(r=2, lora_alpha=4, target_modules=targets))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    layers: dict[str, torch.Tensor] = get_peft_model_state_dict(network)
    return layers


def test_lora_of_every_part_is_saved_loaded_fused_and_unloaded(
    make_tiny: MakeModel, tmp_path: Path
) -> None:
    trained = AnimatePipeline.from_model(make_tiny(temporal=True))
    plain = animate(trained)
    denoising = add_lora(trained.denoising_unet, ["to_q", "to_v"], 1)
    reference = add_lora(trained.reference_net, ["to_k"], 2)
    assert any(".motion_modules." in name for name in denoising)
    expected = animate(trained)
    assert np.abs(expected - plain).max() > 5
    AnimatePipeline.save_lora_weights(tmp_path, denoising, reference)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    parts = {name.partition(".")[0] for name in load_file(file)}
    assert parts == {"denoising_unet", "reference_net"}
    with pytest.raises(ModelError, match="fuse_lora"):
        trained.save_pretrained(tmp_path / "whole")

    fresh = AnimatePipeline.from_model(make_tiny(temporal=True))
    # Without metadata alpha is the rank, as diffusers has it: the scale of training is 2.
    fresh.load_lora_weights(file, adapter_name="style")
    assert fresh.get_active_adapters() == ["style"]
    fresh.set_adapters("style", 2.0)
    assert np.array_equal(animate(fresh), expected)
    fresh.set_adapters("style", 0.0)
    assert np.array_equal(animate(fresh), plain)
    fresh.set_adapters("style", 2.0)
    fresh.fuse_lora()
    fresh.unload_lora_weights()
    assert np.abs(animate(fresh) - expected).max() <= 1
    fresh.save_pretrained(tmp_path / "fused")
    again = AnimatePipeline.from_pretrained(tmp_path / "fused")
    assert np.abs(animate(again) - expected).max() <= 1


def test_lora_keeps_its_scale_by_metadata_and_of_stable_diffusion_is_read(
    make_tiny: MakeModel, tmp_path: Path
) -> None:
    from diffusers.training_utils import _collate_lora_metadata

    trained = AnimatePipeline.from_model(make_tiny(temporal=True))
    layers = add_lora(trained.denoising_unet, r".*\.attentions\..*to_q", 1)
    expected = animate(trained)
    metadata = _collate_lora_metadata({"denoising_unet": trained.denoising_unet})
    AnimatePipeline.save_lora_weights(tmp_path, layers, **metadata)
    fresh = AnimatePipeline.from_model(make_tiny(temporal=True))
    fresh.load_lora_weights(tmp_path)
    assert np.array_equal(animate(fresh), expected)
    fresh.unload_lora_weights()
    # Names of a LoRA of SD 1.5; one of its text encoder has nothing to change here.
    of_sd = {f"unet.{name}": t for name, t in layers.items()}
    fresh.load_lora_weights({**of_sd, "text_encoder.q.lora_A.weight": torch.zeros(2, 2)})
    fresh.set_adapters("default_0", 2.0)
    assert np.array_equal(animate(fresh), expected)


def test_a_lora_that_does_not_fit_is_refused_by_name(
    pipeline: AnimatePipeline, tmp_path: Path
) -> None:
    wrong = {"denoising_unet.down_blocks.7.to_q.lora_A.weight": torch.zeros(2, 16)}
    with pytest.raises(ModelError, match=r"1 layers .* such as down_blocks.7.to_q"):
        pipeline.load_lora_weights(wrong)
    with pytest.raises(ModelError, match=r"tensor 'transformer\.x\.lora_A\.weight': expected"):
        pipeline.load_lora_weights({"transformer.x.lora_A.weight": torch.zeros(2, 16)})
    with pytest.raises(ModelError, match="cannot be read as a LoRA"):
        pipeline.load_lora_weights(tmp_path / "none")


def test_the_folder_says_what_diffusers_needs(folder: Path) -> None:
    row = json.loads((folder / "model_index.json").read_text())
    assert row["_class_name"] == ["pipeline", "AnimatePipeline"]
    assert row["vae"] == ["diffusers", "AutoencoderKL"]
    assert row["pose_guider"] == ["modeling", "ControlNetPoseGuider"]
    assert (folder / "pose_guider" / "modeling.py").is_file()
    assert row["network"]["preset"] == "tiny"


def test_compiled_blocks_give_the_same_video_and_are_traced_once(
    pipeline: AnimatePipeline,
) -> None:
    """By a backend that runs the graphs as they are: no compiler, but the tracing of one."""
    expected, traced = animate(pipeline), []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        traced.append(graph)
        return graph.forward

    pipeline.compile_repeated_blocks(backend=backend)
    assert np.abs(animate(pipeline) - expected).max() <= 1
    once = len(traced)
    assert once > 10
    animate(pipeline)
    assert len(traced) == once


def test_attention_runs_on_the_kernel_that_was_chosen(
    pipeline: AnimatePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = animate(pipeline, output_type="latent")
    asked: list[set[AttentionBackendName | None]] = []
    real = reference_attention.dispatch_attention_fn

    def dispatch(*tensors: torch.Tensor, backend: AttentionBackendName | None) -> torch.Tensor:
        asked.append({backend})
        out: torch.Tensor = real(*tensors, backend=backend)
        return out

    monkeypatch.setattr(reference_attention, "dispatch_attention_fn", dispatch)
    pipeline.set_attention("math")
    assert np.abs(animate(pipeline, output_type="latent") - usual).max() <= 1
    layers = len(reference_attention.spatial_layers(pipeline.denoising_unet))
    chosen = [backend for (backend,) in asked if backend is not None]
    assert chosen == [AttentionBackendName._NATIVE_MATH] * layers * 2 * 2  # steps, passes
    pipeline.denoising_unet.set_attention_backend("native")  # diffusers' own way is heeded
    asked.clear()
    animate(pipeline)
    assert {AttentionBackendName.NATIVE} in asked


@pytest.mark.parametrize(
    ("name", "why"),
    [("xformers", "the package xformers is not installed"), ("efficient", "viable backend"),
     ("fastest", "is not a valid")],
)  # fmt: skip
def test_attention_that_does_not_run_here_is_refused_with_what_does(
    pipeline: AnimatePipeline, name: Any, why: str
) -> None:
    with pytest.raises(ModelError, match=f"--attention {name} does not run on cpu.*{why}.*math"):
        pipeline.set_attention(name)
    layers = reference_attention.spatial_layers(pipeline.denoising_unet)
    assert {layer.processor._attention_backend for layer in layers.values()} == {None}
