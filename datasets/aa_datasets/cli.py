"""aa-datasets: render puppets; look into shards, check and export them; prepare benchmarks.

What a command needs is imported when it runs, so that `--help` takes no seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import MutuallyExclusive

from aa_datasets.command_line import Fps, NonNegativeInt, PositiveInt, counted, make_app, run_app
from aa_datasets.errors import DatasetError

app = make_app(
    "aa-datasets",
    "Render puppets; look into shards, check and export them; prepare benchmarks.",
    example="aa-datasets stats corpus",
)
_TRAINER = Group("With --to")
Shards = Annotated[
    list[Path],
    Parameter(help="Tar files, or folders with all of their tars.", negative=(), name="SHARD"),
]
_SEVERAL = Parameter(consume_multiple=True)
_INSTEAD = Group(
    "Instead of frames (one at most)",
    validator=MutuallyExclusive(),  # type: ignore[no-untyped-call]
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PuppetOptions:
    """Which synthetic characters are rendered."""

    out: Path
    """Folder of mp4, npz and sources.csv; or one shard, if the name ends in .tar."""
    count: PositiveInt = 64
    """Puppets, each in a clip of its own."""
    first_seed: NonNegativeInt = 0
    """Seed of the first one's identity and motion; the next has the next seed."""
    split: str = "train"
    """Stored with each clip."""
    frames: PositiveInt = 48
    """Frames per clip."""
    fps: Fps = 24.0
    """Frames per second."""
    size: PositiveInt = 256
    """Side of the picture in pixels."""


@app.command(help_epilogue="Example: `aa-datasets puppets --out data/puppets --count 8`")
def puppets(options: PuppetOptions) -> None:
    """Render synthetic characters with exact poses."""
    from aa_datasets.puppets.corpus import iter_written_puppets

    replaced = " (replaced)" if options.out.suffix == ".tar" and options.out.exists() else ""
    done = iter_written_puppets(
        options.out,
        options.count,
        options.first_seed,
        options.split,
        options.frames,
        options.fps,
        (options.size, options.size),
    )
    number = _count(done, "puppets", "clip", options.count)
    print(f"{counted(number, 'synthetic puppet')} in {options.out}{replaced}")


@app.command(help_epilogue="Example: `aa-datasets show corpus/shards/train-000000.tar`")
def show(shards: Shards, /) -> None:
    """List the clips of shards."""
    from aa_datasets.shards import find_shards, read_record

    for path in find_shards(shards):
        record = read_record(path)
        print(f"{record.name}  {record.num_bytes} bytes  sha256 {record.sha256}")
        for clip in (entry.clip for entry in record.clips):
            print(
                f"  {clip.clip_id}  {clip.num_frames} frames at {clip.fps:g} fps  "
                f"{clip.size_hw[1]}x{clip.size_hw[0]}  {clip.split}  pose: {clip.pose_from}  "
                f"{clip.licence}  {clip.source}"
            )


@app.command(help_epilogue="Example: `aa-datasets verify corpus`")
def verify(shards: Shards, /) -> None:
    """Compare shards with the sha256 in their records."""
    from aa_datasets.shards import find_shards, verify_shard

    for path in find_shards(shards):
        print(f"{path.name}: {counted(len(verify_shard(path).clips), 'clip')}, sha256 as recorded")


@app.command(help_epilogue="Example: `aa-datasets stats corpus --window 24`")
def stats(shards: Shards, /, *, window: PositiveInt = 24) -> None:
    """Count splits, lengths, sizes, rates, joints, pose estimators and licences.

    Args:
        window: Frames that a sample of stage 2 takes; shorter clips are counted.
    """
    from aa_datasets.progress import progress
    from aa_datasets.shards import find_shards, read_shards
    from aa_datasets.stats import clips_frame, describe

    samples = progress(read_shards(find_shards(shards)), desc="stats", unit="clip")
    print("\n".join(describe(clips_frame(samples), window)))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written of shards."""

    out: Path
    """Folder to write to."""
    size: Annotated[PositiveInt | None, Parameter(show_default="256")] = None
    """Side of the picture in pixels."""
    max_frames: PositiveInt | None = None
    """Most frames of each clip; all of them without this option."""
    keypoints: Annotated[bool, Parameter(group=_INSTEAD, negative=())] = False
    """Write poses (npz)."""
    nearest_pose: Annotated[tuple[Path, ...], _SEVERAL, Parameter(group=_INSTEAD)] = ()
    """A trivial prediction from these training shards: for each frame the training frame with the
    nearest pose."""
    to: Annotated[
        Literal["diffsynth", "musubi", "unianimate-dit", "videox-fun", "webdataset-energon"] | None,
        Parameter(group=_INSTEAD),
    ] = None
    """A training set for another trainer: videos at their own size, pose videos, references, face
    crops, captions, as the trainer takes them."""
    split: Annotated[str | None, Parameter(group=_TRAINER, show_default="train")] = None
    """Only clips of this split."""
    caption: Annotated[str, Parameter(group=_TRAINER)] = ""
    """Caption of every clip without one of its own."""
    captions: Annotated[Path | None, Parameter(group=_TRAINER)] = None
    """Folder of ID.txt, the clips' own captions."""

    def __post_init__(self) -> None:
        if self.to and (self.size or self.max_frames):
            raise DatasetError("--to keeps size and length of the clips: no --size, --max-frames")
        if not self.to and (self.split or self.caption or self.captions):
            raise DatasetError("--split, --caption and --captions go with --to")


