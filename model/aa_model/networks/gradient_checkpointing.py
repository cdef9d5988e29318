"""Gradient checkpointing of a whole UNet, more of it than by diffusers' own switch."""

from __future__ import annotations

from functools import partial

from diffusers import UNet2DConditionModel, UNetMotionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch.utils.checkpoint import checkpoint


def recompute_in_backward(unet: UNet2DConditionModel | UNetMotionModel) -> None:
    """Trade time for memory: activations inside of ResNets and attention are made a second time.

    diffusers' switch omits motion modules (trap T6), and of spatial attention keeps norms and
    projections around the blocks. Here the whole of each attention module is computed again
    (what that leaves: benchmarks/model/training_memory.py).
    """
    unet.enable_gradient_checkpointing()
    for module in unet.modules():
        if isinstance(module, Transformer2DModel):
            module.gradient_checkpointing = False  # its blocks, which are inside
        if isinstance(module, Transformer2DModel | AnimateDiffTransformer3D):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)
