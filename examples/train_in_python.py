"""Train the smallest network on puppets: its frozen parts, then stage 1, then stage 2."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from aa_datasets import ShardSample, encode_canonical, render_puppet, write_shard
from aa_datasets.clip import Clip
from aa_model import PRESETS, TrainOptions, train_stage

folder = Path(tempfile.mkdtemp(prefix="train-in-python-"))
samples = []
for i in range(4):
    puppet = render_puppet(i, 100 + i, num_frames=8, size_hw=(64, 64))
    clip = Clip(
        clip_id=f"puppet_{i}", source_id=f"puppet_{i}", source="puppets", licence="Apache-2.0",
        start_s=0.0, end_s=8 / 24, fps=24.0, size_hw=(64, 64), num_frames=8, synthetic=True,
        pose_from="renderer", split="train",
    )  # fmt: skip
    samples.append(ShardSample(clip, encode_canonical(puppet.frames, 24.0), puppet.pose))
shard = folder / "train-000000.tar"
write_shard(shard, samples)

init: tuple[Path, ...] = ()
for stage in ("autoencoder", "image-encoder", "1", "2"):
    out = folder / stage
    training = replace(PRESETS["tiny"].training[stage], steps=16, batch_size=4)
    steps = train_stage(
        TrainOptions((shard,), stage=stage, preset="tiny", out=out, init=init, training=training)
    )
    print(f"stage {stage}: {len(steps)} steps, the last with loss {steps[-1].loss:.3f}, in {out}")
    init = (out,) if stage in ("1", "2") else (*init, out)
