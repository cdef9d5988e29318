"""Add a filter of your own to a recipe: reject clips whose person walks out of the middle."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from aa_curation import Check, Local, at_most, load_recipe, read_sources, run
from aa_datasets import Pose, render_puppets


@dataclasses.dataclass(frozen=True)
class OffCentre:
    """Distance of the person's middle from the middle of the frame; in widths of the frame."""

    widths_at_most: float

    def __call__(self, pose: Pose) -> Check:
        x = np.where(pose.scores > 0, pose.keypoints_px[..., 0], np.nan)  # [T, joints]
        middle = np.nanmean(x, axis=1) / pose.size_hw[1]
        return at_most("off_centre", float(np.max(np.abs(middle - 0.5))), self.widths_at_most)


with tempfile.TemporaryDirectory() as folder:
    videos = render_puppets(Path(folder, "videos"), count=6, num_frames=30, size_hw=(256, 256))
    demo = load_recipe("demo")
    # Filters run in their order; the first check that fails is the reason.
    recipe = dataclasses.replace(demo, pose_filters=(*demo.pose_filters, OffCentre(0.11)))
    ledger = run(recipe, read_sources([videos]), Path(folder, "corpus"), Local())
    print(ledger)
    print(ledger.to_frame()[["clip_id", "status", "reason", "check.off_centre"]])
