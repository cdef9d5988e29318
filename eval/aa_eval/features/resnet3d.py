"""3D ResNet-50 on Kinetics (Hara et al. 2018): the features of DisCo's FID-VID.

The weights' layout is that of kenshohara/video-classification-3d-cnn-pytorch's
resnet-50-kinetics.pth:
{"arch": "resnet-50", "state_dict": {"module.conv1.weight": ...}}, shortcuts of type B.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aa_eval.errors import MetricUnavailable
from aa_eval.weights.torch_file import load_tensors, read_torch_file

SIDE_PX = 112
_EXPANSION = 4  # channels of a block's output for each of its inner ones
# Mean level of Kinetics, RGB, subtracted from levels of 0 to 255 that are not scaled.
_MEAN_LEVELS = (114.7748, 107.7354, 99.4750)


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, bn_eps: float) -> None:
        super().__init__()
        wide = width * _EXPANSION
        self.conv1 = nn.Conv3d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width, eps=bn_eps)
        self.conv2 = nn.Conv3d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width, eps=bn_eps)
        self.conv3 = nn.Conv3d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(wide, eps=bn_eps)
        self.downsample = None
        if stride != 1 or channels != wide:
            shortcut = nn.Conv3d(channels, wide, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(wide, eps=bn_eps))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet3D(nn.Module):
    """The network without its last layer; module names are those of the weights.

    Args:
        blocks: of the four stages; (3, 4, 6, 3) is ResNet-50.
        bn_eps: epsilon of batch normalisation; 1e-5 as trained.
        pool_frames: extent in time of the last average pool, after time has shrunk by 16.
    """

    def __init__(
        self, blocks: Sequence[int] = (3, 4, 6, 3), bn_eps: float = 1e-5, pool_frames: int = 1
    ) -> None:
        super().__init__()
        self.pool_frames = pool_frames
        self.conv1 = nn.Conv3d(3, 64, 7, (1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64, eps=bn_eps)
        channels = 64
        for index, count in enumerate(blocks):
            width = 64 << index
            stage = nn.Sequential()
            for block in range(count):
                stride = 2 if index and not block else 1
                stage.append(_Bottleneck(channels, width, stride, bn_eps))
                channels = width * _EXPANSION
            self.add_module(f"layer{index + 1}", stage)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows [B, 3, T, 112, 112] in [-1, 1] -> [B, 2048]; T is 16.

        Raises:
            MetricUnavailable: windows of another length or size than one place remains of.
        """
        mean = torch.tensor(_MEAN_LEVELS, device=windows.device).view(3, 1, 1, 1)
        x = (windows + 1) * 127.5 - mean
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        if x.shape[2:] != (self.pool_frames, 4, 4):
            raise MetricUnavailable(
                f"windows of {list(windows.shape[2:])} (frames, height, width): the 3D ResNet "
                f"takes [{16 * self.pool_frames}, {SIDE_PX}, {SIDE_PX}]"
            )
        return x.mean(dim=(2, 3, 4))


class SegmentMeans:
    """DisCo's vector of a file: the mean over its segments of 16 frames, the last frame repeated.

    A window of 16 frames is one segment.
    """

    def __init__(self, model: ResNet3D) -> None:
        self._model = model

    def __call__(self, windows: Tensor) -> Tensor:
        """Windows [B, 3, T, 112, 112] in [-1, 1] of any length -> [B, 2048]."""
        frames = 16 * self._model.pool_frames
        lacking = -windows.shape[2] % frames
        whole = torch.cat([windows, windows[:, :, -1:].expand(-1, -1, lacking, -1, -1)], dim=2)
        with torch.inference_mode():
            segments = [self._model(segment) for segment in torch.split(whole, frames, dim=2)]
        return torch.stack(segments).mean(dim=0)


def load_resnet3d(path: Path, model: ResNet3D) -> ResNet3D:
    """Put the weights of a file into `model`; in evaluation mode. No code in the file is run.

    Raises:
        WeightsUnavailable: the file is not of the layout above, or does not fit the model.
    """
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in read_torch_file(path, "state_dict").items()
        if not name.removeprefix("module.").startswith("fc.")
    }
    # files from before PyTorch 0.4.1 do not count batches, and nothing here needs the count
    load_tensors(model, tensors, path, optional=("num_batches_tracked",))
    return model
