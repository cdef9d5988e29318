"""aa-datasets: puppets, and what is in shards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from aa_datasets.arguments import positive, rate
from aa_datasets.benchmarks.fetch import FetchConfig, fetch_copy, write_url_sources
from aa_datasets.benchmarks.lists import SPLITS, listed_videos
from aa_datasets.benchmarks.split import TEST_SPLITS
from aa_datasets.benchmarks.user_copy import find_copies
from aa_datasets.errors import DatasetError
from aa_datasets.export import export_frames, export_keypoints, export_nearest_pose
from aa_datasets.puppets.corpus import iter_written_puppets
from aa_datasets.shards import find_shards, read_record, read_shards, verify_shard
from aa_datasets.stats import count, describe


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aa-datasets", description="Puppets, and what is in shards: look, check, export."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    puppets = commands.add_parser("puppets", help="render synthetic characters with exact poses")
    puppets.add_argument("--out", type=Path, required=True, help="folder of mp4, npz, sources.csv")
    puppets.add_argument("--count", type=positive, default=64)
    puppets.add_argument("--first-seed", type=_seed, default=0, help="of identity and of motion")
    puppets.add_argument("--split", default="train", help="written into sources.csv")
    puppets.add_argument("--frames", type=positive, default=48)
    puppets.add_argument("--fps", type=rate, default=24.0)
    puppets.add_argument(
        "--size", type=positive, default=256, metavar="PX", help="side of the picture"
    )

    for name, text in (
        ("show", "list the clips of shards"),
        ("verify", "compare shards with the sha256 of their records"),
        ("stats", "splits, lengths, sizes, rates, joints, estimators, licences of shards"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("shards", nargs="+", type=Path, metavar="SHARD",
                             help="tar files, or a corpus with all of its")  # fmt: skip
    commands.choices["stats"].add_argument(
        "--window", type=positive, default=24, metavar="N", help="frames that stage 2 takes"
    )

    fetch = commands.add_parser(
        "fetch", help="a benchmark's splits from your own copy: references, and shards or sources"
    )
    fetch.add_argument("benchmark", choices=TEST_SPLITS)
    fetch.add_argument("--list", nargs="+", type=Path, default=[], metavar="FILE", dest="lists",
                       help="the published lists of ubc, checked by their sha256")  # fmt: skip
    fetch.add_argument("--copy", type=Path, metavar="DIR", help="where the videos or frames lie")
    fetch.add_argument("--split", nargs="+", choices=SPLITS, default=SPLITS)
    fetch.add_argument(
        "--allow-missing", action="store_true", help="take what there is of the training videos"
    )
    fetch.add_argument(
        "--licence", required=True, metavar="WORDS", help="under which you have the videos"
    )
    fetch.add_argument("--poses", type=Path, metavar="DIR", help="<id>.pose.npz for each video")
    fetch.add_argument("--pose-from", metavar="NAME", help="the estimator that found the poses")
    fetch.add_argument("--size-hw", nargs=2, type=positive, default=(256, 256),
                       metavar=("H", "W"), help="of the references (default 256 256)")  # fmt: skip
    fetch.add_argument("--synthetic", action="store_true", help="they show rendered characters")
    fetch.add_argument("--out", type=Path, metavar="DIR", help="default: data/BENCHMARK")
    fetch.add_argument("--dry-run", action="store_true", help="look for the videos, write nothing")

    export = commands.add_parser("export", help="frames as PNG: the references of aa-eval")
    export.add_argument("shards", nargs="+", type=Path, metavar="SHARD")
    export.add_argument("--out", type=Path, required=True)
    export.add_argument(
        "--size", type=positive, default=256, metavar="PX", help="side of the picture"
    )
    export.add_argument("--max-frames", type=positive, metavar="N", help="of each clip")
    what = export.add_mutually_exclusive_group()
    what.add_argument("--keypoints", action="store_true", help="poses (npz) instead of frames")
    what.add_argument(
        "--nearest-pose",
        nargs="+",
        type=Path,
        metavar="TRAIN_SHARD",
        help="a trivial prediction: for each frame the training frame with the nearest pose",
    )
    return parser


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def run_puppets(args: argparse.Namespace) -> None:
    done = iter_written_puppets(
        args.out,
        args.count,
        args.first_seed,
        args.split,
        args.frames,
        args.fps,
        (args.size, args.size),
    )
    count = sum(1 for _ in tqdm(done, total=args.count, desc="puppets", unit="clip"))
    print(f"{count} synthetic puppets in {args.out}, sources.csv beside them")


def run_show(args: argparse.Namespace) -> None:
    for path in args.shards:
        record = read_record(path)
        print(f"{record.name}  {record.num_bytes} bytes  sha256 {record.sha256}")
        for clip in (entry.clip for entry in record.clips):
            print(
                f"  {clip.clip_id}  {clip.num_frames} frames at {clip.fps:g} fps  "
                f"{clip.size_hw[1]}x{clip.size_hw[0]}  {clip.split}  pose: {clip.pose_from}  "
                f"{clip.licence}  {clip.source}"
            )


def run_verify(args: argparse.Namespace) -> None:
    for path in args.shards:
        print(f"{path.name}: {len(verify_shard(path).clips)} clips, sha256 as recorded")


def run_stats(args: argparse.Namespace) -> None:
    samples = tqdm(read_shards(args.shards), desc="clips", unit="clip")
    print("\n".join(describe(count(samples), args.window)))


def run_export(args: argparse.Namespace) -> None:
    size_hw = (args.size, args.size)
    if args.keypoints:
        done = export_keypoints(args.shards, args.out, size_hw, args.max_frames)
    elif args.nearest_pose:
        done = export_nearest_pose(
            args.shards, args.nearest_pose, args.out, size_hw, args.max_frames
        )
    else:
        done = export_frames(args.shards, args.out, size_hw, args.max_frames)
    print(f"{sum(1 for _ in tqdm(done, desc='export', unit='clip'))} clips in {args.out}")


def run_fetch(args: argparse.Namespace) -> None:
    if (args.poses is None) != (args.pose_from is None):
        raise DatasetError("--poses and --pose-from go together: shards name their estimator")
    if args.poses and not args.copy:
        raise DatasetError("--poses needs the videos: give --copy DIR")
    out = args.out or Path("data", args.benchmark)
    config = FetchConfig(
        args.benchmark, args.licence, tuple(args.size_hw), args.pose_from or "", args.synthetic
    )
    listed = listed_videos(args.benchmark, args.split, args.lists)
    if not args.copy and args.dry_run:
        print(f"{len(listed)} URLs would be written to {out}/sources-*.csv")
        return
    if not args.copy:
        write_url_sources(listed, out, config)
        print(f"{len(listed)} URLs in {out}/sources-*.csv: now `aa-curate run`")
        return
    videos = find_copies(args.benchmark, listed, args.copy, allow_missing=args.allow_missing)
    if args.dry_run:
        print(f"{len(videos)} of {len(listed)} videos of {args.benchmark} would be put in {out}")
        return
    done = fetch_copy(videos, out, config, args.poses)
    count = sum(1 for _ in tqdm(done, total=len(videos), desc="fetch", unit="video"))
    print(f"{count} of {len(listed)} videos of {args.benchmark} in {out}")
    if not args.poses:
        print(f"no poses yet: now `aa-curate run RECIPE --sources {out}/sources-SPLIT.csv`")


_COMMANDS = {
    "puppets": run_puppets,
    "show": run_show,
    "verify": run_verify,
    "stats": run_stats,
    "export": run_export,
    "fetch": run_fetch,
}


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    try:
        for name in {"shards", "nearest_pose"} & set(vars(args)):
            setattr(args, name, getattr(args, name) and find_shards(getattr(args, name)))
        _COMMANDS[args.command](args)
    except (DatasetError, OSError) as error:
        print(f"aa-datasets: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("aa-datasets: stopped: run the same command again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
