"""animate_shards: one video per clip of some shards, into a predictions folder; resumable."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Never

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from aa_datasets.atomic_file import replace_file, sha256_of_file
from aa_datasets.benchmarks.split import match_test_videos
from aa_datasets.clip import Clip
from aa_datasets.command_line import counted
from aa_datasets.loader.crop_resize import resize_frames, resize_pose
from aa_datasets.pose import Pose
from aa_datasets.progress import progress
from aa_datasets.shards import find_shards, read_record, read_shards
from aa_datasets.video.canonical import encode_canonical, read_canonical
from aa_model.checkpoints.store import CheckpointInfo, read_checkpoint
from aa_model.config import GenerateConfig, to_json
from aa_model.errors import ModelError
from aa_model.inference.animate_photo import lora_file, open_pipeline
from aa_model.inference.denoise import window_of, windows_of
from aa_model.inference.options import AnimateOptions, Swap
from aa_model.inference.peak_memory import count_animation_memory
from aa_model.inference.pipeline import SCHEDULER_CONFIG, AnimatePipeline
from aa_model.inference.visualize import draw_strip, pick_moments
from aa_model.networks.flops import count_costs
from aa_model.networks.temporal import without_temporal_layers

if TYPE_CHECKING:
    from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class Job:
    """One video to make, of a clip's own first frame and poses.

    Attributes:
        video_id: its name in the predictions folder.
        reference: uint8 [H, W, 3].
        pose: in frames of the size that is made.
        mp4: the clip itself, for the true frames.
    """

    video_id: str
    reference: NDArray[np.uint8]
    pose: Pose
    mp4: bytes
    fps: float

    def true_frames(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """These frames of the clip, uint8 [n, H, W, 3]."""
        height, width = self.reference.shape[:2]
        return resize_frames(read_canonical(self.mp4, indices), (height, width))


def animate_shards(options: AnimateOptions) -> None:
    """Write OUT/<id>/0000.png... for every clip, and the same as .mp4 and strips next to OUT.

    A video that is there is skipped, so the same command resumes.

    Raises:
        ModelError, DatasetError: as `animate_photo`; or OUT holds videos of other settings.
    """
    shards = find_shards(options.shards)
    names = video_ids(options.benchmark, read_clips(shards))
    pipeline = open_pipeline(options)
    unet = pipeline.model.denoising_unet
    if not (options.temporal or pipeline.model.has_temporal_layers):
        raise ModelError(f"{options.checkpoint} has no temporal layers: leave out --no-temporal")
    size_hw = options.size_hw(pipeline.size_hw)
    assert size_hw is not None
    jobs = read_jobs(shards, size_hw, max_frames=options.max_frames, names=names)
    out = options.out
    keep_settings(out.with_name(f"{out.name}-settings.json"), _settings(options))
    for job in swapped(itertools.islice(jobs, options.max_videos), options.swap):
        if (out / job.video_id).is_dir():
            print(f"{job.video_id}: already there")
            continue
        started = time.monotonic()
        with nullcontext() if options.temporal else without_temporal_layers(unet):
            _animate(pipeline, job, options)
        spent_s = time.monotonic() - started
        print(f"{job.video_id}: {job.pose.num_frames} frames in {spent_s:.1f} s")


def _animate(pipeline: AnimatePipeline, job: Job, options: AnimateOptions) -> None:
    config = options.generate
    bar: tqdm[Never] = progress(desc=job.video_id, unit="step", total=config.steps, leave=False)
    with bar:
        frames = pipeline.stream(
            job.reference,
            job.pose,
            config,
            size_hw=_size_hw(job),
            on_step=lambda done, latents: bar.update(),
        )
        _write_video(options.out, job, frames, pipeline)


def foretell(options: AnimateOptions) -> Iterator[str]:
    """Lines on what the options would make, once their files were found."""
    info, config = read_checkpoint(options.checkpoint), options.generate
    height, width = options.size_hw(None) or info.model.size_hw
    yield (
        f"{options.checkpoint}: preset {info.model.preset}, {height}x{width}, {config.steps} "
        f"steps, guidance {config.guidance:g}"
    )
    yield from _costs(info, config, (height, width), half=options.half)
    if not options.shards:
        yield f"{options.out}: {options.reference} moved by {options.pose or options.pose_video}"
        return
    clips = read_clips(find_shards(options.shards))
    names = video_ids(options.benchmark, clips)
    for clip in [clip for clip in clips if clip.clip_id in names][: options.max_videos]:
        folder = options.out / names[clip.clip_id]
        count = min(clip.num_frames, options.max_frames or clip.num_frames)
        yield f"{folder}: {count} frames{', already there' if folder.is_dir() else ''}"


def _costs(
    info: CheckpointInfo, config: GenerateConfig, size_hw: tuple[int, int], *, half: bool
) -> Iterator[str]:
    """Size of the network, and memory and work of a video, counted without weights."""
    temporal = "temporal_layers" in info.parts
    window = window_of(info.model, config, temporal=temporal)
    costs = count_costs(info.model, window, size_hw, temporal=temporal)
    guided = config.guidance != 1
    passes = "with and without the reference" if guided else "with the reference alone"
    step = costs.guided_step if guided else costs.with_reference
    yield (
        f"  {costs.num_parameters / 1e6:.1f} M parameters; {step:.3g} TFLOP for a step of "
        f"{window} frames, {passes}; {costs.decode:.2g} TFLOP to decode a frame"
    )
    memory = count_animation_memory(
        info.model, config, window, size_hw, temporal=temporal,
        dtype=torch.bfloat16 if half else torch.float32,
    )  # fmt: skip
    yield (
        f"  memory at its peak on a GPU, counted: {memory.total / 1e9:.2f} GB (weights "
        f"{memory.weights / 1e9:.2f}; a step adds {memory.step / 1e9:.2f}, decoding "
        f"{memory.decode / 1e9:.2f})"
    )
    for num_frames in (window, 240):
        windows = windows_of(num_frames, window, config)
        tflop = costs.video(num_frames, len(windows), config.steps, guided=guided)
        more = sum(map(len, windows)) / num_frames
        yield (
            f"  {num_frames} frames: {tflop:.3g} TFLOP in {counted(len(windows), 'window')}, "
            f"{more:.2f} times the frames in each step"
        )


def read_clips(shards: Iterable[Path]) -> list[Clip]:
    return [entry.clip for path in shards for entry in read_record(path).clips]


def video_ids(benchmark: str | None, clips: Sequence[Clip]) -> dict[str, str]:
    """clip_id -> its name in the predictions folder: of a benchmark's test videos, or of all."""
    if benchmark is None:
        return {clip.clip_id: clip.clip_id for clip in clips}
    return match_test_videos(benchmark, clips)


