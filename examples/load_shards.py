"""Load training batches from shards: windows of frames with their skeletons, resumable."""

import tempfile
from pathlib import Path

import torch

from aa_datasets import LoaderConfig, find_shards, make_loader, read_shards, render_puppets

with tempfile.TemporaryDirectory() as folder:
    # Synthetic characters stand in for a corpus of `aa-curate run`; name yours here instead.
    shard = render_puppets(Path(folder, "puppets.tar"), count=6, num_frames=24, size_hw=(128, 128))

    for sample in read_shards(find_shards([shard])):  # clip by clip, each hash checked
        clip = sample.clip
        print(f"{clip.clip_id}: {clip.num_frames} frames at {clip.fps:g} fps, {clip.licence}")

    config = LoaderConfig(stage=2, batch_size=2, num_frames=12, size_hw=(96, 96), seed=7)
    loader = make_loader([shard], config)
    batch = next(loader).to(torch.device("cpu"))  # floats in [-1, 1]
    print("reference", tuple(batch.reference.shape), "target", tuple(batch.target.shape))
    print("skeletons", tuple(batch.pose.shape), "of", ", ".join(batch.clip_ids))

    state = loader.state_dict()  # store it with your checkpoint
    resumed = make_loader([shard], config)
    resumed.load_state_dict(state)
    same = torch.equal(next(loader).target, next(resumed).target)
    print("the resumed loader gives the same next batch:", same)
