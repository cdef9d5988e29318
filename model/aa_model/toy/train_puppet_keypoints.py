"""Train the puppet keypoint network, and run it over videos: `aa-model puppet-keypoints`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Never

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from aa_datasets.atomic_file import replace_file, sha256_of_file
from aa_datasets.pose import BODY
from aa_datasets.progress import progress
from aa_datasets.shards import read_shards
from aa_datasets.video.canonical import read_canonical
from aa_model.config import TrainConfig
from aa_model.errors import ModelError
from aa_model.inference.puppet_keypoints import (
    INPUT_PX,
    KeypointNet,
    detect_keypoints,
    keypoint_loss,
    read_keypoint_net,
    resize_frames,
)
from aa_model.training.loop import TrainingState, train

if TYPE_CHECKING:
    from tqdm import tqdm

KeypointBatch = tuple[Tensor, Tensor]
_EVERY = 4  # frames between those that are kept for training


class KeypointBatches:
    """Endless random batches of moved, recoloured, sometimes blurred frames and their joints.

    Blur matters: generated frames are softer than rendered ones.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        keypoints_px: NDArray[np.float32],
        batch_size: int,
        seed: int,
    ) -> None:
        self.frames = frames
        self.keypoints_px = keypoints_px
        self.batch_size = batch_size
        self.rng = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[KeypointBatch]:
        return self

    def __next__(self) -> KeypointBatch:
        chosen = self.rng.integers(len(self.frames), size=self.batch_size)
        pairs = [self._augmented(self.frames[i], self.keypoints_px[i]) for i in chosen]
        pictures = torch.from_numpy(np.stack([picture for picture, _ in pairs]))
        keypoints = torch.from_numpy(np.stack([keypoints for _, keypoints in pairs]))
        return pictures.permute(0, 3, 1, 2) / 127.5 - 1, keypoints

    def _augmented(
        self, frame: NDArray[np.uint8], keypoints_px: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scale, angle = self.rng.uniform(0.8, 1.25), self.rng.uniform(-10, 10)
        centre = (INPUT_PX - 1) / 2
        affine = cv2.getRotationMatrix2D((centre, centre), angle, scale)
        affine[:, 2] += self.rng.uniform(-0.1, 0.1, 2) * INPUT_PX
        size = (INPUT_PX, INPUT_PX)
        moved = cv2.warpAffine(frame, affine, size, borderMode=cv2.BORDER_REPLICATE)
        if self.rng.random() < 0.5:
            moved = cv2.GaussianBlur(moved, (0, 0), self.rng.uniform(0.3, 1.5))
        gain, shift = self.rng.uniform(0.8, 1.2, 3), self.rng.uniform(-20, 20, 3)
        picture = np.clip(moved * gain + shift, 0, 255).astype(np.float32)
        keypoints = keypoints_px @ affine[:, :2].T + affine[:, 2]
        return picture, keypoints.astype(np.float32)


def read_training_frames(
    shards: Sequence[Path],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Every fourth frame at 128 x 128, and its body joints [N, 18, 2] in its pixels."""
    frames, keypoints = [], []
    for sample in progress(read_shards(shards), desc="reading shards", unit="clip"):
        indices = np.arange(0, sample.clip.num_frames, _EVERY)
        frames.append(resize_frames(read_canonical(sample.mp4, indices)))
        pose = sample.pose.at_frames(indices).resized((INPUT_PX, INPUT_PX))
        keypoints.append(pose.keypoints_px[:, BODY])
    if not frames:
        raise ModelError("the shards hold no clip: there is nothing to train on")
    return np.concatenate(frames), np.concatenate(keypoints)


def train_keypoints(
    shards: Sequence[Path],
    out: Path,
    *,
    steps: int = 1500,
    batch_size: int = 16,
    lr: float = 2e-3,
    seed: int = 0,
) -> None:
    """Train a keypoint network on shards and write it to `out`, a .safetensors file."""
    torch.manual_seed(seed)
    net = KeypointNet()
    config = TrainConfig(
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        warmup_steps=50,
        lr_schedule="cosine",
        ema_decay=0.998,
        seed=seed,
    )
    batches = KeypointBatches(*read_training_frames(shards), config.batch_size, config.seed)
    state = TrainingState(dict(net.named_parameters()), config)
    print(f"{sum(p.numel() for p in net.parameters())} weights, {len(batches.frames)} frames")
    losses = []
    bar: tqdm[Never] = progress(desc="puppet keypoints", unit="step", total=steps)
    with bar:
        for step in train(
            state, lambda batch, generator: keypoint_loss(net, *batch), batches, config
        ):
            losses.append(step.loss)
            bar.update()
            bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}", refresh=False)
    options = {"steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed}
    made_by = json.dumps({"shards": [path.name for path in shards], **options})
    with state.averaged():
        content = save(
            {name: p.detach().half() for name, p in net.named_parameters()},
            {"format": "aa puppet-keypoints 1", "made_by": made_by},
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, content)
    print(f"{out}: {steps} steps in {state.seconds:.0f} s, loss {losses[-1]:.3f}")


def detect_in_videos(videos: Sequence[Path], weights: Path, out: Path) -> int:
    """Write OUT/<video_id>.npz for every video; returns how many there were.

    Args:
        videos: folders of <video_id>/<frame>.png, or tar shards.

    Raises:
        ModelError: they hold no video.
    """
    net = read_keypoint_net(weights)
    print(f"{weights}: sha256 {sha256_of_file(weights)}")
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for video_id, frames in progress(_read_videos(videos), desc="keypoints", unit="video"):
        keypoints_px, scores = detect_keypoints(net, frames)
        size_hw = np.array(frames.shape[1:3], dtype=np.int32)
        np.savez(out / f"{video_id}.npz", keypoints_px=keypoints_px, scores=scores, size_hw=size_hw)
        count += 1
    if not count:
        raise ModelError("no video found: give tar shards, or folders of <video>/<frame>.png")
    return count


def _read_videos(paths: Sequence[Path]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for path in paths:
        if path.is_dir():
            for folder in sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != "."):
                files = sorted(folder.glob("*.png"))
                if files:
                    yield folder.name, np.stack([_read_picture(file) for file in files])
        else:
            for sample in read_shards([path]):
                yield sample.clip.clip_id, read_canonical(sample.mp4)


def _read_picture(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