def read_jobs(
    shards: Iterable[Path],
    size_hw: tuple[int, int],
    *,
    max_frames: int | None = None,
    names: dict[str, str] | None = None,
) -> Iterator[Job]:
    """Jobs of the clips, in the shards' order.

    Args:
        max_frames: of each video.
        names: clip_id -> video_id, of the clips that are wanted; None takes all under their ids.
    """
    for sample in read_shards(shards):
        clip = sample.clip
        if names is not None and clip.clip_id not in names:
            continue
        count = min(clip.num_frames, max_frames or clip.num_frames)
        first = resize_frames(read_canonical(sample.mp4, np.array([0])), size_hw)[0]
        pose = resize_pose(sample.pose.at_frames(np.arange(count)), size_hw)
        video_id = clip.clip_id if names is None else names[clip.clip_id]
        yield Job(video_id, first, pose, sample.mp4, clip.fps)


def swapped(jobs: Iterable[Job], swap: Swap | None) -> Iterator[Job]:
    """The jobs with the reference, or the pose, of the next one; the last takes the first's.

    Args:
        swap: "reference", "pose" or None, which leaves them as they are.

    Raises:
        ModelError: the shards hold no clip, or only one to swap.
    """
    first = now = None
    for job in jobs:
        if now is None:
            first = now = job
            continue
        yield _mixed(now, job, swap)
        now = job
    if now is None or first is None:
        raise ModelError("the shards hold no clip: there is nothing to animate")
    if swap and now is first:
        raise ModelError("--swap needs two clips or more")
    yield _mixed(now, first, swap)


