"""Spatial attention: keys and values from the target and the reference (Sec. 3.2, Fig. 2).

The paper concatenates the reference's feature map x2 to the target's x1 along w, applies
self-attention, and keeps the first half. Only the queries of x1 survive that cut, so taking
queries from x1 and keys and values from [x1; x2] gives the same numbers at less cost.

Nothing is stored on a module: what a forward pass records or reads travels with it, as the
argument `reference` in diffusers' `cross_attention_kwargs`. So there is nothing to clear.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from aa_model.errors import ReferenceLost

KeysValues = tuple[Tensor, Tensor]


@dataclass
class FeatureRecorder:
    """Collects what each spatial self-attention layer of ReferenceNet gets as its input.

    Attributes:
        features: layer name -> [R, M, C]: R reference images, M positions of that layer's map.
    """

    features: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class ReferenceReader:
    """What the denoising UNet's spatial attention reads, in one forward pass.

    Attributes:
        features: layer name -> features [R, M, C], or their keys and values, projected before.
        reference_of_video: for each video of the batch which of the R references it reads, or
            None for a video without one (trap T11: such rows are computed apart, never masked).
        num_frames: T; the UNet's batch axis holds the frames of video 0, then of video 1, ...
        layers_read: names of the layers that have read, for `check_all_read`.
    """

    features: Mapping[str, Tensor | KeysValues]
    reference_of_video: tuple[int | None, ...]
    num_frames: int
    layers_read: set[str] = field(default_factory=set)

    def check_all_read(self, layers: Sequence[str]) -> None:
        """Raise ReferenceLost unless every one of these layers has read (trap T3)."""
        lost = sorted(set(layers) - self.layers_read)
        if lost:
            raise ReferenceLost(
                f"{len(lost)} of {len(layers)} spatial attention layers did not read the "
                f"reference, e.g. {lost[0]}: something replaced their processors "
                "(set_attn_processor, attention slicing, fused projections, xformers); call "
                "install_reference_attention() after it, or do not use it"
            )


class SpatialAttention:
    """Attention processor of one spatial self-attention layer (`attn1`)."""

    # Under the name that diffusers' `set_attention_backend` looks for; None is its default.
    _attention_backend: AttentionBackendName | None = None

    def __init__(self, layer: str) -> None:
        self.layer = layer

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reference: FeatureRecorder | ReferenceReader | None = None,
    ) -> Tensor:
        """hidden_states: x1, [B*T, N, C]. Returns the same shape."""
        query, key, value = (
            project(hidden_states) for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        if isinstance(reference, FeatureRecorder):
            reference.features[self.layer] = hidden_states
        if isinstance(reference, ReferenceReader) and self.layer in reference.features:
            reference.layers_read.add(self.layer)
            mixed = self._attend_with_reference(attn, query, key, value, reference)
        else:
            mixed = self._attend(query, key, value, attn.heads)
        output: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return output

    def _attend_with_reference(
        self, attn: Attention, query: Tensor, key: Tensor, value: Tensor, reader: ReferenceReader
    ) -> Tensor:
        features = reader.features[self.layer]
        if isinstance(features, Tensor):
            reference_key, reference_value = attn.to_k(features), attn.to_v(features)
        else:
            reference_key, reference_value = features
        outputs = []
        start = 0
        for stop, with_reference in _runs(reader.reference_of_video):
            rows = slice(start * reader.num_frames, stop * reader.num_frames)
            k, v = key[rows], value[rows]
            if with_reference:
                which = [
                    r
                    for r in reader.reference_of_video[start:stop]
                    for _ in range(reader.num_frames)
                ]
                k = _append(k, reference_key, which)
                v = _append(v, reference_value, which)
            outputs.append(self._attend(query[rows], k, v, attn.heads))
            start = stop
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        q, k, v = (torch.unflatten(x, -1, (heads, -1)) for x in (query, key, value))
        out: Tensor = dispatch_attention_fn(q, k, v, backend=self._attention_backend)
        return out.flatten(2)


class CrossAttention(AttnProcessor2_0):  # type: ignore[misc]  # diffusers is untyped
    """diffusers' cross-attention (`attn2`), which ignores `reference`.

    Over a single token softmax is 1, so the layer is that token's value whatever the query (trap
    T7), and is computed as that: queries, keys and the norm before them get a gradient of zero, as
    they would from attention itself.

    Args:
        norm: what normalises the queries' input, for its place in the graph; None leaves it out.
    """

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = norm

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reference: FeatureRecorder | ReferenceReader | None = None,
    ) -> Tensor:
        single = encoder_hidden_states is not None and encoder_hidden_states.shape[1] == 1
        if single and attention_mask is None:
            constant: Tensor = attn.to_out[1](attn.to_out[0](attn.to_v(encoder_hidden_states)))
            if torch.is_grad_enabled():
                constant = self._keep_in_graph(attn, constant)
            return constant.expand(-1, hidden_states.shape[1], -1)
        output: Tensor = super().__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask, temb
        )
        return output

    def _keep_in_graph(self, attn: Attention, constant: Tensor) -> Tensor:
        """`constant`, with a gradient of zero to what it does not depend on: a weight that is
        trained and gets no gradient at all stops DistributedDataParallel."""
        idle = (module for module in (attn.to_q, attn.to_k, self.norm) if module is not None)
        for parameter in itertools.chain.from_iterable(m.parameters() for m in idle):
            if parameter.requires_grad:
                constant = constant + 0 * parameter.sum()
        return constant


def install_reference_attention(unet: nn.Module) -> tuple[str, ...]:
    """Give every spatial attention layer of a diffusers UNet our processors.

    Returns:
        Names of the self-attention layers. They are the same in UNet2DConditionModel and in
        UNetMotionModel, so ReferenceNet's features find their place by name; motion modules,
        which have layers called attn1 too, are left alone (trap T2).
    """
    layers = []
    for name, module in unet.named_modules():
        if isinstance(module, Attention) and ".attentions." in name:
            if name.endswith(".attn1"):
                module.set_processor(SpatialAttention(name))
                layers.append(name)
            else:
                block = unet.get_submodule(name.removesuffix(".attn2"))
                module.set_processor(CrossAttention(getattr(block, "norm2", None)))
    return tuple(layers)


def spatial_layers(unet: nn.Module) -> dict[str, Attention]:
    """The layers that have our processor, by name."""
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and isinstance(module.processor, SpatialAttention)
    }


def project_features(unet: nn.Module, features: Mapping[str, Tensor]) -> dict[str, KeysValues]:
    """Keys and values of the reference for each layer, to be computed once per video.

    What is not of a layer of `unet` is left out.
    """
    hook = getattr(unet, "_hf_hook", None)
    if hook is not None:  # offloaded: bring it where it computes, as its forward pass would
        hook.pre_forward(unet)
    return {
        name: (layer.to_k(features[name]), layer.to_v(features[name]))
        for name, layer in spatial_layers(unet).items()
        if name in features
    }


def _append(own: Tensor, reference: Tensor, which: list[int | None]) -> Tensor:
    """Keys or values [B*T, N, C] and, behind them, those of each row's reference [R, M, C].

    A single reference, as in inference, is read in place, not gathered for each row first.
    """
    chosen = reference.expand(len(which), -1, -1) if len(reference) == 1 else reference[which]
    return torch.cat([own, chosen], dim=1)


def _runs(reference_of_video: tuple[int | None, ...]) -> list[tuple[int, bool]]:
    """Ends of the runs of neighbours that all have a reference, or all have none."""
    has = [r is not None for r in reference_of_video]
    return [(i + 1, now) for i, now in enumerate(has) if i + 1 == len(has) or has[i + 1] != now]
