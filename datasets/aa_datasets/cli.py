"""aa-datasets: puppets, and what is in shards."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aa_datasets.errors import DatasetError
from aa_datasets.export import export_frames, export_keypoints, export_nearest_pose
from aa_datasets.puppet_corpus import write_puppets
from aa_datasets.shards import read_record, read_shards, verify_shard


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aa-datasets", description="Puppets, and what is in shards: look, check, export."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    puppets = commands.add_parser("puppets", help="render synthetic characters with exact poses")
    puppets.add_argument("--out", type=Path, required=True, help="folder of mp4, npz, sources.csv")
    puppets.add_argument("--count", type=_positive, default=64)
    puppets.add_argument("--first-seed", type=_seed, default=0, help="of identity and of motion")
    puppets.add_argument("--split", default="train", help="written into sources.csv")
    puppets.add_argument("--frames", type=_positive, default=48)
    puppets.add_argument("--fps", type=_rate, default=24.0)
    puppets.add_argument(
        "--size", type=_positive, default=256, metavar="PX", help="side of the picture"
    )

    for name, text in (
        ("show", "list the clips of shards"),
        ("verify", "compare shards with the sha256 of their records"),
        ("stats", "count clips, frames, seconds, licences, scores of the hands"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="tar files")

    export = commands.add_parser("export", help="frames as PNG: the references of aa-eval")
    export.add_argument("shards", nargs="+", type=Path, metavar="SHARD")
    export.add_argument("--out", type=Path, required=True)
    export.add_argument(
        "--size", type=_positive, default=256, metavar="PX", help="side of the picture"
    )
    export.add_argument("--max-frames", type=_positive, metavar="N", help="of each clip")
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


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate in (0, 1000] frames per second")
    return value


def run_puppets(args: argparse.Namespace) -> None:
    done = write_puppets(
        args.out,
        count=args.count,
        first_seed=args.first_seed,
        split=args.split,
        num_frames=args.frames,
        fps=args.fps,
        size_hw=(args.size, args.size),
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
    licences: Counter[str] = Counter()
    seconds, frames, hands = 0.0, 0, []
    for sample in tqdm(read_shards(args.shards), desc="clips", unit="clip"):
        licences[sample.clip.licence] += 1
        frames += sample.clip.num_frames
        seconds += sample.clip.num_frames / sample.clip.fps
        hands.append(float((sample.pose.scores[:, 18:60] > 0).mean()))
    print(f"{licences.total()} clips, {frames} frames, {seconds:.1f} s")
    print(f"hand joints present: {100 * float(np.mean(hands or [0])):.1f} %")
    for licence, count in licences.most_common():
        print(f"{licence}: {count} clips")


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


_COMMANDS = {
    "puppets": run_puppets,
    "show": run_show,
    "verify": run_verify,
    "stats": run_stats,
    "export": run_export,
}


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    try:
        _COMMANDS[args.command](args)
    except (DatasetError, OSError) as error:
        print(f"aa-datasets: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
