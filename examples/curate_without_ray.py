"""Curate a folder of videos in this process, without Ray, and look at every decision."""

import tempfile
from pathlib import Path

from aa_curation import Local, load_recipe, read_sources, run
from aa_datasets import find_shards, read_shards, render_puppets

with tempfile.TemporaryDirectory() as folder:
    # Synthetic characters with exact poses; a folder of your own videos works the same way.
    videos = render_puppets(Path(folder, "videos"), count=4, num_frames=36, size_hw=(256, 256))
    corpus = Path(folder, "corpus")

    recipe = load_recipe("demo")  # or a Python file with RECIPE = Recipe(...)
    ledger = run(recipe, read_sources([videos]), corpus, Local())
    print(ledger)  # the funnel

    frame = ledger.to_frame()  # pandas: a row per clip, a column per measurement
    print(frame[["clip_id", "status", "check.blurred", "check.small_person", "licence"]])

    for sample in read_shards(find_shards([corpus])):
        print(f"{sample.clip.clip_id}: {sample.clip.num_frames} frames, {len(sample.mp4)} bytes")

    # Run again: what the ledger holds is not done again.
    assert run(recipe, read_sources([videos]), corpus, Local()) == ledger
