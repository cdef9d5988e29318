"""Animate a puppet's photo by another puppet's motion, with the checkpoint in demo/learned."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from aa_datasets import render_puppet
from aa_datasets.puppets.render import Puppet
from aa_model import AnimatePipeline, GenerateConfig

checkpoint = Path(__file__).parents[1] / "demo" / "learned"
person: Puppet = render_puppet(1, 2, num_frames=1, size_hw=(256, 256))
dancer: Puppet = render_puppet(3, 4, num_frames=8, size_hw=(256, 256))

pipeline = AnimatePipeline.from_pretrained(checkpoint)
video = pipeline(
    person.frames[0],
    dancer.pose,
    GenerateConfig(steps=10),
    reference_pose=person.pose,  # rescales the dancer's skeleton to the person's proportions
    output_type="pil",
).frames

out = Path("animated.gif")
video[0].save(out, save_all=True, append_images=video[1:], duration=1000 / 12, loop=0)
Image.fromarray(person.frames[0]).save("photo.png")
print(f"{out}: {len(video)} frames of {video[0].width}x{video[0].height}; the photo: photo.png")
