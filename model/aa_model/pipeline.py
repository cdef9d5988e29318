"""AnimatePipeline: a photo and a Pose in, frames out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from aa_datasets.draw_pose import draw_pose
from aa_datasets.frames import resize_frames, resize_pose
from aa_datasets.pose import Pose
from aa_model.align_pose import align_pose
from aa_model.animate_anyone import AnimateAnyone
from aa_model.checkpoint import read_model
from aa_model.errors import ModelError
from aa_model.generate import (
    POSE_PART,
    GenerateConfig,
    StepCallback,
    decode_frames,
    denoise,
    encode_conditions,
)

Picture = Image.Image | NDArray[np.uint8]


class AnimatePipeline:
    """A checkpoint, ready to animate.

    Args:
        model: in eval mode, on the device to be used.
    """

    def __init__(self, model: AnimateAnyone) -> None:
        self.model = model

    @classmethod
    def from_pretrained(cls, folder: Path, device: str | torch.device = "cpu") -> AnimatePipeline:
        """Load a checkpoint folder that aa-train wrote.

        Raises:
            CheckpointError: a part is absent, altered, or of another network.
        """
        model = read_model(folder)
        return cls(model.to(device).to(memory_format=torch.channels_last))

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.model.config.size_hw

    def __call__(
        self,
        reference: Picture,
        pose: Pose,
        config: GenerateConfig | None = None,
        *,
        reference_pose: Pose | None = None,
        on_step: StepCallback | None = None,
    ) -> NDArray[np.uint8]:
        """Animate `reference` by `pose`; arguments as of `stream`.

        Returns:
            Frames uint8 [T, H, W, 3] of the checkpoint's size.
        """
        frames = self.stream(
            reference, pose, config, reference_pose=reference_pose, on_step=on_step
        )
        return np.stack(list(frames))

    def stream(
        self,
        reference: Picture,
        pose: Pose,
        config: GenerateConfig | None = None,
        *,
        reference_pose: Pose | None = None,
        on_step: StepCallback | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """The frames uint8 [H, W, 3] one by one: no more than `decode_batch` pictures are held.

        What grows with the length is what denoising needs: latents and pose features.

        Args:
            reference: a PIL image of any mode, or uint8 [H, W], [H, W, 3] or [H, W, 4].
            pose: the driving pose of T frames, in any frame size.
            reference_pose: the pose in the reference picture (its first frame is used). When
                given, the driving skeleton is rescaled to its proportions (Sec. 4.1).
        """
        config = config or GenerateConfig()
        if pose.num_frames == 0:
            raise ModelError("the pose has no frames: there is nothing to animate")
        picture = fit_picture(reference, self.size_hw)
        driving = resize_pose(pose, self.size_hw)
        if reference_pose is not None:
            driving = align_pose(driving, resize_pose(reference_pose, self.size_hw))
        device = next(self.model.parameters()).device
        with (
            torch.no_grad(),
            torch.autocast(device.type, torch.bfloat16, enabled=config.autocast),
        ):
            conditions = encode_conditions(
                self.model, to_pixels(picture[None])[0].to(device), self._draw(driving, device)
            )
        latents = denoise(self.model, conditions, config, on_step=on_step)
        del conditions
        batch, autocast = config.decode_batch, config.autocast
        for frames in decode_frames(self.model, latents, batch, autocast=autocast):
            yield from frames.numpy()

    def _draw(self, pose: Pose, device: torch.device) -> Iterator[torch.Tensor]:
        """Pictures of the skeletons, a part at a time, [n, 3, H, W]."""
        for start in range(0, pose.num_frames, POSE_PART):
            part = pose.at_frames(np.arange(start, min(start + POSE_PART, pose.num_frames)))
            yield to_pixels(draw_pose(part, self.size_hw)).to(device)


def to_pixels(frames: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [T, H, W, 3] to float32 [T, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_picture(picture: Picture, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Any picture as uint8 RGB [H, W, 3]: turned as EXIF says, alpha on white, cropped, resized.

    Cropped at the centre and resized as training frames are (Sec. 4.1), and the driving pose too.

    Raises:
        ModelError: an array that is no picture.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or not (
            picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))
        ):
            raise ModelError(
                f"the reference is {picture.dtype} {picture.shape}: expected uint8 [H, W], "
                "[H, W, 3] or [H, W, 4]"
            )
        picture = Image.fromarray(picture)
    image = ImageOps.exif_transpose(picture)
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(
            (values / (65535 if values.max() > 255 else 255) * 255).astype("u1")
        )
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB"))
    fitted: NDArray[np.uint8] = resize_frames(pixels[None], size_hw)[0]
    return fitted