@app.command(help_epilogue="Example: `aa-datasets export corpus --out references --size 256`")
def export(shards: Shards, /, options: ExportOptions) -> None:
    """Write frames as PNG, the references of aa-eval; or a training set for another trainer."""
    from aa_datasets.export import export_frames, export_keypoints, export_nearest_pose
    from aa_datasets.export_trainers import export_for_trainer
    from aa_datasets.shards import find_shards

    size_hw = (options.size or 256, options.size or 256)
    found = find_shards(shards)
    if options.to:
        done = export_for_trainer(
            found,
            options.out,
            options.to,
            split=options.split or "train",
            caption=options.caption,
            captions=options.captions,
        )
    elif options.keypoints:
        done = export_keypoints(found, options.out, size_hw, options.max_frames)
    elif options.nearest_pose:
        done = export_nearest_pose(
            found, find_shards(options.nearest_pose), options.out, size_hw, options.max_frames
        )
    else:
        done = export_frames(found, options.out, size_hw, options.max_frames)
    print(f"{counted(_count(done, 'export', 'clip'), 'clip')} in {options.out}")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """Where a benchmark's videos are, and what is written of them."""

    licence: str
    """Under which you have the videos."""
    copy: Path | None = None
    """Folder with your copy of the videos or frames; without it the published URLs are listed."""
    lists: Annotated[tuple[Path, ...], _SEVERAL, Parameter(name="--list")] = ()
    """The published lists of ubc, checked by their sha256."""
    split: Annotated[tuple[Literal["train", "test"], ...], _SEVERAL] = ("train", "test")
    """Splits to take."""
    allow_missing: Annotated[bool, Parameter(negative=())] = False
    """Take those training videos that are there."""
    poses: Path | None = None
    """Folder of ID.pose.npz, one for each video."""
    pose_from: str | None = None
    """Name of the estimator that found the poses."""
    size_hw: tuple[PositiveInt, PositiveInt] = (256, 256)
    """Height and width of the references."""
    synthetic: Annotated[bool, Parameter(negative=())] = False
    """The videos show rendered characters."""
    out: Path | None = None
    """Folder to write to; without it data/BENCHMARK."""
    dry_run: Annotated[bool, Parameter(negative=())] = False
    """Look for the videos and write nothing."""

    def __post_init__(self) -> None:
        if (self.poses is None) != (self.pose_from is None):
            raise DatasetError("--poses and --pose-from go together: shards name their estimator")
        if self.poses and not self.copy:
            raise DatasetError("--poses needs the videos: give --copy DIR")


@app.command(
    help_epilogue="Example: `aa-datasets fetch tiktok --copy TikTok_dataset --split test "
    "--licence 'as agreed with its owners'`"
)
def fetch(benchmark: Literal["tiktok", "ubc"], /, options: FetchOptions) -> None:
    """Prepare a benchmark's splits from your own copy: references, and shards or source lists.

    Args:
        benchmark: Which benchmark.
    """
    from aa_datasets.benchmarks.fetch import FetchConfig, fetch_copy, write_url_sources
    from aa_datasets.benchmarks.lists import listed_videos
    from aa_datasets.benchmarks.user_copy import find_copies

    out = options.out or Path("data", benchmark)
    config = FetchConfig(
        benchmark, options.licence, options.size_hw, options.pose_from or "", options.synthetic
    )
    listed = listed_videos(benchmark, options.split, options.lists)
    if not options.copy and options.dry_run:
        print(f"{len(listed)} URLs would be written to {out}/sources-*.csv")
        return
    if not options.copy:
        write_url_sources(listed, out, config)
        print(f"{len(listed)} URLs in {out}/sources-*.csv: now `aa-curate run`")
        return
    videos = find_copies(benchmark, listed, options.copy, allow_missing=options.allow_missing)
    if options.dry_run:
        print(f"{len(videos)} of {len(listed)} videos of {benchmark} would be put in {out}")
        return
    done = fetch_copy(videos, out, config, options.poses)
    count = _count(done, "fetch", "video", len(videos))
    print(f"{count} of {len(listed)} videos of {benchmark} in {out}")
    if not options.poses:
        print(f"no poses yet: now `aa-curate run RECIPE --sources {out}/sources-SPLIT.csv`")


def _count(done: Iterable[object], desc: str, unit: str, total: int | None = None) -> int:
    """Run through an iterator and show its progress; returns how many it gave."""
    from aa_datasets.progress import progress

    return sum(1 for _ in progress(done, desc=desc, unit=unit, total=total))


def main(argv: Sequence[str] | None = None) -> int:
    """Run `aa-datasets`; returns the exit status."""
    return run_app(
        app, argv, errors=(DatasetError,), when_stopped="run the same command again to resume"
    )


if __name__ == "__main__":
    sys.exit(main())
