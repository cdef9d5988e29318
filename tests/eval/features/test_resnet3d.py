"""The 3D ResNet of FID-VID: torchvision's ResNet on still clips, its file's layout, its absence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.resnet import Bottleneck, ResNet

from aa_eval.errors import MetricUnavailable, WeightsUnavailable
from aa_eval.features.networks import NETWORKS, OWN_WEIGHTS
from aa_eval.features.resnet3d import ResNet3D, SegmentMeans, load_resnet3d
from aa_eval.protocol import read_protocol
from aa_eval.scoring.score_pairs import score_pairs
from aa_eval.weights.weight_files import verify_own_weight, weights_folder

RESNET3D_50 = OWN_WEIGHTS["resnet3d-50-kinetics"]
BLOCKS = [1, 2, 1, 1]  # a second block has no shortcut convolution


@pytest.fixture(scope="module")
def flat() -> ResNet:
    """A ResNet of pictures with random weights and random statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ResNet(Bottleneck, BLOCKS, num_classes=400).eval()
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model


def inflated(flat: ResNet) -> dict[str, Tensor]:
    """The flat weights as the middle frame of the 3D kernels, named as in the published file."""
    state = {}
    for name, tensor in flat.state_dict().items():
        if tensor.ndim == 4:
            kernel = torch.zeros(*tensor.shape[:2], tensor.shape[2], *tensor.shape[2:])
            kernel[:, :, tensor.shape[2] // 2] = tensor
            tensor = kernel
        if not name.endswith("num_batches_tracked"):  # a file of 2017 has none
            state[f"module.{name}"] = tensor
    return state


@pytest.fixture(scope="module")
def checkpoint(flat: ResNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet-50-kinetics.pth"
    torch.save({"arch": "resnet-50", "epoch": 1, "state_dict": inflated(flat)}, path)
    return path


def test_on_a_still_clip_it_is_torchvisions_resnet(flat: ResNet, checkpoint: Path) -> None:
    model = load_resnet3d(checkpoint, ResNet3D(BLOCKS))
    levels = np.random.default_rng(0).uniform(0, 255, (2, 3, 112, 112)).astype(np.float32)
    pictures = torch.from_numpy(levels)
    seen: list[tuple[int, ...]] = []
    for index in range(1, 5):
        model.get_submodule(f"layer{index}").register_forward_hook(
            lambda _module, _inputs, output: seen.append(tuple(output.shape[1:]))
        )
    flat.fc = torch.nn.Identity()
    with torch.inference_mode():
        windows = (pictures / 127.5 - 1)[:, :, None].expand(-1, -1, 16, -1, -1)
        found = model(windows)
        mean = torch.tensor([114.7748, 107.7354, 99.4750]).view(3, 1, 1)
        expected = flat(pictures - mean)
    assert found.shape == (2, 2048)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))
    assert seen == [(256, 8, 28, 28), (512, 4, 14, 14), (1024, 2, 7, 7), (2048, 1, 4, 4)]
    with pytest.raises(MetricUnavailable, match=r"takes \[16, 112, 112\]"):
        model(windows[:1, :, :, :64, :64])


def test_a_clip_is_the_mean_of_its_segments_its_last_frame_repeated(checkpoint: Path) -> None:
    """DisCo's rule, which One-to-All's FID-VID runs on clips of any length."""
    model = load_resnet3d(checkpoint, ResNet3D(BLOCKS))
    clip = torch.rand(1, 3, 19, 112, 112) * 2 - 1
    tail = torch.cat([clip[:, :, 16:], clip[:, :, -1:].expand(-1, -1, 13, -1, -1)], dim=2)
    expected = (model(clip[:, :, :16]) + model(tail)) / 2
    torch.testing.assert_close(SegmentMeans(model)(clip), expected)
    assert torch.equal(SegmentMeans(model)(clip[:, :, :16]), model(clip[:, :, :16]))


def test_files_of_another_layout_are_refused(
    flat: ResNet, checkpoint: Path, tmp_path: Path
) -> None:
    state = inflated(flat)
    path = tmp_path / "other.pth"
    for content, words in (
        ([1], "holds no dictionary of tensors 'state_dict'"),
        ({"state_dict": state | {"module.layer9.0.conv1.weight": torch.ones(1)}}, "e.g. layer9"),
        ({"state_dict": {k: v for k, v in state.items() if "bn1" not in k}}, "lacks or does not"),
        ({"state_dict": state | {"module.conv1.weight": torch.ones(64, 3, 7, 7)}}, "expected"),
    ):
        torch.save(content, path)
        with pytest.raises(WeightsUnavailable, match=words):
            load_resnet3d(path, ResNet3D(BLOCKS))
    path.write_bytes(b"no checkpoint")
    with pytest.raises(WeightsUnavailable, match="not a checkpoint"):
        load_resnet3d(path, ResNet3D(BLOCKS))


def test_its_size_is_that_of_the_published_network() -> None:
    with torch.device("meta"):
        model = ResNet3D()
    # by hand: kernels of 1 and 27 places, two numbers a channel of batch normalisation
    total, channels = 3 * 64 * 343 + 2 * 64, 64
    for index, count in enumerate((3, 4, 6, 3)):
        width = 64 << index
        for block in range(count):
            total += channels * width + 27 * width**2 + 4 * width**2 + 2 * (2 * width + 4 * width)
            total += 0 if block else channels * 4 * width + 2 * 4 * width
            channels = 4 * width
    assert sum(parameter.numel() for parameter in model.parameters()) == total
    assert NETWORKS[RESNET3D_50.name].dim == channels


def test_without_the_file_or_with_another_it_is_unavailable_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    protocol = read_protocol("fid-vid-disco")
    (found,) = score_pairs([], [protocol], method="m", baselines=["white"])
    metric = found.metrics["fid_vid"]
    assert metric.value is None
    assert "fetch resnet-50-kinetics.pth" in (metric.unavailable or "")
    path = weights_folder() / RESNET3D_50.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    with pytest.raises(WeightsUnavailable, match="state the file's hash: sha256sum"):
        verify_own_weight(RESNET3D_50)
    stated = path.with_name(path.name + ".sha256")
    stated.write_text("none\n")
    with pytest.raises(WeightsUnavailable, match="holds no sha256"):
        verify_own_weight(RESNET3D_50)
    digest = hashlib.sha256(b"weights").hexdigest()
    stated.write_text(f"{digest}  {path.name}\n")
    assert verify_own_weight(RESNET3D_50) == (path, digest)
    path.write_bytes(b"altered")
    with pytest.raises(WeightsUnavailable, match="fetch it again"):
        verify_own_weight(RESNET3D_50)
