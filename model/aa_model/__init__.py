"""The networks of Animate Anyone: train them, animate with them, read and write checkpoints.

Names below are imported when they are first used: `import aa_model` does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aa_model.checkpoints.animatediff import import_animatediff as import_animatediff
    from aa_model.checkpoints.moore import export_moore as export_moore
    from aa_model.checkpoints.moore import import_moore as import_moore
    from aa_model.checkpoints.stable_diffusion import (
        import_stable_diffusion as import_stable_diffusion,
    )
    from aa_model.checkpoints.store import read_checkpoint as read_checkpoint
    from aa_model.checkpoints.store import read_model as read_model
    from aa_model.checkpoints.store import write_checkpoint as write_checkpoint
    from aa_model.config import GenerateConfig as GenerateConfig
    from aa_model.config import ModelConfig as ModelConfig
    from aa_model.config import TrainConfig as TrainConfig
    from aa_model.errors import ModelError as ModelError
    from aa_model.inference.animate_photo import animate_photo as animate_photo
    from aa_model.inference.animate_shards import animate_shards as animate_shards
    from aa_model.inference.options import AnimateOptions as AnimateOptions
    from aa_model.inference.pipeline import AnimatePipeline as AnimatePipeline
    from aa_model.networks.animate_anyone import AnimateAnyone as AnimateAnyone
    from aa_model.presets import PRESETS as PRESETS
    from aa_model.training.options import PrecomputeOptions as PrecomputeOptions
    from aa_model.training.options import TrainOptions as TrainOptions
    from aa_model.training.precompute import precompute as precompute
    from aa_model.training.run import train_stage as train_stage

_MODULES = {
    "checkpoints.animatediff": ("import_animatediff",),
    "checkpoints.moore": ("export_moore", "import_moore"),
    "checkpoints.stable_diffusion": ("import_stable_diffusion",),
    "checkpoints.store": ("read_checkpoint", "read_model", "write_checkpoint"),
    "config": ("GenerateConfig", "ModelConfig", "TrainConfig"),
    "errors": ("ModelError",),
    "inference.animate_photo": ("animate_photo",),
    "inference.animate_shards": ("animate_shards",),
    "inference.options": ("AnimateOptions",),
    "inference.pipeline": ("AnimatePipeline",),
    "networks.animate_anyone": ("AnimateAnyone",),
    "presets": ("PRESETS",),
    "training.options": ("PrecomputeOptions", "TrainOptions"),
    "training.precompute": ("precompute",),
    "training.run": ("train_stage",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
