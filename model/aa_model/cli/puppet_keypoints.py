"""`aa-model puppet-keypoints train | detect`: data, augmentation, files."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from aa_datasets.atomic_file import replace_file
from aa_datasets.pose import BODY
from aa_datasets.shards import read_shards
from aa_datasets.video.canonical import read_canonical
from aa_model.checkpoints.store import copy_tensors
from aa_model.config import TrainConfig
from aa_model.errors import CheckpointError, ModelError
from aa_model.toy.puppet_keypoints import (
    INPUT_PX,
    KeypointNet,
    detect_keypoints,
    keypoint_loss,
    resize_frames,
)
from aa_model.training.loop import TrainingState, train

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
    for sample in tqdm(read_shards(shards), desc="reading shards", unit="clip"):
        indices = np.arange(0, sample.clip.num_frames, _EVERY)
        frames.append(resize_frames(read_canonical(sample.mp4, indices)))
        pose = sample.pose.at_frames(indices).resized((INPUT_PX, INPUT_PX))
        keypoints.append(pose.keypoints_px[:, BODY])
    if not frames:
        raise ModelError("the shards hold no clip: there is nothing to train on")
    return np.concatenate(frames), np.concatenate(keypoints)


def train_command(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    net = KeypointNet()
    config = TrainConfig(
        steps=args.steps,
        batch_size=args.batch_size,
        lr=args.lr,
        warmup_steps=50,
        lr_schedule="cosine",
        ema_decay=0.998,
        seed=args.seed,
    )
    batches = KeypointBatches(*read_training_frames(args.shards), config.batch_size, config.seed)
    state = TrainingState(dict(net.named_parameters()), config)
    print(f"{sum(p.numel() for p in net.parameters())} weights, {len(batches.frames)} frames")
    bar = tqdm(total=config.steps, desc="puppet keypoints", unit="step",
               mininterval=0.5 if sys.stderr.isatty() else 20)  # fmt: skip
    losses = []
    with bar:
        for step in train(
            state, lambda batch, generator: keypoint_loss(net, *batch), batches, config
        ):
            losses.append(step.loss)
            bar.update()
            bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}", refresh=False)
    with state.averaged():
        content = save(
            {name: p.detach().half() for name, p in net.named_parameters()},
            {"format": "aa puppet-keypoints 1", "made_by": _made_by(args)},
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(args.out, content)
    print(f"{args.out}: {config.steps} steps in {state.seconds:.0f} s, loss {losses[-1]:.3f}")


def _made_by(args: argparse.Namespace) -> str:
    options = {name: getattr(args, name) for name in ("steps", "batch_size", "lr", "seed")}
    return json.dumps({"shards": [path.name for path in args.shards], **options})


def read_keypoint_net(path: Path) -> KeypointNet:
    """Load what `aa-model puppet-keypoints train` wrote.

    Raises:
        CheckpointError: no such file, not safetensors, or of another network.
    """
    net = KeypointNet()
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not the weights of a puppet keypoint network ({error}): make them with "
            "aa-model puppet-keypoints train"
        ) from error
    copy_tensors(dict(net.named_parameters()), tensors, str(path))
    return net.eval()


def detect_command(args: argparse.Namespace) -> None:
    net = read_keypoint_net(args.weights)
    print(f"{args.weights}: sha256 {hashlib.sha256(args.weights.read_bytes()).hexdigest()}")
    args.out.mkdir(parents=True, exist_ok=True)
    count = 0
    for video_id, frames in tqdm(_read_videos(args.videos), desc="keypoints", unit="video"):
        keypoints_px, scores = detect_keypoints(net, frames)
        size_hw = np.array(frames.shape[1:3], dtype=np.int32)
        np.savez(
            args.out / f"{video_id}.npz", keypoints_px=keypoints_px, scores=scores, size_hw=size_hw
        )
        count += 1
    if not count:
        raise ModelError("no video found: give tar shards, or folders of <video>/<frame>.png")
    print(f"{args.out}: keypoints of {count} videos")


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
