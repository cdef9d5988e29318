"""The three vision transformers: transformers' own, and what their upstream packages print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aa_eval.errors import MetricUnavailable, WeightsUnavailable
from aa_eval.features.vision_transformer import (
    Dinov2,
    Size,
    VideoMAEv2,
    VJepa,
    load_dinov2,
    load_videomae_v2,
    load_vjepa,
)

Formula = Callable[[dict[str, tuple[int, ...]]], dict[str, Tensor]]
Waves = Callable[..., Tensor]

BLOCK: dict[str, tuple[int, ...]] = {
    "attn.proj.bias": (32,), "attn.proj.weight": (32, 32), "attn.qkv.weight": (96, 32),
    "mlp.fc1.bias": (64,), "mlp.fc1.weight": (64, 32), "mlp.fc2.bias": (32,),
    "mlp.fc2.weight": (32, 64), "norm1.bias": (32,), "norm1.weight": (32,), "norm2.bias": (32,),
    "norm2.weight": (32,),
}  # fmt: skip


def body(patch_px: int, **more: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of two blocks of width 32 and their patches; `more` are a block's further tensors."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.bias": (32,),
        "patch_embed.proj.weight": (32, 3, 2, patch_px, patch_px),
    }
    for index in range(2):
        shapes |= {f"blocks.{index}.{name}": shape for name, shape in (BLOCK | more).items()}
    return shapes


def test_dinov2_is_transformers_dinov2(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=70,
        patch_size=14,
    )  # fmt: skip
    theirs = transformers.Dinov2Model(config).eval()
    for parameter in theirs.parameters():
        parameter.data.normal_(std=0.3)
    torch.save(_as_released(theirs.state_dict()), tmp_path / "dino.pth")
    ours = load_dinov2(tmp_path / "dino.pth", Dinov2(Size(32, 2, 4, 64, 14, 70, class_token=True)))
    pictures = torch.rand(2, 3, 70, 70)
    mean, std = (
        torch.tensor(of).view(3, 1, 1) for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.no_grad():
        expected = theirs((pictures - mean) / std).last_hidden_state[:, 1:].unflatten(1, (5, 5))
    torch.testing.assert_close(ours(2 * pictures - 1), expected, rtol=1e-4, atol=1e-5)


def _as_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' names -> those of facebookresearch/dinov2."""
    found = {
        "cls_token": state["embeddings.cls_token"],
        "mask_token": state["embeddings.mask_token"],
        "pos_embed": state["embeddings.position_embeddings"],
    }
    for part in ("weight", "bias"):
        patches = f"embeddings.patch_embeddings.projection.{part}"
        found[f"patch_embed.proj.{part}"] = state[patches]
        found[f"norm.{part}"] = state[f"layernorm.{part}"]
        for index in range(2):
            there, here = f"encoder.layer.{index}.", f"blocks.{index}."
            qkv = [state[f"{there}attention.{letter}_proj.{part}"] for letter in "qkv"]
            found[f"{here}attn.qkv.{part}"] = torch.cat(qkv)
            found[f"{here}attn.proj.{part}"] = state[f"{there}attention.o_proj.{part}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                found[f"{here}{name}.{part}"] = state[f"{there}{name}.{part}"]
            for name in "12":
                found[f"{here}ls{name}.gamma"] = state[f"{there}layer_scale{name}.lambda1"]
    return found


def test_videomae_v2_is_that_of_cd_fvd(tmp_path: Path, formula: Formula, waves: Waves) -> None:
    """cd-fvd 0.1.1, VisionTransformer.forward_features of the same weights and window."""
    shapes = body(14, **{"attn.q_bias": (32,), "attn.v_bias": (32,)})
    shapes |= {"fc_norm.bias": (32,), "fc_norm.weight": (32,), "head.weight": (5, 32)}
    torch.save({"module": formula(shapes)}, tmp_path / "mae.pth")
    with torch.device("meta"):  # as the true size is made
        model = VideoMAEv2(Size(32, 2, 4, 64, 14, 28, 2, 16))
    found = load_videomae_v2(tmp_path / "mae.pth", model)(waves(1, 3, 16, 28, 28))[0]
    expected = [-0.6356526017189026, -1.9645649194717407, 0.795563280582428, -0.9157696962356567]
    torch.testing.assert_close(found[:4], torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert float(found.abs().sum()) == pytest.approx(26.477996826171875, rel=1e-5)
    with pytest.raises(MetricUnavailable, match="of 8 frames: the network takes 16"):
        model(waves(1, 3, 8, 28, 28))


def test_vjepa_is_that_of_jedi(tmp_path: Path, formula: Formula, waves: Waves) -> None:
    """vjepa 0.1.2, VisionTransformer and AttentivePooler of the same weights and window."""
    encoder = formula(
        body(16, **{"attn.qkv.bias": (96,)})
        | {"norm.bias": (32,), "norm.weight": (32,), "pos_embed": (1, 32, 32)}
    )
    pooler = {name: shape for name, shape in BLOCK.items() if not name.startswith("attn")}
    pooler |= {
        "xattn.kv.bias": (64,), "xattn.kv.weight": (64, 32), "xattn.proj.bias": (32,),
        "xattn.proj.weight": (32, 32), "xattn.q.bias": (32,), "xattn.q.weight": (32, 32),
    }  # fmt: skip
    probe = {f"pooler.cross_attention_block.{name}": shape for name, shape in pooler.items()}
    probe |= {"pooler.query_tokens": (1, 1, 32), "linear.weight": (5, 32)}
    names = {f"module.backbone.{name}": tensor for name, tensor in encoder.items()}
    torch.save({"target_encoder": names, "epoch": 3}, tmp_path / "encoder.tar")
    of_probe = {f"module.{name}": tensor for name, tensor in formula(probe).items()}
    torch.save({"classifier": of_probe}, tmp_path / "probe.tar")
    model = VJepa(Size(32, 2, 4, 64, 16, 32, 2, 16))
    load_vjepa(tmp_path / "encoder.tar", tmp_path / "probe.tar", model)
    found = model(waves(1, 3, 16, 32, 32))[0]
    expected = [-0.7829155325889587, 0.2839503884315491, -0.35259735584259033, 0.5501058101654053]
    torch.testing.assert_close(found[:4], torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert float(found.abs().sum()) == pytest.approx(11.75273323059082, rel=1e-5)
    del of_probe["module.pooler.query_tokens"]
    torch.save({"classifier": of_probe}, tmp_path / "probe.tar")
    with pytest.raises(WeightsUnavailable, match="lacks query_tokens"):
        load_vjepa(tmp_path / "encoder.tar", tmp_path / "probe.tar", model)
