"""Training the image encoder, where CLIP cannot be had: two frames of one clip are one thing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aa_datasets.loader.batch import Batch
from aa_model.config import TrainConfig
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.networks.sharded_random import draw_uniform


def contrastive_loss(
    model: AnimateAnyone, config: TrainConfig, batch: Batch, generator: torch.Generator
) -> Tensor:
    """InfoNCE between the pooled tokens of reference and target (van den Oord et al. 2018).

    The batch's other clips are the negatives, so it should hold as many identities as it can.
    """
    if batch.size < 2:
        raise ValueError(f"a batch of {batch.size} has no negatives: give --batch-size 2 or more")
    views = [random_crop(images, generator) for images in (batch.reference, batch.target[:, 0])]
    a, b = (F.normalize(model.image_encoder(v)[:, 0].float(), dim=-1) for v in views)
    similarity = a @ b.T / config.temperature
    same = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(similarity, same) + F.cross_entropy(similarity.T, same)) / 2


def random_crop(images: Tensor, generator: torch.Generator, min_side: float = 0.6) -> Tensor:
    """For each image [N, 3, H, W] a window of min_side..1 of both sides, resized to H x W."""
    device, N = generator.device, len(images)
    side = min_side + (1 - min_side) * draw_uniform((N,), generator)
    centre_xy = (2 * draw_uniform((N, 2), generator) - 1) * (1 - side)[:, None]
    affine = torch.zeros(N, 2, 3, device=device)
    affine[:, 0, 0] = affine[:, 1, 1] = side
    affine[:, :, 2] = centre_xy
    grid = F.affine_grid(affine.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
