"""LoRA for `AnimatePipeline`, in diffusers' layout: `pytorch_lora_weights.safetensors`.

Names of tensors start with the part that they belong to: `denoising_unet.` (temporal layers among
them) or `reference_net.`. A LoRA of Stable Diffusion 1.5, or one for AnimateDiff's motion, in
diffusers' or in kohya's layout, is read as one of the denoising UNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from diffusers.loaders import StableDiffusionLoraLoaderMixin
from diffusers.loaders.lora_base import LoraBaseMixin
from diffusers.utils import get_adapter_name, is_peft_available
from safetensors import SafetensorError
from torch import Tensor, nn

from aa_model.errors import ModelError

_SD_UNET = "unet."  # prefix in the files of Stable Diffusion
_TEXT = ("text_encoder.", "text_encoder_2.")


class AnimateLoraMixin(LoraBaseMixin):  # type: ignore[misc]  # diffusers has no types
    """Load, save, fuse and unload LoRA; what is not here is `LoraBaseMixin`'s."""

    _lora_loadable_modules: ClassVar[list[str]] = ["denoising_unet", "reference_net"]

    @classmethod
    def lora_state_dict(
        cls, source: str | Path | Mapping[str, Tensor], **kwargs: Any
    ) -> tuple[dict[str, Tensor], dict[str, Any] | None, dict[str, Any] | None]:
        """Tensors, kohya's alphas and peft's configuration, under the names of the parts.

        Args:
            source: a folder, a file, a repository of the Hub, or the tensors themselves.
            kwargs: as of diffusers' `StableDiffusionLoraLoaderMixin.lora_state_dict`.
        """
        if isinstance(source, Path):
            source = str(source)
        kwargs["return_lora_metadata"] = True
        found = StableDiffusionLoraLoaderMixin.lora_state_dict(source, **kwargs)
        tensors, alphas, metadata = (row and {_here(k): v for k, v in row.items()} for row in found)
        return tensors or {}, alphas, metadata

    def load_lora_weights(
        self,
        source: str | Path | Mapping[str, Tensor],
        adapter_name: str | None = None,
        hotswap: bool = False,
        **kwargs: Any,
    ) -> None:
        """Add a LoRA to the parts that it has tensors of.

        Args:
            source, kwargs: as of `lora_state_dict`.
            adapter_name: for `set_adapters`; default_0, default_1... unless given.
            hotswap: take the place of the adapter of this name.

        Raises:
            ModelError: peft is not installed; the file is not a LoRA, or one of other networks.
        """
        if not is_peft_available():
            raise ModelError("LoRA needs peft: pip install 'animate-anyone-toolkit[lora]'")
        try:
            tensors, alphas, metadata = self.lora_state_dict(source, **kwargs)
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"{source} cannot be read as a LoRA: {error}") from error
        tensors = {name: t for name, t in tensors.items() if not name.startswith(_TEXT)}
        known = tuple(f"{part}." for part in self._lora_loadable_modules)
        strange = [n for n in tensors if not n.startswith(known) or "lora" not in n]
        if strange or not tensors:
            raise ModelError(
                f"{source if isinstance(source, str | Path) else 'the LoRA'} has "
                f"{f'a tensor {strange[0]!r}' if strange else 'no tensors'}: expected names that "
                f"start with {' or '.join(known)} or {_SD_UNET} (Stable Diffusion 1.5)"
            )
        name = adapter_name or get_adapter_name(self.denoising_unet)
        for part in self._lora_loadable_modules:
            if not any(key.startswith(f"{part}.") for key in tensors):
                continue
            network = getattr(self, part)
            if network is None:
                raise ModelError(f"the LoRA changes {part}, which this checkpoint does not have")
            _check_fits(network, part, tensors)
            network.load_lora_adapter(
                tensors,
                prefix=part,
                network_alphas=alphas,
                adapter_name=name,
                metadata=metadata,
                _pipeline=self,
                hotswap=hotswap,
            )

    @classmethod
    def save_lora_weights(
        cls,
        folder: str | Path,
        denoising_unet_lora_layers: Mapping[str, Tensor] | None = None,
        reference_net_lora_layers: Mapping[str, Tensor] | None = None,
        *,
        denoising_unet_lora_adapter_metadata: dict[str, Any] | None = None,
        reference_net_lora_adapter_metadata: dict[str, Any] | None = None,
        weight_name: str | None = None,
    ) -> None:
        """Write a LoRA that `load_lora_weights` reads.

        Args:
            denoising_unet_lora_layers, reference_net_lora_layers: as peft's
                `get_peft_model_state_dict(network)` gives them.
            denoising_unet_lora_adapter_metadata, reference_net_lora_adapter_metadata: rank and
                alpha, as diffusers' `_collate_lora_metadata` gives them.
        """
        layers = {
            "denoising_unet": denoising_unet_lora_layers,
            "reference_net": reference_net_lora_layers,
        }
        if not any(layers.values()):
            raise ModelError("nothing to save: give the LoRA layers of a part")
        cls._save_lora_weights(
            save_directory=str(folder),
            lora_layers={part: dict(named) for part, named in layers.items() if named},
            lora_metadata={
                "denoising_unet": denoising_unet_lora_adapter_metadata,
                "reference_net": reference_net_lora_adapter_metadata,
            },
            weight_name=weight_name,
        )

    def fuse_lora(self, components: list[str] | None = None, **kwargs: Any) -> None:
        """Add the loaded LoRAs to the weights; arguments as of diffusers' `fuse_lora`."""
        super().fuse_lora(components=components or self._with_adapters(), **kwargs)

    def unfuse_lora(self, components: list[str] | None = None, **kwargs: Any) -> None:
        """Take back what `fuse_lora` added."""
        super().unfuse_lora(components=components or self._with_adapters(), **kwargs)

    def _with_adapters(self) -> list[str]:
        networks = ((part, getattr(self, part)) for part in self._lora_loadable_modules)
        return [part for part, network in networks if getattr(network, "peft_config", None)]


def _here(name: str) -> str:
    return f"denoising_unet.{name.removeprefix(_SD_UNET)}" if name.startswith(_SD_UNET) else name


def _check_fits(network: nn.Module, part: str, tensors: Mapping[str, Tensor]) -> None:
    """diffusers would fail with the first missing layer, or load what fits with a warning."""
    layers = {name.replace(".base_layer", "") for name, _ in network.named_modules()}
    wanted = {
        name.removeprefix(f"{part}.").partition(".lora")[0].replace(".processor", "")
        for name in tensors
        if name.startswith(f"{part}.")
    }
    # Old files name a projection to_q_lora instead of to_q.
    missing = sorted(w for w in wanted if w not in layers and w.partition("_lora")[0] not in layers)
    if missing:
        raise ModelError(
            f"the LoRA changes {len(missing)} layers that {part} does not have, such as "
            f"{missing[0]}: it is of another network"
        )
