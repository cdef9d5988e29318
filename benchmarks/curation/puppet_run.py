"""Curation of N clips on this machine: time, CPU, memory, and whether planted duplicates are found.

    python benchmarks/curation/puppet_run.py make OUT [--puppets 5000] [--planted 50]
    python benchmarks/curation/puppet_run.py run OUT [--clips 500 5000]

`make` renders puppets of 2 s at 256 px with their exact poses, so that no pose is estimated, and
plants copies of some of them: the same file, the same packets in another container, a smaller
picture, darker, trimmed by two frames. `run` curates the first N of the puppets, all the copies of
these, and the demo's real clips (whose poses are estimated), with `aa-curate run
curation/recipes/demo.py` as a command, in a corpus of its own for each N. CPU time and memory are
those of the whole tree of processes; what Ray takes to start and stop is measured by a run over a
single puppet, and subtracted from the CPU time a clip. Making the sources is not counted.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from process_tree import Peak, ProcessTreeMeter
from tqdm import tqdm

from aa_curation.ledger.file import read_ledger
from aa_datasets.pose import Pose, read_pose, write_pose
from aa_datasets.video.canonical import encode_canonical, read_canonical

RECIPE = Path("curation/recipes/demo.py")
REAL = Path("curation/recipes/demo_sources.csv")
COLUMNS = ("source_id", "location", "licence", "owner", "synthetic", "split", "pose_file")
_FPS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make")
    make.add_argument("out", type=Path)
    make.add_argument("--puppets", type=int, default=5000)
    make.add_argument("--planted", type=int, default=50)
    run = commands.add_parser("run")
    run.add_argument("out", type=Path)
    run.add_argument("--clips", type=int, nargs="+", default=[500, 5000])
    args = parser.parse_args()
    if args.command == "make":
        make_sources(args.out, args.puppets, args.planted)
    else:
        report(args.out, args.clips)


def make_sources(out: Path, puppets: int, planted: int) -> None:
    subprocess.run(
        ["aa-datasets", "puppets", "--out", out, "--count", str(puppets), "--first-seed", "0",
         "--frames", str(2 * _FPS), "--fps", str(_FPS)],
        check=True,
    )  # fmt: skip
    rows = []
    # Spread over the first tenth of the puppets, so that the smaller run has them all.
    for number in tqdm(range(planted), desc="copies", unit="clips", mininterval=10):
        kind = list(COPIES)[number % len(COPIES)]
        original = f"puppet_{number * puppets // 10 // planted:07d}"
        name = f"copy-{number:04d}-{kind}"
        location = COPIES[kind](out, original, name)
        rows.append([name, location, "CC0-1.0", "a planted copy", "true", "train",
                     f"{name}.pose.npz"])  # fmt: skip
    with (out / "copies.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "original"])
        for number, row in enumerate(rows):
            writer.writerow([*row, f"puppet_{number * puppets // 10 // planted:07d}"])


def same_file(out: Path, original: str, name: str) -> str:
    shutil.copy(out / f"{original}.pose.npz", out / f"{name}.pose.npz")
    return shutil.copy(out / f"{original}.mp4", out / f"{name}.mp4").name


def other_container(out: Path, original: str, name: str) -> str:
    shutil.copy(out / f"{original}.pose.npz", out / f"{name}.pose.npz")
    source, container = (
        av.open(str(out / f"{original}.mp4")),
        av.open(str(out / f"{name}.mov"), "w"),
    )
    with source, container:
        template = source.streams.video[0]
        stream = container.add_stream_from_template(template)
        for packet in source.demux(template):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return f"{name}.mov"


def smaller(out: Path, original: str, name: str) -> str:
    frames, pose = _read(out, original)
    size_hw = 240, 240  # the least that the recipe takes
    small = [cv2.resize(f, size_hw, interpolation=cv2.INTER_AREA) for f in frames]
    return _write(out, name, np.stack(small), pose.resized(size_hw), crf=30)


def darker(out: Path, original: str, name: str) -> str:
    frames, pose = _read(out, original)
    return _write(out, name, (frames * 0.7 + 10).astype(np.uint8), pose, crf=24)


def trimmed(out: Path, original: str, name: str) -> str:
    frames, pose = _read(out, original)
    kept = np.arange(2, len(frames))
    return _write(out, name, frames[kept], pose.at_frames(kept), crf=20)


COPIES = {
    "same-file": same_file,
    "other-container": other_container,
    "smaller": smaller,
    "darker": darker,
    "trimmed": trimmed,
}


def _read(out: Path, name: str) -> tuple[np.ndarray, Pose]:
    return read_canonical(out / f"{name}.mp4"), read_pose(out / f"{name}.pose.npz")


def _write(out: Path, name: str, frames: np.ndarray, pose: Pose, crf: int) -> str:
    (out / f"{name}.mp4").write_bytes(encode_canonical(frames, _FPS, crf=crf))
    write_pose(out / f"{name}.pose.npz", pose)
    return f"{name}.mp4"


@dataclass(frozen=True)
class Outcome:
    """Of one run: seconds, CPU seconds by role, clips planned, and what became of the copies."""

    wall_s: float
    cpu_s: float
    roles: dict[str, Peak]
    planned: int
    reasons: Counter[str]
    copies: int
    copies_found: int
    wrongly_near: int


def report(out: Path, counts: list[int]) -> None:
    start = curate(out, 1, real=False)
    outcomes = {count: curate(out, count, real=True) for count in counts}
    print(f"Ray's start and end: {start.wall_s:.0f} s, {start.cpu_s:.1f} CPU s\n")
    print("| puppets | clips planned | minutes | CPU s a clip | driver MiB | a worker MiB | object "
          "store MiB | copies found | others taken for copies |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for count, found in outcomes.items():
        each_s = (found.cpu_s - start.cpu_s) / found.planned
        driver, workers, raylet = (found.roles[r] for r in ("driver", "workers", "raylet"))
        print(
            f"| {count} | {found.planned} | {found.wall_s / 60:.1f} | {each_s:.3f} | "
            f"{driver.own_mib:.0f} | {workers.own_mib:.0f} | {raylet.shared_mib:.0f} | "
            f"{found.copies_found} of {found.copies} | {found.wrongly_near} |"
        )
    for count, found in outcomes.items():
        print(f"\n{count}: {dict(found.reasons)}")
        print({role: round(peak.cpu_s, 1) for role, peak in found.roles.items()})


def curate(out: Path, puppets: int, *, real: bool) -> Outcome:
    """`aa-curate run` over the first `puppets` puppets and, with `real`, copies and real clips."""
    with (out / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:puppets]
    with (out / "copies.csv").open(newline="") as file:
        names = {row["source_id"] for row in rows}
        copies = [row for row in csv.DictReader(file) if real and row["original"] in names]
    with tempfile.TemporaryDirectory(prefix="aa-scale-", dir=out) as folder:
        listed = out / f"sources-{puppets}.csv"  # next to the videos that it names
        with listed.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows([*rows, *copies])
        command = ["aa-curate", "run", str(RECIPE), "--sources", str(listed), "--out", folder]
        command += ["--sources", str(REAL)] if real else []
        started = time.monotonic()
        process = subprocess.Popen(command)
        with ProcessTreeMeter(process.pid) as meter:
            process.wait()
        wall_s = time.monotonic() - started
        if process.returncode:
            raise SystemExit(process.returncode)
        ledger = read_ledger(Path(folder))
    reason_of = {row.source_id: row.reason for row in ledger.decisions.values()}
    doubles = ("duplicate", "near_duplicate")
    pairs = [(row["source_id"], row["original"]) for row in copies]
    in_pairs = {name for pair in pairs for name in pair}
    return Outcome(
        wall_s,
        meter.cpu_s,
        meter.roles,
        len(ledger.planned_ids),
        Counter(row.reason or row.status for row in ledger.decisions.values()),
        len(pairs),
        sum(sum(reason_of[name] in doubles for name in pair) == 1 for pair in pairs),
        sum(reason in doubles for name, reason in reason_of.items() if name not in in_pairs),
    )


if __name__ == "__main__":
    main()
