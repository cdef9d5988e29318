"""The driver's work for up to a million clips: seconds and memory of each step, without a video.

    python benchmarks/curation/scale.py OUT [--clips 10000 100000 1000000]

Each number of clips is a corpus of its own, made in a process of its own: three clips a source, of
which two are accepted; 20 checks a clip; signatures drawn at random, of which one in a hundred is a
copy of another's with bits flipped and colours changed; two splits, held apart by uploader. Only
rows are made: pack is measured as far as the plan, the hash of each shard's rows and clips.csv.
Prints CPU seconds, microseconds a clip and the peak of memory after each step.
"""

from __future__ import annotations

import argparse
import csv
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from aa_curation.check import Check, Drop
from aa_curation.corpus.exact_duplicates import reject_duplicates
from aa_curation.corpus.near_duplicates import separate
from aa_curation.corpus.pending import clips_to_curate
from aa_curation.corpus.write_shards import iter_manifest, shard_plan
from aa_curation.ledger.ledger import Ledger, LedgerWriter, read_ledger
from aa_curation.ledger.records import CorpusHead, Decision, PlannedClip, Survey, rejected
from aa_curation.measure.distance import NearDuplicates
from aa_curation.measure.signature import SIGNATURE_BYTES
from aa_curation.report.text import format_licences
from aa_curation.sources.source_list import read_sources
from aa_datasets.clip import Clip

CLIPS_A_SOURCE = 3
COPIED = 100  # one clip in so many is a copy
CHECKS = [f"check_{number:02d}" for number in range(20)]
BOUNDS = NearDuplicates()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--alone", action="store_true", help="in this process: one number only")
    args = parser.parse_args()
    if args.alone:
        measure(args.out, args.clips[0])
        return
    for clips in args.clips:
        folder = args.out / str(clips)
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, __file__, str(folder), "--alone", "--clips", str(clips)]
        subprocess.run(command, check=True)


class Meter:
    """Prints what each step took."""

    def __init__(self, clips: int) -> None:
        self.clips, self.total_s = clips, 0.0
        print(f"\n| {clips:,} clips | CPU s | us a clip | s | peak MiB |")
        print("|---|---|---|---|---|", flush=True)

    @contextmanager
    def step(self, name: str, *, answer: bool = False) -> Iterator[None]:
        """A step of a run; or, if `answer`, of a question that is asked later."""
        cpu, wall = time.process_time(), time.monotonic()
        yield
        cpu = time.process_time() - cpu
        self.total_s += 0.0 if answer else cpu
        self._line(name, cpu, time.monotonic() - wall)

    def _line(self, name: str, cpu: float, wall: float) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        a_clip = 1e6 * cpu / self.clips
        print(f"| {name} | {cpu:.2f} | {a_clip:.1f} | {wall:.0f} | {peak:.0f} |", flush=True)


def measure(folder: Path, clips: int) -> None:
    folder.mkdir(parents=True)
    sources_csv = write_list(folder / "sources.csv", clips)
    meter = Meter(clips)
    with meter.step("list read"):
        sources = read_sources([sources_csv], tell=lambda note: None)
    head = CorpusHead("scale", "0" * 64, 256, {"bits": 18.0, "colour": 9.0, "limbs": 0.25,
                                               "poses_at_most": 0.6})  # fmt: skip
    draw = Drawn(clips)
    with LedgerWriter(folder, head) as writer:
        ledger = writer.ledger
        with meter.step("surveys added"):
            for number, source in enumerate(sources):
                writer.add_survey(draw.survey(number, source.source_id, source.row_sha256))
        with meter.step("exact duplicates"):
            for row in reject_duplicates(ledger, sources):
                writer.add_decision(row)
        with meter.step("clips to curate"):
            todo = len(clips_to_curate(ledger, sources))
        with meter.step("decisions added"):
            for number, source in enumerate(sources):
                for row in () if is_copy(number) else draw.decisions(number, source.source_id):
                    writer.add_decision(row)
        del sources
        with meter.step("near duplicates and splits"):
            rows = separate(ledger, BOUNDS)
            for row in rows:
                writer.add_decision(row)
        found = sum(row.reason == "near_duplicate" for row in rows)
        with meter.step("shards planned"):
            plan = shard_plan(ledger)
            ledger.add_shards(plan)
            writer.commit()
        with meter.step("clips.csv"), (folder / "clips.csv").open("w") as file:
            file.writelines(iter_manifest(ledger, plan))
        ledger.assert_complete()
    meter._line("a run", meter.total_s, 0)
    ledger.close()
    with meter.step("status", answer=True):
        str(read_ledger(folder))
    with meter.step("why, of 100 clips", answer=True):
        ledger = read_ledger(folder)
        for number in range(100):
            ledger.find(f"source_{number * clips // 300:08d}-0001")
    with meter.step("report: licences", answer=True):
        format_licences(read_ledger(folder))
    with LedgerWriter.reopen(folder) as writer:
        with meter.step("redecide: thresholds", answer=True):
            before = writer.ledger.num_of("accepted")
            writer.ledger.add_thresholds({CHECKS[7]: 0.02})
        with meter.step("redecide: duplicates and splits", answer=True):
            for row in separate(writer.ledger, BOUNDS):
                writer.add_decision(row)
        with meter.step("redecide: shards planned", answer=True):
            moved = shard_plan(writer.ledger)
        after = writer.ledger.num_of("accepted")
    changed = sum(moved.get(name) != clip_ids for name, clip_ids in plan.items())
    size = (folder / "ledger.sqlite").stat().st_size / clips
    print(
        f"\n{todo:,} clips to curate; {found} of {draw.planted} planted copies found; {len(plan)} "
        f"shards; redecided: {before:,} accepted -> {after:,}, {changed} shards changed; "
        f"{size:.0f} bytes of ledger a clip",
        flush=True,
    )
    added = added_shards(folder, clips)
    print(f"1 % more clips: {added}", flush=True)


