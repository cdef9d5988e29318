"""What the pictures of a run show, by what stands where in them, and its probes by their words."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aa_datasets.loader.crop_resize import resize_frames
from aa_datasets.shards import read_shards, write_shard
from aa_datasets.video.canonical import read_canonical
from aa_model.errors import ModelError
from aa_model.inference.visualize import draw_strip
from aa_model.networks.animate_anyone import AnimateAnyone
from aa_model.training.samples import Shown, TrainingSamples, background_flicker

T, SIDE = 3, 32  # of the tiny preset


def _make_samples(model: AnimateAnyone, shards: list[Path], folder: Path) -> TrainingSamples:
    samples = TrainingSamples(model, shards, folder, T)
    samples.config = dataclasses.replace(samples.config, steps=1)
    return samples


def _videos(shown: Shown, part: int) -> list[np.ndarray]:
    """Of both clips: 0 the reference, 1 the pose, 2 what was generated, 3 the true frames."""
    return [video[:, :, part * SIDE : (part + 1) * SIDE] for video in shown.videos.values()]


@pytest.mark.parametrize("temporal", [False, True])
def test_each_picture_stands_in_its_place_and_the_probes_are_those_of_the_pictures(
    make_tiny: Callable[..., AnimateAnyone],
    puppet_shards: list[Path],
    tmp_path: Path,
    temporal: bool,
) -> None:
    model = make_tiny(temporal=temporal)
    samples = _make_samples(model, puppet_shards, tmp_path)
    shown = samples.write(7)
    clips, jobs = list(read_shards(puppet_shards[:1]))[:2], samples.jobs
    assert list(shown.videos) == list(shown.strips) == [s.clip.clip_id for s in clips]
    assert shown.fps == 24
    parts = [_videos(shown, part) for part in range(4)]
    for n, sample in enumerate(clips):
        reference, pose, made, true = (part[n] for part in parts)
        frames = resize_frames(read_canonical(sample.mp4), (SIDE, SIDE))
        np.testing.assert_array_equal(true, frames[:T])
        np.testing.assert_array_equal(reference, np.repeat(frames[:1], T, axis=0))
        np.testing.assert_array_equal(pose, samples.pipeline.draw(jobs[n].pose))
        strip = shown.strips[sample.clip.clip_id]
        np.testing.assert_array_equal(strip, draw_strip(frames[0], [pose, made, true]))
        file = tmp_path / f"samples/step-000007-{sample.clip.clip_id}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(file)), strip)

    probes = shown.probes
    flicker = [background_flicker(*pair) for pair in zip(parts[2], parts[3], strict=True)]
    assert probes["flicker"] == pytest.approx(np.mean(flicker))
    still = [background_flicker(true, true) for true in parts[3]]
    assert probes["flicker_true"] == pytest.approx(np.mean(still))
    for name in ("reference", "pose"):
        changes = []
        for job, other, made in zip(jobs, jobs[::-1], parts[2], strict=True):
            given = {"reference": job.reference, "pose": job.pose, name: getattr(other, name)}
            frames = np.stack(list(samples.pipeline.stream(**given, config=samples.config)))
            changes.append(np.abs(frames.astype(float) - made).mean())
        assert probes[f"{name}_swapped"] == pytest.approx(np.mean(changes))
        assert probes[f"{name}_swapped"] > 0
    without = probes.get("flicker_without_temporal_layers")
    assert (without is not None) == temporal
    assert without != probes["flicker"]
    with (tmp_path / "samples/probes.csv").open() as rows:
        assert list(csv.DictReader(rows)) == [
            {"step": "7"} | {name: f"{value:.4f}" for name, value in probes.items()}
        ]
    told = shown.line(7)
    assert told.startswith(
        f"samples of step 7: another reference changes {probes['reference_swapped']:.1f} grey "
        f"levels, another pose {probes['pose_swapped']:.1f}; still background flickers by "
        f"{probes['flicker']:.2f} ({probes['flicker_true']:.2f} in the true video"
    )
    assert ("without the temporal layers" in told) == temporal


def test_looking_takes_no_random_number_from_the_training(
    make_tiny: Callable[..., AnimateAnyone], puppet_shards: list[Path], tmp_path: Path
) -> None:
    model = make_tiny()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _make_samples(model, puppet_shards, tmp_path).write(0)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())


def test_one_clip_has_nothing_to_swap_with(
    make_tiny: Callable[..., AnimateAnyone], puppet_shards: list[Path], tmp_path: Path
) -> None:
    one = tmp_path / "one-00000.tar"
    write_shard(one, list(read_shards(puppet_shards[:1]))[:1])
    with pytest.raises(ModelError, match="samples need two clips or more"):
        TrainingSamples(make_tiny(), [one], tmp_path)
