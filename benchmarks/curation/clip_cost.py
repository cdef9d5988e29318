"""What a clip costs to curate without pose, compared with decoding it once, on real videos.

    python benchmarks/curation/clip_cost.py --videos FOLDER [--clips 100] [--frames 160]

Videos are cut, at their own size, into clips of `--frames` frames (shorter videos stay whole) until
there are `--clips`; this is not counted. Then, clip by clip in turn, in CPU seconds of this process
and of the decoders that it starts:

    decode        PyAV decodes the clip once, one thread, and does nothing with the frames
    decode, RGB   the same, and each frame is made RGB
    survey        ours: probe, hashes, one decode; shots, bars and every picture filter
    whole         the clip step, too: a second decode, near-duplicate signature and the canonical
                  encode (256 px, 30 fps); the clip's pose is given, as if it were known
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
from tqdm import tqdm

from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources.list_formats import VIDEO_SUFFIXES
from aa_curation.sources.source_list import Source
from aa_curation.steps.survey import survey
from aa_curation.steps.worker import Worker
from aa_datasets.pose import NUM_JOINTS, make_pose, write_pose
from aa_datasets.video.foreign import iter_foreign_frames, probe_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--recipe", type=Path, default=Path("curation/recipes/demo.py"))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    recipe = without_people(load_recipe(args.recipe))
    with tempfile.TemporaryDirectory(prefix="aa-cost-") as folder:
        sources = make_clips(args.videos, Path(folder), args.clips, args.frames)
        frames = sum(count_frames(source) for source in sources)  # starts the decoders' fork server
        ways: dict[str, Callable[[Source], None]] = {
            "decode": lambda source: decode(source, rgb=False),
            "decode, RGB": lambda source: decode(source, rgb=True),
            "survey": lambda source: check(survey(source, recipe).planned),
            "whole": lambda source: curate(source, worker),
        }
        worker = Worker(recipe, Path(folder))
        spent_s = dict.fromkeys(ways, 0.0)
        started = time.monotonic()
        for source in tqdm(sources, unit="clips", mininterval=10):
            for name, way in ways.items():
                before = cpu_s()
                way(source)
                spent_s[name] += cpu_s() - before
        wall_s = time.monotonic() - started
    print(f"{len(sources)} clips, {frames / len(sources):.0f} frames each, in {wall_s:.0f} s\n")
    print("| | CPU s a clip | of decoding |")
    print("|---|---|---|")
    for name, seconds in spent_s.items():
        print(f"| {name} | {seconds / len(sources):.2f} | {seconds / spent_s['decode']:.2f} |")
    print(f"\npeak memory of this process: {peak_mib():.0f} MiB")


def without_people(recipe: Recipe) -> Recipe:
    """Shots, picture filters and the form of the clip; whatever is filmed is kept."""
    lax = {"static": 1.0, "too_dark": 0.0, "too_bright": 255.0, "blurred": 0.0, "few_frames": 0}
    return dataclasses.replace(
        recipe, min_s=1e-6, video_filters=(), people_filters=(), pose_filters=(), text=None,
        text_filters=(), thresholds=lax,
    )  # fmt: skip


def make_clips(videos: Path, folder: Path, count: int, frames: int) -> list[Source]:
    paths = sorted(p for p in videos.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    # A round over the videos takes one part of each, so that a long one does not stand for all.
    rounds = itertools.zip_longest(*(make_parts(path, folder, frames) for path in paths))
    parts = (part for around in rounds for part in around if part is not None)
    some = itertools.islice(parts, count)
    return list(tqdm(some, "making the clips", count, unit="clips", mininterval=10))


def make_parts(path: Path, folder: Path, frames: int) -> Iterator[Source]:
    """A video's parts of `frames` frames as H.264, each with a pose without a person."""
    rate = Fraction(probe_video(path).fps).limit_denominator(1001)
    shown = iter_foreign_frames(path)
    for part in itertools.count():
        pixels = [frame.pixels for frame in itertools.islice(shown, frames)]
        if not pixels or (part and len(pixels) < frames):
            return
        height, width = (side // 2 * 2 for side in pixels[0].shape[:2])
        name = f"{path.stem.lower()}-{part}"
        clip = folder / f"{name}.mp4"
        with av.open(str(clip), "w") as container:
            options = {"crf": "20", "preset": "veryfast"}
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in pixels:
                picture = np.ascontiguousarray(frame[:height, :width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        nowhere = np.full((len(pixels), NUM_JOINTS, 2), np.nan, np.float32)
        pose = make_pose(nowhere, np.zeros(nowhere.shape[:2], np.float32), (height, width))
        write_pose(folder / f"{name}.pose.npz", pose)
        del pixels, frame, picture  # other videos wait in the same way
        yield Source(
            name, clip.name, "benchmark", "", False, "train", clip, folder / f"{name}.pose.npz"
        )


def count_frames(source: Source) -> int:
    return sum(1 for _ in iter_foreign_frames(source.path, max_side_px=32))


def decode(source: Source, *, rgb: bool) -> None:
    with av.open(str(source.path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for frame in container.decode(stream):
            if rgb:
                frame.to_ndarray(format="rgb24")


def curate(source: Source, worker: Worker) -> None:
    found = worker.survey(source)
    check(found.planned)
    for planned in found.planned:
        check(worker.curate(planned, source).status == "accepted")


def check(there: object) -> None:
    if not there:
        raise SystemExit("a clip was not curated: the figures would be too low")


def cpu_s() -> float:
    """Of this process, and of the decoders that its fork server has waited for."""
    total_s = time.process_time()
    for child in psutil.Process().children():
        times = child.cpu_times()
        total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def peak_mib() -> float:
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
