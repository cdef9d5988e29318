"""The kernel of spatial attention, by diffusers' dispatch: one of torch's, or an installed one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import get_args

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from torch import Tensor, nn

from aa_model.config import AttentionName
from aa_model.errors import ModelError
from aa_model.networks.reference_attention import spatial_layers

_OF_DIFFUSERS = {"sdpa": "native", "flash-attn": "flash", "sage": "sage", "xformers": "xformers"}
_PACKAGES = {"flash-attn": "flash_attn", "sage": "sageattention", "xformers": "xformers"}


def set_attention(unet: nn.Module, name: AttentionName, dtype: torch.dtype) -> None:
    """Let the spatial attention of a UNet of ours run on this kernel.

    Args:
        unet: on its device.
        name: sdpa takes the fastest of torch's four, the next are one of these, the last of
            packages: flash-attn, sageattention, xformers.
        dtype: that it computes in.

    Raises:
        ModelError: a package is missing, or the kernel does not take this device, dtype or size
            of heads.
    """
    layers = spatial_layers(unet)
    first = next(iter(layers.values()))
    size = (1, 64, first.heads, first.to_q.out_features // first.heads)
    tokens = torch.zeros(size, device=next(unet.parameters()).device, dtype=dtype)
    if (reason := _why_not(name, tokens)) is not None:
        others = [other for other in get_args(AttentionName) if _why_not(other, tokens) is None]
        raise ModelError(
            f"--attention {name} does not run on {tokens.device} in {dtype}: {reason}; what does: "
            f"{', '.join(others)}"
        )
    for layer in layers.values():
        layer.processor._attention_backend = _backend(name)


def _backend(name: str) -> AttentionBackendName:
    return AttentionBackendName(_OF_DIFFUSERS.get(name, f"_native_{name}"))


def _why_not(name: str, tokens: Tensor) -> str | None:
    """Try it on a few tokens: why it fails, or None."""
    package = _PACKAGES.get(name)
    if package is not None and find_spec(package) is None:
        return f"the package {package} is not installed"
    try:
        with torch.no_grad():
            dispatch_attention_fn(tokens, tokens, tokens, backend=_backend(name))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        return " ".join(str(error).split())[:160] or type(error).__name__
    return None