def _mixed(job: Job, other: Job, swap: Swap | None) -> Job:
    if swap == "reference":
        return replace(job, reference=other.reference)
    if swap == "pose":
        T = min(job.pose.num_frames, other.pose.num_frames)
        return replace(job, pose=other.pose.at_frames(np.arange(T)))
    return job


def keep_settings(path: Path, settings: Mapping[str, object]) -> None:
    """Write what the videos of a folder are made with, or hold it against what is there.

    Resuming with another checkpoint or number of steps would mix two methods in one predictions
    folder, without a trace of which video is whose.

    Raises:
        ModelError: the file is there and says otherwise.
    """
    now = json.loads(json.dumps(settings))
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ModelError(f"{path} is not what aa-animate wrote ({error}): delete it") from error
        differ = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        if differ:
            was, wanted = ({key: row.get(key) for key in differ} for row in (before, now))
            raise ModelError(
                f"the videos there were made with {was}, not {wanted} ({path}): give another --out"
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(now, indent=2) + "\n").encode())


def _settings(options: AnimateOptions) -> dict[str, object]:
    """All that decides the content of a video, but not how many are made or where."""
    info = read_checkpoint(options.checkpoint)
    network = [part.sha256 for part in info.parts.values()]
    network += [json.dumps(to_json(info.model), sort_keys=True)]  # the noise schedule is in it
    if (scheduler := options.checkpoint / SCHEDULER_CONFIG).is_file():
        network += [scheduler.read_text()]
    digest = hashlib.sha256("\n".join(network).encode()).hexdigest()
    chosen = dataclasses.asdict(options.generate)
    for batch in ("window_batch", "decode_batch"):
        del chosen[batch]
    return {
        "checkpoint": digest[:16],
        **chosen,
        # Older settings files lack these, and None where they are is the same.
        "overlap": "a quarter" if chosen["overlap"] is None else chosen["overlap"],  # once half
        "deep_cache": chosen["deep_cache"] if chosen["deep_cache"] > 1 else None,
        "attention": options.attention,
        "half": options.half or None,
        "lora": [sha256_of_file(lora_file(path)) for path in options.lora] or None,
        "lora_scale": options.lora_scale if options.lora else None,
        "scheduler": options.scheduler,
        "swap": options.swap,
        "temporal": None if options.temporal else False,
        "max_frames": options.max_frames,
        "size": options.size,
    }


def _write_video(
    out: Path, job: Job, frames: Iterable[NDArray[np.uint8]], pipeline: AnimatePipeline
) -> None:
    """PNGs, mp4 and strip of one video, of frames that are seen once."""
    moments = pick_moments(job.pose.num_frames)
    kept: list[NDArray[np.uint8]] = []
    for left in out.glob(f".{glob.escape(job.video_id)}.*.tmp"):  # by a run that was killed
        shutil.rmtree(left)
    temporary = out / f".{job.video_id}.{os.getpid()}.tmp"
    temporary.mkdir(parents=True)

    def written() -> Iterator[NDArray[np.uint8]]:
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(temporary / f"{i:04d}.png")
            if i in moments:
                kept.append(frame)
            yield frame

    content = encode_canonical(written(), job.fps)
    poses = pipeline.draw(job.pose.at_frames(moments), _size_hw(job))
    strip = draw_strip(job.reference, [poses, np.stack(kept), job.true_frames(moments)])
    (_sibling(out, "videos") / f"{job.video_id}.mp4").write_bytes(content)
    Image.fromarray(strip).save(_sibling(out, "strips") / f"{job.video_id}.png")
    temporary.rename(out / job.video_id)  # last: the folder says that the video is whole


def _size_hw(job: Job) -> tuple[int, int]:
    return job.reference.shape[0], job.reference.shape[1]


def _sibling(out: Path, kind: str) -> Path:
    folder = out.with_name(f"{out.name}-{kind}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