def added_shards(folder: Path, clips: int) -> str:
    """What one percent more clips does to the shards."""
    ledger = read_ledger(folder)
    before = shard_plan(ledger)
    copy = Ledger(ledger.head)
    copy.add_shards(before)
    for clip_ids in before.values():
        for row in ledger.decisions.of(clip_ids[:1]):
            copy.add_decision(row)
    known = shard_plan(copy)
    for number in range(clips // 100):
        assert row.clip is not None
        name = f"new_{number:08d}-0000"
        copy.add_decision(replace(row, clip_id=name, clip=replace(row.clip, clip_id=name)))
    after = shard_plan(copy)
    rewritten = sum(after.get(name) != clip_ids for name, clip_ids in known.items())
    return f"{rewritten} of {len(before)} shards rewritten, {len(after) - len(known)} added"


def write_list(path: Path, clips: int) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source_id", "location", "licence", "owner", "split", "uploader"])
        for number in range(clips // CLIPS_A_SOURCE):
            url = f"https://videos.example.org/{number:08d}.mp4"
            split = "test" if number % 100 == 0 else "train"
            row = [f"source_{number:08d}", url, "CC-BY-4.0", f"owner {number % 50}", split]
            writer.writerow([*row, f"u{number % 997}"])
    return path


class Drawn:
    """Rows as a run would give them."""

    def __init__(self, clips: int) -> None:
        self._rng = np.random.default_rng(0)
        self._first, self._first_of = b"", -1
        self.planted = 0

    def survey(self, number: int, source_id: str, row_sha256: str) -> Survey:
        measured = self._rng.random((CLIPS_A_SOURCE, 10)).round(4)
        planned = tuple(
            PlannedClip(f"{source_id}-{clip:04d}", source_id, 5.0 * clip, 5.0 * clip + 5, 24.0,
                        (720, 1280), checks(CHECKS[:10], measured[clip]))
            for clip in range(CLIPS_A_SOURCE)
        )  # fmt: skip
        # Of every third clip the picture filters say no.
        drop = Drop("static", 0.9, 0.5)
        out = rejected(planned[2].clip_id, source_id, "survey", drop, planned[2].checks)
        sha = f"{number - is_copy(number):064x}"
        return Survey(source_id, sha, "", 1, 2, planned, (out,), row_sha256)

    def decisions(self, number: int, source_id: str) -> Iterator[Decision]:
        for clip in range(CLIPS_A_SOURCE - 1):
            name = f"{source_id}-{clip:04d}"
            split = "test" if number % 100 == 0 else "train"
            made = Clip(name, source_id, f"https://videos.example.org/{number:08d}.mp4",
                        "CC-BY-4.0", 5.0 * clip, 5.0 * clip + 5, 24.0, (768, 1365), 120, False,
                        "dwpose", split)  # fmt: skip
            measured = self._rng.random(20).round(4)
            yield Decision(
                name, source_id, "accepted", "clip", checks=checks(CHECKS, measured), seconds=12.3,
                clip=made, owner=f"owner {number % 50}",
                # Held-out people upload nothing for training.
                uploader=f"u{number % 997}" if split == "train" else f"t{number % 89}",
                signature=self._signature(number, clip).hex(),
                mp4_sha256=f"{number:063x}{clip}", pose_sha256=f"{number:062x}a{clip}",
            )  # fmt: skip

    def _signature(self, number: int, clip: int) -> bytes:
        waiting = self._first and self._first_of != number
        if clip == 1 and waiting and self._rng.random() < 2 / COPIED:
            self.planted += 1
            content = np.frombuffer(self._first, np.uint8).copy()
            flips = self._rng.random((8, 64)) < self._rng.uniform(1, 7) / 64
            content[:64] ^= np.packbits(flips)
            content[64:96] += self._rng.integers(0, 3, 32).astype(np.uint8)
            self._first = b""
            return content.tobytes()
        content = np.frombuffer(self._rng.bytes(SIGNATURE_BYTES), np.uint8).copy()
        content[64:96] = self._rng.integers(60, 110, 32)
        if clip == 0 and self._rng.random() < 0.05:
            self._first, self._first_of = content.tobytes(), number  # the next copy is of this
        return content.tobytes()


def is_copy(number: int) -> bool:
    """One source in a thousand is the file of the one before it."""
    return number % 1000 == 999


def checks(reasons: list[str], measured: np.ndarray) -> tuple[Check, ...]:
    return tuple(Check(r, float(m), 0.0, low=True) for r, m in zip(reasons, measured, strict=True))


if __name__ == "__main__":
    main()
