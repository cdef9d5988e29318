"""The driver's work for up to a million clips: seconds and memory of each step, without a video.

    python benchmarks/curation/scale.py OUT [--clips 10000 100000 1000000]

Each number of clips is a corpus of its own, made in a process of its own by the stream of a real
run whose workers draw rows instead of decoding: three clips a source, of which two are accepted; 20
checks a clip; signatures drawn at random, of which one in a hundred is a copy of another's with
bits flipped and colours changed; two splits, held apart by uploader. Shards are planned, not
written.
Prints CPU seconds, microseconds a clip and the peak of memory after each step; what the drawing
costs is left out.
"""

from __future__ import annotations

import argparse
import csv
import functools
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from aa_curation.check import Check, Drop
from aa_curation.corpus.near_duplicates import separate
from aa_curation.corpus.write_shards import iter_manifest, new_shards, shard_plan
from aa_curation.crawl.store import Store
from aa_curation.executors import stream
from aa_curation.ledger.file import LedgerWriter, read_ledger
from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision, PlannedClip, Survey, rejected
from aa_curation.measure.distance import NearDuplicates
from aa_curation.measure.signature import SIGNATURE_BYTES
from aa_curation.recipe import load_recipe
from aa_curation.report.html_page import render_report
from aa_curation.report.text import format_licences, write_csv
from aa_curation.sources.source_list import Source, read_sources
from aa_datasets.clip import Clip

CLIPS_A_SOURCE = 3
COPIED = 100  # one clip in so many is a copy
CHECKS = [f"check_{number:02d}" for number in range(20)]
BOUNDS = NearDuplicates()
AT_WORK = 64  # tasks
DRAWN = "rows drawn"
PARTS = {
    "what is to be done": "is_surveyed",
    "clips to curate": "clips_to_curate",
    "exact duplicates": "reject_duplicates",
    "near duplicates and splits": "separate",
    "shards planned": "new_shards",
}


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
    """Adds up what each step takes, and prints it."""

    def __init__(self, clips: int) -> None:
        self.clips, self.total_s = clips, 0.0
        self.parts: Counter[str] = Counter()
        print(f"\n| {clips:,} clips | CPU s | us a clip | peak MiB |")
        print("|---|---|---|---|", flush=True)

    @contextmanager
    def step(self, name: str, *, answer: bool = False) -> Iterator[None]:
        """A step of a run; or, if `answer`, of a question that is asked later."""
        cpu, drawn = time.process_time(), self.parts[DRAWN]
        yield
        cpu = time.process_time() - cpu - (self.parts[DRAWN] - drawn)
        self.total_s += 0.0 if answer else cpu
        self.line(name, cpu)

    def part(self, name: str, owner: object, function: str) -> None:
        """Time a function that a step calls, as a part of it."""
        inner = getattr(owner, function)

        @functools.wraps(inner)
        def timed(*args: Any, **options: Any) -> Any:
            cpu = time.process_time()
            try:
                return inner(*args, **options)
            finally:
                self.parts[name] += time.process_time() - cpu

        setattr(owner, function, timed)

    def line(self, name: str, cpu: float) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        a_clip = 1e6 * cpu / self.clips
        print(f"| {name} | {cpu:.2f} | {a_clip:.1f} | {peak:.0f} |", flush=True)


class DrawingWorkers:
    """An executor and its workers, which know what any source holds."""

    def __init__(self, draw: Drawn, meter: Meter) -> None:
        self._draw, self._meter = draw, meter
        self._tasks: list[tuple[str, tuple[Any, ...]]] = []
        self.todo, self.first_pack_after, self._surveyed = 0, 0, 0

    @contextmanager
    def start(self, recipe: object, clips_folder: Path, sources: object) -> Iterator[Any]:
        yield self

    def room(self) -> bool:
        return len(self._tasks) < AT_WORK

    def busy(self) -> bool:
        return bool(self._tasks)

    def fetchers(self, store: Store) -> None:
        return None

    def submit(self, step: str, task: tuple[Any, ...]) -> None:
        self._tasks.append((step, task))

    def finished(self, timeout_s: float) -> list[tuple[str, tuple[Any, ...], Any]]:
        cpu = time.process_time()
        tasks, self._tasks = self._tasks, []
        found = [(step, task, getattr(self, step)(*task)) for step, task in tasks]
        self._meter.parts[DRAWN] += time.process_time() - cpu
        return found

    def survey(self, source: Source) -> Survey:
        self._surveyed += 1
        return self._draw.survey(source)

    def curate(self, planned: PlannedClip, source: Source) -> Decision:
        self.todo += 1
        return self._draw.decision(planned, source)

    def pack(self, name: str, decisions: object) -> int:
        self.first_pack_after = self.first_pack_after or self._surveyed
        return 1


