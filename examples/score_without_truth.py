"""Score puppets that move as other puppets do: identity by the photo, pose by the driver."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from aa_datasets.pose import write_pose
from aa_datasets.puppets.render import render_puppet
from aa_eval import evaluate

WORDS = {"identity_limbs": "colours off the photo's", "limb_angle": "degrees off the driving pose"}

with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    for name in ("photos", "driving", "keypoints", "photo_keypoints"):
        (root / name).mkdir()
    for who in range(3):
        photo = render_puppet(who, who, num_frames=1, size_hw=(64, 64))
        Image.fromarray(photo.frames[0]).save(root / "photos" / f"{who}.png")
        write_pose(root / "photo_keypoints" / f"{who}.npz", photo.pose)
        driver = render_puppet(who + 10, who + 20, num_frames=2, fps=2, size_hw=(96, 96))
        write_pose(root / "driving" / f"{who}.npz", driver.pose)
        moved = render_puppet(who, who + 20, num_frames=2, fps=2, size_hw=(64, 64))
        (root / "predictions" / str(who)).mkdir(parents=True)
        for number, frame in enumerate(moved.frames):
            Image.fromarray(frame).save(root / "predictions" / str(who) / f"{number}.png")
        write_pose(root / "keypoints" / f"{who}.npz", moved.pose)
    photos, driving, keypoints = (root / name for name in ("photos", "driving", "keypoints"))
    how = {"reference_images": photos, "driving_poses": driving, "keypoints": keypoints}
    of_photos = root / "photo_keypoints"
    results = evaluate(root / "predictions", **how, reference_keypoints=of_photos, cache="off")
    for result in results:  # the method, then a still photo, its own first frame, another's photo
        values = [f"{m.value:.1f} {WORDS[k]}" for k, m in result.metrics.items() if k in WORDS]
        print(result.method, *values, sep="; ")
