"""Vision transformers: DINOv2, VideoMAE v2 and V-JEPA, which are one network in three sizes.

Patches become tokens, places are added, blocks of attention and two layers follow (Dosovitskiy et
al. 2021). The blocks are torch's own; what differs is how the checkpoints name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aa_eval.errors import MetricUnavailable, WeightsUnavailable
from aa_eval.weights.torch_file import load_tensors, read_torch_file

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in [0, 1]
_EPS = 1e-6  # of the norms of all three
_PARTS = {
    "attn.qkv.weight": "self_attn.in_proj_weight",
    "attn.qkv.bias": "self_attn.in_proj_bias",
    "attn.proj.": "self_attn.out_proj.",
    "mlp.fc1.": "linear1.",
    "mlp.fc2.": "linear2.",
}


@dataclass(frozen=True, slots=True)
class Size:
    """A network's size.

    Attributes:
        width: of a token.
        blocks, heads, hidden: of attention; the last is the width between a block's two layers.
        patch_px, patch_frames: of the picture or window that one token stands for.
        side_px, frames: of the picture or window that it takes.
        class_token: one token stands for all of the picture.
    """

    width: int
    blocks: int
    heads: int
    hidden: int
    patch_px: int
    side_px: int
    patch_frames: int = 1
    frames: int = 1
    class_token: bool = False

    @property
    def tokens(self) -> int:
        patches = (self.side_px // self.patch_px) ** 2 * (self.frames // self.patch_frames)
        return patches + self.class_token


DINOV2_B14 = Size(768, 12, 12, 3072, 14, 518, class_token=True)
VIDEOMAE_V2_G14 = Size(1408, 40, 16, 6144, 14, 224, 2, 16)
VJEPA_H16 = Size(1280, 32, 16, 5120, 16, 224, 2, 16)


class VisionTransformer(nn.Module):
    """The network up to its last norm; `forward` gives its tokens."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        patch = (size.patch_frames, size.patch_px, size.patch_px)
        self.patches = nn.Conv3d(3, size.width, patch, patch)
        self.places = nn.Parameter(torch.zeros(1, size.tokens, size.width))
        if size.class_token:
            self.class_token = nn.Parameter(torch.zeros(1, 1, size.width))
        block = nn.TransformerEncoderLayer(
            size.width, size.heads, size.hidden, dropout=0.0, activation="gelu",
            layer_norm_eps=_EPS, batch_first=True, norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(block, size.blocks, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(size.width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Windows [B, 3, T, H, W] -> [B, tokens, width], before the last norm.

        Raises:
            MetricUnavailable: windows of another length than the network takes.
        """
        if x.shape[2] != self.size.frames:
            raise MetricUnavailable(
                f"windows of {x.shape[2]} frames: the network takes {self.size.frames}"
            )
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.size.class_token:
            tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], dim=1)
        found: Tensor = self.blocks(tokens + self.places)
        return found


class Dinov2(nn.Module):
    """DINOv2 (Oquab et al. 2024): one vector for each patch of a picture."""

    def __init__(self, size: Size = DINOV2_B14) -> None:
        super().__init__()
        self.body = VisionTransformer(size)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] -> [B, rows, columns, width]."""
        with torch.inference_mode():
            tokens = self.body.norm(self.body(_of_imagenet(pictures[:, :, None])))
        side = self.body.size.side_px // self.body.size.patch_px
        patches: Tensor = tokens[:, 1:].unflatten(1, (side, side))
        return patches


class VideoMAEv2(nn.Module):
    """VideoMAE v2 as cd-fvd uses it: the mean of a window's tokens, normed."""

    def __init__(self, size: Size = VIDEOMAE_V2_G14) -> None:
        super().__init__()
        self.body = VisionTransformer(size)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows [B, 3, T, H, W] in [-1, 1] -> [B, width]; levels go in as [0, 1], not normed."""
        with torch.inference_mode():
            found: Tensor = self.body.norm(self.body(windows / 2 + 0.5).mean(dim=1))
        return found


class VJepa(nn.Module):
    """V-JEPA with the attentive pooler of its probe, as JEDi uses it."""

    def __init__(self, size: Size = VJEPA_H16) -> None:
        super().__init__()
        self.body = VisionTransformer(size)
        self.query = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pool = nn.MultiheadAttention(size.width, size.heads, batch_first=True)
        self.pool_norm, self.layers_norm = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.layers = nn.Sequential(
            nn.Linear(size.width, size.hidden), nn.GELU(), nn.Linear(size.hidden, size.width)
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Windows [B, 3, T, H, W] in [-1, 1] -> [B, width]."""
        with torch.inference_mode():
            tokens = self.pool_norm(self.body.norm(self.body(_of_imagenet(windows))))
            query = self.query.expand(len(windows), -1, -1)
            query = query + self.pool(query, tokens, tokens, need_weights=False)[0]
            pooled: Tensor = query + self.layers(self.layers_norm(query))
        return pooled.squeeze(1)


def load_dinov2(path: Path, model: Dinov2) -> Dinov2:
    """Put the weights of dinov2_vitb14_pretrain.pth (facebookresearch/dinov2) into `model`.

    The scales behind each branch of a block are multiplied into the branch's last layer.

    Raises:
        WeightsUnavailable: the file is of another layout.
    """
    raw = read_torch_file(path, "")
    tensors = dict(raw)
    tensors.pop("mask_token", None)
    for name, scale in raw.items():
        block, found, branch = name.partition(".ls")
        if found:
            del tensors[name]
            layer = f"{block}.attn.proj" if branch.startswith("1") else f"{block}.mlp.fc2"
            for part in ("weight", "bias"):
                of_layer = _get(tensors, f"{layer}.{part}", path)
                rows = scale.view(-1, *(1,) * (of_layer.ndim - 1))
                tensors[f"{layer}.{part}"] = of_layer * rows
    patches = "patch_embed.proj.weight"
    tensors[patches] = _get(tensors, patches, path).unsqueeze(2)
    tensors = {f"body.{_torch_name(name)}": tensor for name, tensor in tensors.items()}
    load_tensors(model, tensors, path)
    return model


def load_videomae_v2(path: Path, model: VideoMAEv2) -> VideoMAEv2:
    """Put the weights of vit_g_hybrid_pt_1200e_ssv2_ft.pth (VideoMAE v2) into `model`.

    Raises:
        WeightsUnavailable: the file is of another layout.
    """
    raw = read_torch_file(path, "model", "module", "")
    tensors = {k: v for k, v in raw.items() if not k.startswith("head.")}
    for name in [name for name in tensors if name.endswith(".q_bias")]:
        block = name.removesuffix("q_bias")
        q, v = tensors.pop(name), _get(tensors, f"{block}v_bias", path)
        del tensors[f"{block}v_bias"]
        tensors[f"{block}qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])  # keys have none
    tensors["pos_embed"] = _places_by_index(model.body.size)
    tensors = {
        f"body.{_torch_name(name).replace('fc_norm.', 'norm.')}": tensor
        for name, tensor in tensors.items()
    }
    load_tensors(model, tensors, path)
    return model


def load_vjepa(encoder: Path, probe: Path, model: VJepa) -> VJepa:
    """Put the weights of vith16.pth.tar and ssv2-probe.pth.tar (facebookresearch/jepa) into one.

    Raises:
        WeightsUnavailable: a file is of another layout.
    """
    tensors = {
        f"body.{_torch_name(name.replace('module.', '').replace('backbone.', ''))}": tensor
        for name, tensor in read_torch_file(encoder, "target_encoder", "encoder").items()
    }
    pooler = {
        name.replace("module.", "").removeprefix("pooler."): tensor
        for name, tensor in read_torch_file(probe, "classifier").items()
    }
    block = "cross_attention_block."
    tensors["query"] = _get(pooler, "query_tokens", probe)
    for part in ("weight", "bias"):
        q, kv = (_get(pooler, f"{block}xattn.{of}.{part}", probe) for of in ("q", "kv"))
        tensors[f"pool.in_proj_{part}"] = torch.cat([q, kv])
        for ours, theirs in (
            ("pool.out_proj", "xattn.proj"), ("pool_norm", "norm1"), ("layers_norm", "norm2"),
            ("layers.0", "mlp.fc1"), ("layers.2", "mlp.fc2"),
        ):  # fmt: skip
            tensors[f"{ours}.{part}"] = _get(pooler, f"{block}{theirs}.{part}", probe)
    load_tensors(model, tensors, encoder)
    return model


def _get(tensors: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in tensors:
        raise WeightsUnavailable(f"{path}: lacks {name}")
    return tensors[name]


def _torch_name(name: str) -> str:
    """The checkpoints' name of a tensor of the body -> torch's."""
    for theirs, ours in (
        ("patch_embed.proj.", "patches."), ("pos_embed", "places"), ("cls_token", "class_token"),
    ):  # fmt: skip
        name = name.replace(theirs, ours)
    if name.startswith("blocks."):
        for theirs, ours in _PARTS.items():
            name = name.replace(theirs, ours)
        name = name.replace("blocks.", "blocks.layers.", 1)
    return name


def _of_imagenet(x: Tensor) -> Tensor:
    mean, std = (x.new_tensor(of).view(3, 1, 1, 1) for of in (_MEAN, _STD))
    return (x / 2 + 0.5 - mean) / std


def _places_by_index(size: Size) -> Tensor:
    """Sines and cosines of a token's index, in turn (Vaswani et al. 2017): VideoMAE's places."""
    index = np.arange(size.tokens)[:, None]
    angles = index / np.power(10000, 2 * (np.arange(size.width) // 2) / size.width)
    angles[:, 0::2], angles[:, 1::2] = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
    return torch.from_numpy(angles.astype(np.float32))[None]
