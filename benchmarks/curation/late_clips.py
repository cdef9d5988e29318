"""What a clip far into a file without an index costs to read: from the start, and behind a jump.

    python benchmarks/curation/late_clips.py [--minutes 12] [--at-s 700] [--repeats 3]

One video (640 x 360, 25 fps, key frames 4 s apart at most) is written as a transport stream, an AVI
and an MPEG program. From each, two seconds at `--at-s` are read, in turns: from the start, as where
no list of packets can be made; with the list still to be made; and with the list, as every further
clip of the file is read. Then the whole file is surveyed, by one decode and in four segments at a
time. Counted is CPU time of this process and of its decoders, the least of all repeats (of a survey
there is one), and frames and measurements are compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import psutil
from tqdm import tqdm

from aa_curation.measure.frame_stats import Picture, PictureMeter
from aa_curation.measure.segments import picture_in_segments
from aa_datasets.video import foreign
from aa_datasets.video.foreign import (
    DecodeLimits,
    iter_foreign_frames,
    iter_survey_frames,
    probe_video,
)

FILES = {"long.ts": "libx264", "long.avi": "mpeg4", "long.mpg": "mpeg2video"}
SIZE_HW = (360, 640)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--at-s", type=float, default=700)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    columns = ("file", "from the start", "first clip, with the list", "every further clip",
               "survey, one decode", "in four segments")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory(prefix="aa-late-") as folder:
        for name, codec in FILES.items():
            path = Path(folder, name)
            write(path, codec, round(25 * 60 * args.minutes))
            print(row(path, args.at_s, args.repeats), flush=True)
            path.unlink()


def write(path: Path, codec: str, num_frames: int) -> None:
    """A picture that slides, with blocks that flicker on it."""
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 256, (45, 160, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"b": "1500k"})
        stream.height, stream.width, stream.pix_fmt = *SIZE_HW, "yuv420p"
        stream.gop_size, stream.max_b_frames = 100, 2
        if codec == "libx264":
            stream.options = {"preset": "veryfast"}
        for number in tqdm(range(num_frames), desc=path.name, leave=False):
            picture = np.roll(scene, -2 * number, axis=1)[:, : SIZE_HW[1]].copy()
            picture[100:140, 300:340] = rng.integers(0, 256, 3, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def row(path: Path, at_s: float, repeats: int) -> str:
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns)
    ways: dict[str, Callable[[], object]] = {
        "start": lambda: foreign._indices.update({key: None}),
        "list": foreign._indices.clear,
        "again": lambda: None,
    }
    spent_s = dict.fromkeys(ways, float("inf"))
    frames: dict[str, list[np.ndarray]] = {}
    list(iter_foreign_frames(path, end_s=0.1))  # starts the decoders' fork server
    for _ in range(repeats):
        for name, prepare in ways.items():
            prepare()
            before_s = cpu_s()
            span = iter_foreign_frames(path, start_s=at_s, end_s=at_s + 2)
            frames[name] = [frame.pixels for frame in span]
            spent_s[name] = min(spent_s[name], cpu_s() - before_s)
    assert len(frames["start"]) == 50
    for name in ("list", "again"):
        assert np.array_equal(frames["start"], frames[name]), "other frames behind a jump"
    at_once, one_s = timed(lambda: measure(path))
    limits = DecodeLimits()
    in_four, four_s = timed(lambda: picture_in_segments(path, probe_video(path), 4, limits))
    for field in dataclasses.fields(Picture):
        assert np.array_equal(getattr(in_four, field.name), getattr(at_once, field.name))
    cells = " | ".join(f"{seconds:.2f} CPU s" for seconds in (*spent_s.values(), one_s, four_s))
    return f"| {path.name} | {cells} |"


def measure(path: Path) -> Picture:
    meter = PictureMeter()
    for frame in iter_survey_frames(path):
        meter.see(frame.planes, frame.time_s)
    return meter.picture()


def timed(way: Callable[[], Picture | None]) -> tuple[Picture | None, float]:
    before_s = cpu_s()
    return way(), cpu_s() - before_s


def cpu_s() -> float:
    """Of this process and of the decoders, which their fork server has waited for."""
    total_s = 0.0
    for process in (psutil.Process(), *psutil.Process().children()):
        times = process.cpu_times()
        total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


if __name__ == "__main__":
    main()
