"""LiveBytes: the peak of what tensors hold, counted at every operation; the same on any machine.

What a kernel takes inside is not in it. A network without content (`drop_content`, under torch's
FakeTensorMode) is counted in seconds, whatever its size, as it would run on a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the tensors that operations inside made and that still live, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        # Storages that come in are not counted twice, nor weights that are written in place.
        held = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if _is_tensor(t)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if not _is_tensor(tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata in held or storage in self._seen:
                continue
            self._seen.add(storage)
            size = storage.nbytes()
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._release, size)
        return out

    def _release(self, size: int) -> None:
        self.now -= size


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def drop_content(model: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Put new tensors in the place of a network's: of the device, and the mode, that is on.

    Args:
        dtype: of parameters; as it is unless given.
    """
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fake = torch.empty(parameter.shape, dtype=dtype or parameter.dtype)
            setattr(module, name, nn.Parameter(fake, requires_grad=parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.zeros(buffer.shape, dtype=buffer.dtype))


@contextmanager
def autocast_as_on_cuda() -> Iterator[None]:
    """Where the CPU's autocast is on: norms in float32, attention in bfloat16, as CUDA's has it.

    A TorchFunctionMode would be off in the backward pass, where checkpoints compute again.
    """
    attention: Callable[..., Tensor] = F.scaled_dot_product_attention

    def wide(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def cast(*arguments: object, **more: object) -> Tensor:
            if not torch.is_autocast_enabled("cpu"):
                return norm(*arguments, **more)
            with torch.autocast("cpu", enabled=False):
                return norm(*map(_float, arguments), **{k: _float(v) for k, v in more.items()})

        return cast

    def narrow(*qkv: Tensor, **more: Any) -> Tensor:
        cast = torch.is_autocast_enabled("cpu")
        return attention(*(x.bfloat16() if cast else x for x in qkv), **more)

    with mock.patch.multiple(
        F,
        group_norm=wide(F.group_norm),
        layer_norm=wide(F.layer_norm),
        scaled_dot_product_attention=narrow,
    ):
        yield


def _float(value: object) -> object:
    return value.float() if isinstance(value, Tensor) else value
