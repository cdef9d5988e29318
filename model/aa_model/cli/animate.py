"""aa-animate: one photo and one pose, or every clip of some shards."""

from __future__ import annotations

import argparse
import dataclasses
import glob
import hashlib
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Never

import numpy as np
from diffusers.utils import logging as diffusers_logging
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from aa_datasets.shards import find_shards
from aa_datasets.video.canonical import encode_canonical
from aa_model.checkpoints.store import read_info
from aa_model.cli import ui as ui_cli
from aa_model.cli.animate_parser import make_parser, refuse_options
from aa_model.cli.command_line import dtype_of, run_command
from aa_model.config import to_json
from aa_model.errors import ModelError
from aa_model.inference.animate_photo import Order, animate_one
from aa_model.inference.animate_shards import (
    Job,
    keep_settings,
    read_clips,
    read_jobs,
    swapped,
    video_ids,
)
from aa_model.inference.denoise import GenerateConfig
from aa_model.inference.pipeline import SCHEDULER_CONFIG, AnimatePipeline
from aa_model.inference.pose_detectors import find_detector
from aa_model.inference.visualize import draw_strip, pick_moments


def describe(args: argparse.Namespace, config: GenerateConfig) -> None:
    """Print what a run would make, of files that are there."""
    info = read_info(args.checkpoint)
    height, width = info.model.size_hw
    print(
        f"{args.checkpoint}: preset {info.model.preset}, {width}x{height}, {config.steps} steps, "
        f"guidance {config.guidance:g}"
    )
    if not args.shards:
        for path in (args.reference, args.pose):
            if not path.is_file():
                raise ModelError(f"no file {path}")
        print(f"{args.out}: {args.reference} moved by {args.pose}")
        return
    clips = read_clips(args.shards)
    names = video_ids(args.benchmark, clips)
    for clip in [clip for clip in clips if clip.clip_id in names][: args.max_videos]:
        video_id = names[clip.clip_id]
        count = min(clip.num_frames, args.max_frames or clip.num_frames)
        there = ", already there" if (args.out / video_id).is_dir() else ""
        print(f"{args.out / video_id}: {count} frames{there}")


def open_pipeline(args: argparse.Namespace) -> AnimatePipeline:
    pipeline = AnimatePipeline.from_pretrained(args.checkpoint, args.device, dtype_of(args))
    if args.scheduler:
        pipeline.use_scheduler(args.scheduler)
    return pipeline


def animate_file(args: argparse.Namespace, config: GenerateConfig) -> None:
    pipeline = open_pipeline(args)
    order = Order(
        args.reference,
        args.pose,
        reference_pose=args.reference_pose,
        align=not args.no_align,
        max_frames=args.max_frames,
        fps=args.fps,
    )
    with Bars() as bars:
        done = animate_one(
            pipeline,
            order,
            config,
            args.out,
            lambda: find_detector(args.pose_detector, args.checkpoint),
            lambda sentence: tqdm.write(f"aa-animate: {sentence}", file=sys.stderr),
            bars.show,
        )
    height, width = done.size_hw
    print(f"{done.video}: {done.num_frames} frames of {width}x{height}")
    if done.alignment:
        print(f"{done.alignment}: the skeleton before and after it was rescaled")


class Bars:
    """One progress bar after the other, a new one for each thing that is done."""

    def __init__(self) -> None:
        self._bar: tqdm[Never] | None = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *unused: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, what: str, done: int, total: int | None) -> None:
        if self._bar is None or self._bar.desc != f"{what}: ":
            self._close()
            self._bar = tqdm(total=total, desc=what)
        self._bar.update(done - self._bar.n)


def animate_shards(args: argparse.Namespace, config: GenerateConfig) -> None:
    """Write OUT/<id>/0000.png..., and beside OUT the same as mp4 and as strips; resumable."""
    names = video_ids(args.benchmark, read_clips(args.shards))
    pipeline = open_pipeline(args)
    jobs = read_jobs(args.shards, pipeline.size_hw, max_frames=args.max_frames, names=names)
    keep_settings(args.out.with_name(f"{args.out.name}-settings.json"), _settings(args, config))
    for job in swapped(itertools.islice(jobs, args.max_videos), args.swap):
        if (args.out / job.video_id).is_dir():
            print(f"{job.video_id}: already there")
            continue
        started = time.monotonic()
        with tqdm(total=config.steps, desc=job.video_id, unit="step", leave=False) as bar:
            frames = pipeline.stream(
                job.reference, job.pose, config, on_step=lambda done, latents: bar.update()
            )
            _write_video(args.out, job, frames, pipeline)
        spent_s = time.monotonic() - started
        print(f"{job.video_id}: {job.pose.num_frames} frames in {spent_s:.1f} s")


def _settings(args: argparse.Namespace, config: GenerateConfig) -> dict[str, object]:
    """All that decides a video's content; not how many are made, nor where."""
    info = read_info(args.checkpoint)
    network = [part.sha256 for part in info.parts.values()]
    network += [json.dumps(to_json(info.model), sort_keys=True)]  # the noise schedule is in it
    if (scheduler := args.checkpoint / SCHEDULER_CONFIG).is_file():
        network += [scheduler.read_text()]
    digest = hashlib.sha256("\n".join(network).encode()).hexdigest()
    chosen = dataclasses.asdict(config)
    for batch in ("window_batch", "decode_batch"):
        del chosen[batch]
    return {
        "checkpoint": digest[:16],
        **chosen,
        "half": args.half or None,  # as in settings that were kept before there was this option
        "scheduler": args.scheduler,
        "swap": args.swap,
        "max_frames": args.max_frames,
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
    poses = pipeline.draw(job.pose.at_frames(moments))
    strip = draw_strip(job.reference, [poses, np.stack(kept), job.true_frames(moments)])
    (_beside(out, "videos") / f"{job.video_id}.mp4").write_bytes(content)
    Image.fromarray(strip).save(_beside(out, "strips") / f"{job.video_id}.png")
    temporary.rename(out / job.video_id)  # last: the folder says that the video is whole


def _beside(out: Path, kind: str) -> Path:
    folder = out.with_name(f"{out.name}-{kind}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(args: argparse.Namespace) -> None:
    config = GenerateConfig(
        steps=args.steps,
        guidance=args.guidance,
        guidance_interval=tuple(args.guidance_interval),
        window=args.window,
        overlap=args.overlap,
        merge=args.merge,
        autocast=args.autocast,
        seed=args.seed,
    )
    if args.shards and (args.reference or args.pose):
        raise ModelError("give --shards, or --reference and --pose, not both")
    if args.benchmark and not args.shards:
        raise ModelError(f"--benchmark {args.benchmark} needs --shards with its test videos")
    refuse_options(args)
    args.shards = args.shards and find_shards(args.shards)
    if args.dry_run and (args.shards or (args.reference and args.pose)):
        describe(args, config)
    elif args.shards:
        animate_shards(args, config)
    elif args.reference and args.pose:
        animate_file(args, config)
    else:
        raise ModelError("give --reference PICTURE and --pose NPZ_OR_VIDEO, or --shards SHARD...")


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["ui"]:
        return ui_cli.main(argv[1:])
    args = make_parser().parse_args(argv)
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    return run_command(
        "aa-animate",
        lambda: run(args),
        when_stopped="with --shards, finished videos are kept and the same command goes on",
    )


if __name__ == "__main__":
    sys.exit(main())
