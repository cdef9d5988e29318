"""The parts of the network by name: what a stage trains, a checkpoint stores, a report counts."""

from __future__ import annotations

from torch import nn

from aa_model.config import ModelConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.temporal import is_temporal

# Part -> the field of ModelConfig that decides its shape.
PARTS = {
    "vae": "vae",
    "image_encoder": "image_encoder",
    "reference_net": "unet",
    "controlnet": "unet",
    "denoising_unet": "unet",
    "pose_guider": "pose_guider",
    "temporal_layers": "temporal",
}


def parts_of(config: ModelConfig) -> tuple[str, ...]:
    """The parts that a network of this configuration has, temporal layers included."""
    absent = {
        "reference_net": {"controlnet"},
        "clip": {"reference_net", "controlnet"},
        "controlnet": {"reference_net", "image_encoder"},
        "clip+controlnet": {"reference_net"},
    }[config.appearance]
    if not config.use_pose:
        absent = absent | {"pose_guider"}
    return tuple(part for part in PARTS if part not in absent)


def part_parameters(model: AnimateAnyone, part: str) -> dict[str, nn.Parameter]:
    """Parameters of a part under the names that diffusers or transformers gives them.

    `denoising_unet` are exactly UNet2DConditionModel's, in both stages; `temporal_layers` is empty
    before stage 2, and so is every part that the network does not have. ReferenceNet's tensors
    behind its last feature are left out (trap T4).
    """
    if part not in parts_of(model.config):
        return {}
    if part == "reference_net":
        assert model.reference_net is not None
        unused = model.reference_net.unused_parameters()
        named = model.reference_net.named_parameters()
        return {name.removeprefix("unet."): p for name, p in named if name not in unused}
    if part in ("denoising_unet", "temporal_layers"):
        wanted = part == "temporal_layers"
        named = model.denoising_unet.named_parameters()
        return {name: p for name, p in named if is_temporal(name) == wanted}
    module = getattr(model, part)
    assert isinstance(module, nn.Module)
    return dict(module.named_parameters())


def count_parameters(model: AnimateAnyone) -> dict[str, int]:
    """Number of stored weights of each part."""
    return {part: sum(p.numel() for p in part_parameters(model, part).values()) for part in PARTS}
