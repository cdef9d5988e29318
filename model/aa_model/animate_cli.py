"""aa-animate: one photo and one pose, or every clip of some shards."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.utils import logging as diffusers_logging
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from aa_datasets.canonical_video import encode_canonical, read_canonical
from aa_datasets.draw_pose import draw_pose
from aa_datasets.errors import DatasetError
from aa_datasets.frames import resize_frames, resize_pose
from aa_datasets.pose import Pose, read_pose
from aa_datasets.shards import read_shards
from aa_model.errors import ModelError
from aa_model.generate import GenerateConfig
from aa_model.pipeline import AnimatePipeline
from aa_model.show_video import draw_strip


@dataclass(frozen=True, slots=True)
class Job:
    """One video to make: `frames` are the true ones, whose first is the reference.

    Attributes:
        reference: uint8 [H, W, 3].
        frames: uint8 [T, H, W, 3].
    """

    video_id: str
    reference: NDArray[np.uint8]
    pose: Pose
    frames: NDArray[np.uint8]
    fps: float


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aa-animate",
        description="Animate a photo by a pose sequence, or every clip of some shards from its "
        "first frame and its own poses.",
    )
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--out", required=True, type=Path, help="an .mp4, or with --shards a predictions folder"
    )
    one = parser.add_argument_group("one video")
    one.add_argument("--reference", type=Path, metavar="PICTURE")
    one.add_argument("--pose", type=Path, metavar="NPZ", help="driving poses")
    one.add_argument("--reference-pose", type=Path, metavar="NPZ", help="pose in the reference: "
                     "the driving skeleton is rescaled to its proportions")  # fmt: skip
    one.add_argument("--no-align", action="store_true", help="do not rescale the skeleton")
    one.add_argument("--fps", type=float, default=24.0, help="of the .mp4 (default 24)")
    many = parser.add_argument_group("every clip of some shards")
    many.add_argument("--shards", nargs="+", type=Path, default=[], metavar="SHARD")
    many.add_argument("--swap", choices=["reference", "pose"],
                      help="probe: take the reference, or the pose, of the next clip")  # fmt: skip
    many.add_argument("--max-videos", type=int, metavar="N")
    parser.add_argument("--max-frames", type=int, metavar="N", help="of each video")
    parser.add_argument("--steps", type=int, default=20, help="of DDIM (default 20)")
    parser.add_argument("--guidance", type=float, default=2.0, help="1 is off (default 2)")
    parser.add_argument("--window", type=int, metavar="N", help="frames seen at once")
    parser.add_argument("--merge", choices=["edge", "mean"], default="edge",
                        help="how windows become a long video (default edge)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--autocast", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def animate_one(args: argparse.Namespace, config: GenerateConfig) -> None:
    pose = read_pose(args.pose)
    if args.max_frames:
        pose = pose.at_frames(np.arange(min(args.max_frames, pose.num_frames)))
    reference_pose = None
    if args.reference_pose and not args.no_align:
        reference_pose = read_pose(args.reference_pose)
    elif not args.no_align:
        print("aa-animate: no --reference-pose: the skeleton is not rescaled", file=sys.stderr)
    try:
        with Image.open(args.reference) as picture:
            picture.load()
    except (UnidentifiedImageError, OSError) as error:
        raise ModelError(f"{args.reference} cannot be read as a picture: {error}") from error
    pipeline = AnimatePipeline.from_pretrained(args.checkpoint, args.device)
    with tqdm(total=config.steps, desc="denoising", unit="step") as bar:
        frames = pipeline(
            picture,
            pose,
            config,
            reference_pose=reference_pose,
            on_step=lambda done, latents: bar.update(),
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(encode_canonical(frames, args.fps))
    print(f"{args.out}: {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]}")


def animate_shards(args: argparse.Namespace, config: GenerateConfig) -> None:
    """Write OUT/<id>/0000.png..., and beside OUT the same as mp4 and as strips; resumable."""
    pipeline = AnimatePipeline.from_pretrained(args.checkpoint, args.device)
    jobs = _swapped(_jobs(args, pipeline.size_hw), args.swap)
    for job in jobs:
        folder = args.out / job.video_id
        if folder.is_dir():
            print(f"{job.video_id}: already there")
            continue
        started = time.monotonic()
        with tqdm(total=config.steps, desc=job.video_id, unit="step", leave=False) as bar:
            frames = pipeline(
                job.reference, job.pose, config, on_step=lambda done, latents: bar.update()
            )
        pose_pictures = draw_pose(job.pose, pipeline.size_hw)
        strip = draw_strip(job.reference, [pose_pictures, frames, job.frames])
        videos, strips = (_beside(args.out, kind) for kind in ("videos", "strips"))
        (videos / f"{job.video_id}.mp4").write_bytes(encode_canonical(frames, job.fps))
        Image.fromarray(strip).save(strips / f"{job.video_id}.png")
        write_frames(folder, frames)
        print(f"{job.video_id}: {len(frames)} frames in {time.monotonic() - started:.1f} s")


def write_frames(folder: Path, frames: NDArray[np.uint8]) -> None:
    """Write 0000.png, 0001.png, ...; the folder appears only when all are there."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(temporary / f"{i:04d}.png")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _jobs(args: argparse.Namespace, size_hw: tuple[int, int]) -> list[Job]:
    jobs = []
    for sample in read_shards(args.shards):
        count = min(sample.clip.num_frames, args.max_frames or sample.clip.num_frames)
        indices = np.arange(count)
        frames = resize_frames(read_canonical(sample.mp4, indices), size_hw)
        pose = resize_pose(sample.pose.at_frames(indices), size_hw)
        jobs.append(Job(sample.clip.clip_id, frames[0], pose, frames, sample.clip.fps))
        if len(jobs) == args.max_videos:
            break
    if not jobs:
        raise ModelError("the shards hold no clip: there is nothing to animate")
    return jobs


def _swapped(jobs: Sequence[Job], swap: str | None) -> Iterator[Job]:
    if swap and len(jobs) < 2:
        raise ModelError("--swap needs two clips or more")
    for job, other in zip(jobs, [*jobs[1:], jobs[0]], strict=True):
        reference = other.reference if swap == "reference" else job.reference
        pose, frames = job.pose, job.frames
        if swap == "pose":
            T = min(pose.num_frames, other.pose.num_frames)
            pose, frames = other.pose.at_frames(np.arange(T)), frames[:T]
        yield Job(job.video_id, reference, pose, frames, job.fps)


def _beside(out: Path, kind: str) -> Path:
    folder = out.with_name(f"{out.name}-{kind}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(args: argparse.Namespace) -> None:
    config = GenerateConfig(
        steps=args.steps,
        guidance=args.guidance,
        window=args.window,
        merge=args.merge,
        autocast=args.autocast,
        seed=args.seed,
    )
    if args.shards and (args.reference or args.pose):
        raise ModelError("give --shards, or --reference and --pose, not both")
    if args.shards:
        animate_shards(args, config)
    elif args.reference and args.pose:
        animate_one(args, config)
    else:
        raise ModelError("give --reference PICTURE and --pose NPZ, or --shards SHARD...")


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    diffusers_logging.set_verbosity_error()  # it warns of an empty list of float32 modules
    try:
        run(args)
    except (ModelError, DatasetError, OSError) as error:
        print(f"aa-animate: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