def measure(folder: Path, clips: int) -> None:
    folder.mkdir(parents=True)
    sources_csv = write_list(folder / "sources.csv", clips)
    meter = Meter(clips)
    with meter.step("list read"):
        sources = read_sources([sources_csv], tell=lambda note: None)
    recipe = load_recipe("default")
    head = replace(recipe.head, near_duplicates=asdict(BOUNDS))
    draw = Drawn(clips)
    workers = DrawingWorkers(draw, meter)
    for name, function in PARTS.items():
        meter.part(name, stream, function)
    with LedgerWriter(folder, head) as writer:
        ledger = writer.ledger
        meter.part("surveys added", writer, "add_survey")
        meter.part("decisions added", writer, "add_decision")
        with meter.step("a run, until all is decided"):
            planned = stream.Stream(writer, recipe, sources, folder, Store(folder / "s"), None)
            planned.run(workers)
        for name, cpu in meter.parts.items():
            if name != DRAWN:
                meter.line(f"of it: {name}", cpu)
        del sources, planned
        with meter.step("at its end: near duplicates and splits"):
            for row in separate(ledger, BOUNDS):
                writer.add_decision(row)
        with meter.step("at its end: shards planned"):
            ledger.add_shards(new_shards(ledger))
            writer.commit()
            plan = shard_plan(ledger)
        with meter.step("clips.csv"), (folder / "clips.csv").open("w") as file:
            file.writelines(iter_manifest(ledger, plan))
        ledger.assert_complete()
        found = ledger.funnel()["rejected", "near_duplicate"]
    meter.line("a run", meter.total_s)
    ledger.close()
    with meter.step("status", answer=True):
        str(read_ledger(folder))
    with meter.step("why, of 100 clips", answer=True):
        ledger = read_ledger(folder)
        for number in range(100):
            ledger.find(f"source_{number * clips // 300:08d}-0001")
    with meter.step("report: licences", answer=True):
        format_licences(read_ledger(folder))
    with meter.step("report --html, without pictures", answer=True):
        page = render_report(read_ledger(folder), folder, {}, pictures=0)
        (folder / "report.html").write_text(page)
    with meter.step("report --csv", answer=True):
        write_csv(read_ledger(folder), folder / "report.csv")
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
        f"\n{workers.todo:,} clips curated; the first shard is packed after "
        f"{100 * CLIPS_A_SOURCE * workers.first_pack_after / clips:.1f} % of the surveys; "
        f"{found} of {draw.planted} planted copies found; {len(plan)} shards; redecided: "
        f"{before:,} accepted -> {after:,}, {changed} shards changed; {size:.0f} bytes of "
        "ledger a clip",
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
            split = "test" if number % 100 == 0 else "train"
            # Held-out people upload nothing for training.
            uploader = f"u{number % 997}" if split == "train" else f"t{number % 89}"
            row = [f"source_{number:08d}", f"videos/{number:08d}.mp4", "CC-BY-4.0"]
            writer.writerow([*row, f"owner {number % 50}", split, uploader])
    return path


class Drawn:
    """Rows as a run would give them, a function of the source's number."""

    def __init__(self, clips: int) -> None:
        self.planted = 0
        self._num_sources = clips // CLIPS_A_SOURCE

    def survey(self, source: Source) -> Survey:
        name, number = source.source_id, int(source.source_id.rpartition("_")[2])
        measured = np.random.default_rng([0, number]).random((CLIPS_A_SOURCE, 10)).round(4)
        planned = tuple(
            PlannedClip(f"{name}-{clip:04d}", name, 5.0 * clip, 5.0 * clip + 5, 24.0, (720, 1280),
                        checks(CHECKS[:10], measured[clip]))
            for clip in range(CLIPS_A_SOURCE)
        )  # fmt: skip
        # Of every third clip the picture filters say no.
        drop = Drop("static", 0.9, 0.5)
        out = rejected(planned[2].clip_id, name, "survey", drop, planned[2].checks)
        sha = f"{number - is_copy(number):064x}"
        return Survey(name, sha, "", 1, 2, planned, (out,), source.row_sha256)

    def decision(self, planned: PlannedClip, source: Source) -> Decision:
        name, number = planned.clip_id, int(source.source_id.rpartition("_")[2])
        made = Clip(
            name, source.source_id, source.location, "CC-BY-4.0", planned.start_s, planned.end_s,
            24.0, (768, 1365), 120, False, "dwpose", source.split,
        )  # fmt: skip
        clip = int(name[-4:])
        measured = np.random.default_rng([1, number, clip]).random(20).round(4)
        return Decision(
            name, source.source_id, "accepted", "clip", checks=checks(CHECKS, measured),
            seconds=12.3, clip=made, owner=source.owner, uploader=source.uploader,
            signature=self._signature(number, clip).hex(),
            mp4_sha256=f"{number:063x}{clip}", pose_sha256=f"{number:062x}a{clip}",
        )  # fmt: skip

    def _signature(self, number: int, clip: int) -> bytes:
        # The second clip of one source in fifty is a copy of another source's first one.
        other = number - 1
        if clip == 1 and number % 50 == 7 and not is_copy(number):
            self.planted += 1
            rng = np.random.default_rng([3, number])
            content = np.frombuffer(self._drawn(other, 0), np.uint8).copy()
            flips = rng.random((8, 64)) < rng.uniform(1, 7) / 64
            content[:64] ^= np.packbits(flips)
            content[64:96] += rng.integers(0, 3, 32).astype(np.uint8)
            return content.tobytes()
        return self._drawn(number, clip)

    @staticmethod
    def _drawn(number: int, clip: int) -> bytes:
        rng = np.random.default_rng([2, number, clip])
        content = np.frombuffer(rng.bytes(SIGNATURE_BYTES), np.uint8).copy()
        content[64:96] = rng.integers(60, 110, 32)
        return content.tobytes()


def is_copy(number: int) -> bool:
    """One source in a thousand is the file of the one before it."""
    return number % 1000 == 999


def checks(reasons: list[str], measured: np.ndarray) -> tuple[Check, ...]:
    return tuple(Check(r, float(m), 0.0, low=True) for r, m in zip(reasons, measured, strict=True))


if __name__ == "__main__":
    main()
