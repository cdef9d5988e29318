"""DeepCache: the deep layers of the denoising UNet in some steps only (Ma et al. 2023).

What the deep layers hand to the last two changes little from step to step. Full passes keep it;
passes between them run `conv_in`, the first layer of the way down and the last two of the way up.
diffusers' own caches are for transformers: none knows the skips of a UNet.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar, cast

from torch import Tensor, nn

from aa_model.errors import ModelError
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.reference_attention import spatial_layers

M = TypeVar("M", bound=nn.Module)
_LAYERS = ("resnets", "attentions", "motion_modules")  # one of each is a layer of a block
_DOWN, _UP = 1, 2  # layers that shallow passes run: the UNet's outermost skip, and what it joins


class DeepCache:
    """The network of each denoising pass: the whole one, or a shallow one with its weights.

    Args:
        model: must not change while the cache is in use.
        interval: every so many steps a pass is a full one; with 1 all are.

    Raises:
        ModelError: the network has a ControlNet, or offloads the UNet's blocks one by one.
    """

    def __init__(self, model: AnimateAnyone, interval: int) -> None:
        self.interval = interval
        self._model = model
        self._kept: dict[Hashable, Tensor] = {}
        if interval > 1:
            self._deepest, self._middle = _last_deep_layer(model), _Kept()
            self._shallow = _make_shallow(model, self._middle)

    @contextmanager
    def network(self, step: int, which: Hashable) -> Iterator[AnimateAnyone]:
        """The network for one pass, to be called once inside.

        Args:
            step: 0 for the first.
            which: what the pass is of, such as a window and whether it reads the reference; each
                has what it kept for itself.
        """
        if self.interval > 1 and step % self.interval and which in self._kept:
            self._middle.features = self._kept[which]
            yield self._shallow
            return
        if self.interval == 1:
            yield self._model
            return

        def keep(layer: nn.Module, args: object, output: Tensor | tuple[Tensor]) -> None:
            self._kept[which] = output[0] if isinstance(output, tuple) else output

        with self._deepest.register_forward_hook(keep):
            yield self._model


class _Kept(nn.Module):
    """Stands for all deep layers, and gives what they gave."""

    features: Tensor

    def forward(self, *unused: object, **also_unused: object) -> Tensor:
        return self.features


def _last_deep_layer(model: AnimateAnyone) -> nn.Module:
    """The one whose output goes into the layers that are always run."""
    *_, before, last = model.denoising_unet.up_blocks
    deep = len(last.resnets) - _UP
    if deep == 0:
        return cast(nn.Module, before)
    layers = [getattr(last, name, None) for name in _LAYERS]
    return cast(nn.Module, [layer for layer in layers if layer][-1][deep - 1])


def _make_shallow(model: AnimateAnyone, middle: nn.Module) -> AnimateAnyone:
    if model.controlnet is not None:
        raise ModelError("--deep-cache: a ControlNet adds to the layers that it leaves out")
    unet = model.denoising_unet
    first, last = unet.down_blocks[0], unet.up_blocks[-1]
    for module in (unet, first, last):
        if hasattr(module, "_diffusers_hook"):
            raise ModelError(
                "--deep-cache: group offloading brings whole blocks to the device, of which some "
                "layers run: use enable_model_cpu_offload"
            )
    head = {name: _slice(first, name, slice(_DOWN)) for name in _LAYERS if hasattr(first, name)}
    tail = {name: _slice(last, name, slice(-_UP, None)) for name in _LAYERS if hasattr(last, name)}
    shallow = _with(unet, {
        "down_blocks": nn.ModuleList([_with(first, {**head, "downsamplers": None})]),
        "mid_block": middle,
        "up_blocks": nn.ModuleList([_with(last, tail)]),
    })  # fmt: skip
    parts: dict[str, nn.Module | None] = {"denoising_unet": shallow}
    if model.reference_net is not None:
        reader = copy.copy(model.reference_net)
        present = {layer.processor.layer for layer in spatial_layers(shallow).values()}
        reader.layers = tuple(name for name in reader.layers if name in present)
        parts["reference_net"] = reader
    return _with(model, parts)


def _slice(block: nn.Module, name: str, layers: slice) -> nn.ModuleList:
    return cast(nn.ModuleList, getattr(block, name))[layers]


def _with(module: M, children: Mapping[str, nn.Module | None]) -> M:
    """A module of the same weights with other children; whatever wraps the original is left out."""
    made = copy.copy(module)
    for wrapper in ("forward", "_compiled_call_impl", "_hf_hook", "_old_forward"):
        made.__dict__.pop(wrapper, None)
    made._modules = {**module._modules, **children}
    return made
