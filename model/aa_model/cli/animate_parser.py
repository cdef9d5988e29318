"""aa-animate's arguments, and which of them cannot go together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from aa_datasets.arguments import positive, rate
from aa_datasets.benchmarks.split import TEST_SPLITS
from aa_model.cli.command_line import add_device, add_half
from aa_model.errors import ModelError
from aa_model.inference.denoise import Merge
from aa_model.inference.pose_detectors import PUPPET_WEIGHTS


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aa-animate",
        description="Animate a photo by a pose sequence, or every clip of some shards from its "
        "first frame and its own poses. `aa-animate ui` opens a page for the first.",
    )
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="DIR",
                        help="a folder that aa-train, or aa-model import, wrote")  # fmt: skip
    parser.add_argument(
        "--out", required=True, type=Path, help="an .mp4, or with --shards a predictions folder"
    )
    one = parser.add_argument_group("one video")
    one.add_argument("--reference", type=Path, metavar="PICTURE", help="who is to move")
    one.add_argument("--pose", type=Path, metavar="NPZ_OR_VIDEO", help="driving poses, or a video "
                     "to find them in")  # fmt: skip
    one.add_argument("--reference-pose", type=Path, metavar="NPZ",
                     help="pose in the reference (default: looked for); the driving skeleton is "
                     "rescaled to its proportions")  # fmt: skip
    one.add_argument("--no-align", action="store_true", help="do not rescale the skeleton")
    one.add_argument("--pose-detector", metavar="NAME_OR_FILE",
                     help="finds skeletons: an installed one by its name, or a .safetensors file "
                     f"of aa-model puppet-keypoints (default: {PUPPET_WEIGHTS} beside the "
                     "checkpoint, else the one installed)")  # fmt: skip
    one.add_argument("--fps", type=rate,
                     help="of the .mp4 (default: the driving video's; 24 of an npz)")  # fmt: skip
    many = parser.add_argument_group("every clip of some shards")
    many.add_argument("--shards", nargs="+", type=Path, default=[], metavar="SHARD",
                      help="tar files, of aa-curate or aa-datasets fetch")  # fmt: skip
    many.add_argument("--benchmark", choices=TEST_SPLITS,
                      help="only its test videos, all of them, under their own ids")  # fmt: skip
    many.add_argument("--swap", choices=["reference", "pose"],
                      help="probe: take the reference, or the pose, of the next clip")  # fmt: skip
    many.add_argument("--max-videos", type=positive, metavar="N", help="the first N alone")
    parser.add_argument("--max-frames", type=positive, metavar="N", help="of each video")
    parser.add_argument("--steps", type=positive, default=20, help="of the scheduler (default 20)")
    parser.add_argument("--scheduler", metavar="CLASS",
                        help="any of diffusers' by its name, such as DPMSolverMultistepScheduler, "
                        "of the checkpoint's noise schedule (default: the checkpoint's own, or "
                        "DDIM)")  # fmt: skip
    parser.add_argument("--guidance", type=float, default=2.0, help="1 is off (default 2)")
    parser.add_argument("--guidance-interval", nargs=2, type=float, default=(0.0, 1.0),
                        metavar=("FROM", "TO"), help="guide these steps alone, as shares of all: "
                        "cheaper, approximate (default 0 1)")  # fmt: skip
    parser.add_argument("--window", type=positive, metavar="N",
                        help="frames seen at once (default: the network's own)")  # fmt: skip
    parser.add_argument("--overlap", type=int, metavar="N",
                        help="frames that windows share (default half of one)")  # fmt: skip
    parser.add_argument("--merge", choices=get_args(Merge), default="edge",
                        help="how windows become a long video (default edge); wrapped is for "
                        "Moore-AnimateAnyone's numbers, attention is approximate, and "
                        "computes each frame once")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the initial noise (default 0)")
    parser.add_argument("--autocast", action=argparse.BooleanOptionalAction, default=False,
                        help="bfloat16 matrix products (default off)")  # fmt: skip
    add_half(parser)
    add_device(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would be made")
    return parser


def refuse_options(args: argparse.Namespace) -> None:
    """No option is ignored in silence: those of one video, and those of shards, stay apart."""
    of_one = ("reference_pose", "no_align", "pose_detector", "fps")
    of_shards = ("swap", "max_videos")
    wrong = [name for name in (of_one if args.shards else of_shards) if getattr(args, name)]
    if wrong:
        flag = "--" + wrong[0].replace("_", "-")
        raise ModelError(f"{flag} is {'not for' if args.shards else 'for'} --shards: leave it out")
    if args.half and args.autocast:
        raise ModelError("--half leaves no float32 for --autocast to cast: give one of them")
    if args.no_align and args.reference_pose:
        raise ModelError("--reference-pose is for the alignment that --no-align leaves out")
