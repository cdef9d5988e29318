"""`aa-eval PREDICTIONS`: the command that scores, prints and writes."""

from __future__ import annotations

import argparse
import csv
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from aa_eval.cli.folders import Parser, add_folders, read_pairs
from aa_eval.cli.text_table import text_table
from aa_eval.errors import EvalError
from aa_eval.evaluate import Evaluation, evaluate
from aa_eval.protocol import Protocol, list_protocols, read_protocol
from aa_eval.result import RESULT_FILE, Result, read_result, write_result
from aa_eval.scoring.baselines import BASELINES, FAST, choose_baselines, write_baselines
from aa_eval.scoring.cache import Cache, default_cache
from aa_eval.videos.benchmark import Benchmark, read_benchmark
from aa_eval.videos.pairing import Pair
from aa_eval.videos.region_pairs import pairs_with_regions
from aa_eval.videos.regions import REGION_NAMES

# As the field prints them; the others under their keys.
_HEADINGS = {"ssim": "SSIM", "psnr_overflow": "PSNR", "psnr": "PSNR*"}

EPILOG = """other commands (first word):
  aa-eval check PREDICTIONS [--references DIR]   pair and check, decode nothing
  aa-eval compare A B                            two result folders, paired over videos
  aa-eval verify RESULT --references DIR         was it scored against these frames?
  aa-eval protocols [show NAME]                  what is measured, and how
  aa-eval weights                                which weights are there, and unaltered
"""


def evaluate_command(words: Sequence[str]) -> int:
    """Run `aa-eval` on the words behind it; 0 when all is done.

    Raises:
        EvalError: what was found, what was expected, what to do.
    """
    parser = _parser()
    options = parser.parse_args(words)
    named = options.protocol or []
    if options.predictions is None and len(named) > 1 and named[-1] not in list_protocols():
        options.predictions = Path(named.pop())  # PREDICTIONS behind --protocol NAME
    _require_sense(options)
    writes_only = options.write_baselines is not None and options.predictions is None
    benchmark = read_benchmark(options.benchmark) if options.benchmark else None
    names = options.protocol or (benchmark.protocols if benchmark else ["aa-clean-v1"])
    protocols = [read_protocol(name) for name in dict.fromkeys(names)]
    baselines = choose_baselines(options.baselines or "fast")
    pairs, overrides = read_pairs(options, benchmark, no_predictions=writes_only)
    for override in overrides:
        print(f"aa-eval: warning: {override}", file=sys.stderr)
    if options.write_baselines:
        written = choose_baselines(options.baselines or "all")
        _write_baselines(options.write_baselines, pairs, written)
        if writes_only:
            return 0
    predictions: Path = options.predictions or _default_predictions(benchmark)
    method = options.method or predictions.resolve().name
    if method in BASELINES:
        raise EvalError(f"--method {method}: the name of a trivial baseline: choose another")
    if options.out:
        _require_out(_folders(options.out, protocols), method)
    pairs = pairs_with_regions(
        pairs, options.regions, _names(options.region_boxes), options.reference_keypoints
    )
    keypoints = (options.keypoints, options.reference_keypoints) if options.keypoints else None
    evaluations = evaluate(
        pairs, protocols, method=method, label=options.label, benchmark=options.benchmark,
        baselines=baselines, overrides=overrides, keypoints=keypoints, device=options.device,
        cache=_cache(options), workers=options.workers, ray_address=options.ray,
    )  # fmt: skip
    folders = _folders(options.out, protocols) if options.out else []
    for index, protocol in enumerate(protocols):
        rows = [e for e in evaluations if e.result.protocol == protocol.name]
        _print_results([row.result for row in rows])
        for out in folders[index : index + 1]:
            for row in rows:
                own = row.result.method == method
                _write(out if own else out / "baselines" / row.result.method, row, pairs)
    if options.out:
        print(f"\nwritten: {options.out}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="aa-eval",
        description="Score predicted videos against references, with trivial baselines beside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folders(parser)
    parser.add_argument(
        "--protocol", nargs="+", metavar="NAME",
        help=f"one or several of: {', '.join(list_protocols())}",
    )  # fmt: skip
    parser.add_argument(
        "--baselines", metavar="fast|all|off|NAME,NAME",
        help=f"of {', '.join(BASELINES)}; fast (the default): {', '.join(FAST)}",
    )  # fmt: skip
    parser.add_argument(
        "--write-baselines", type=Path, metavar="DIR",
        help="write the trivial predictions (all, or those of --baselines) as folders of PNG, for "
        "other tools to score; without PREDICTIONS that is all that is done",
    )  # fmt: skip
    parser.add_argument("--keypoints", type=Path, metavar="DIR", help="<video>.npz of predictions")
    parser.add_argument("--reference-keypoints", type=Path, metavar="DIR",
                        help="the same of the references")  # fmt: skip
    parser.add_argument(
        "--regions", type=Path, metavar="DIR",
        help="image metrics inside of masks, too: DIR/<region>/<video>/<frame>.png, 0 and 255",
    )  # fmt: skip
    parser.add_argument(
        "--region-boxes", metavar="NAME,NAME",
        help=f"the same inside of boxes around the reference's joints: {', '.join(REGION_NAMES)}; "
        "needs --reference-keypoints",
    )  # fmt: skip
    parser.add_argument("--method", metavar="NAME", help="name in the result; else the folder's")
    parser.add_argument("--label", default="measured", help='what the row is, e.g. "demo"')
    parser.add_argument(
        "--device", default="cpu", help='"cpu" (the default), "cuda", or one GPU: "cuda:1"'
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N",
        help="processes that videos are spread over, with --device cuda over all GPUs; 1 if not",
    )  # fmt: skip
    parser.add_argument(
        "--ray", metavar="ADDRESS|auto|local",
        help="spread videos over a Ray cluster instead, on shared storage (needs the package ray)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", default=str(default_cache()), metavar="DIR|off",
        help="where finished videos are kept, so that a run can be resumed (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--verify", action="store_true",
        help="hash every file again, rather than trust its size, time of change and inode",
    )  # fmt: skip
    parser.add_argument(
        "--feature-cache-gib", type=float, default=8, metavar="GIB",
        help="room for features of references in the cache, for LPIPS of the next method "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write the results")
    return parser


def _require_sense(options: argparse.Namespace) -> None:
    if options.region_boxes and options.reference_keypoints is None:
        raise EvalError("--region-boxes needs --reference-keypoints DIR, whose joints it boxes in")
    boxes_alone = options.region_boxes and options.keypoints is None
    both = (options.keypoints is None) == (options.reference_keypoints is None)
    if not (both or boxes_alone):
        raise EvalError("--keypoints and --reference-keypoints belong together: give both")
    if options.workers < 1:
        raise EvalError(f"--workers {options.workers}: expected at least 1")
    if options.ray and options.workers > 1:
        raise EvalError("--ray and --workers exclude each other: a cluster has its own processes")
    if not 0 <= options.feature_cache_gib < 2**20:  # also where it is NaN
        raise EvalError(f"--feature-cache-gib {options.feature_cache_gib}: expected 0 or more GiB")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", options.device):
        raise EvalError(f"--device {options.device}: expected cpu, cuda or cuda:0")
    if not (options.predictions or options.benchmark or options.write_baselines):
        raise EvalError("PREDICTIONS is missing: the folder to score (see aa-eval --help)")
    if options.device.startswith("cuda"):
        import torch  # takes seconds to import: only where it is asked

        there = torch.cuda.device_count()
        if int(options.device.partition(":")[2] or 0) >= there:
            raise EvalError(f"--device {options.device}: torch sees {there} CUDA devices: use cpu")


def _names(words: str | None) -> list[str]:
    """The names in a list with commas, each once."""
    return list(dict.fromkeys(name.strip() for name in words.split(","))) if words else []


def _default_predictions(benchmark: Benchmark | None) -> Path:
    assert benchmark is not None  # _require_sense has seen to it
    return benchmark.predictions


def _cache(options: argparse.Namespace) -> Cache | None:
    if options.cache == "off":
        return None
    room = int(options.feature_cache_gib * 2**30)
    folder = Path(options.cache)
    _require_writable(folder, "--cache", "another folder, or --cache off")
    return Cache(folder, options.device, options.verify, room)


def _folders(out: Path, protocols: Sequence[Protocol]) -> list[Path]:
    """Where each protocol's result goes."""
    return [out / p.name for p in protocols] if len(protocols) > 1 else [out]


def _require_out(folders: Sequence[Path], method: str) -> None:
    """Before the work: that the results can be written, and take no other method's place."""
    for folder in folders:
        _require_writable(folder, "--out", "another folder")
        if (folder / RESULT_FILE).exists():
            there = read_result(folder).method
            if there != method:
                raise EvalError(
                    f"--out {folder}: holds the result of '{there}', this run is '{method}': name "
                    "another folder, or delete it"
                )


def _require_writable(folder: Path, option: str, remedy: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise EvalError(
            f"{option} {folder}: nothing can be written there ({error.strerror}): name {remedy}"
        ) from error


def _write_baselines(directory: Path, pairs: Sequence[Pair], names: Sequence[str]) -> None:
    frames = sum(pair.num_frames for pair in pairs)
    with tqdm(total=frames, unit="frame", disable=None) as progress:
        for video_id, written in write_baselines(directory, pairs, names):
            progress.set_postfix_str(video_id)
            progress.update(written)
    for name in names:
        print(f"written: {directory / name}")


def _write(directory: Path, evaluation: Evaluation, pairs: Sequence[Pair]) -> None:
    write_result(directory, evaluation.result)
    keys = list(evaluation.per_frame[pairs[0].video_id])
    with (directory / "per_frame.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["video", "frame", *keys])
        for pair in pairs:
            columns = [evaluation.per_frame[pair.video_id][key].tolist() for key in keys]
            for number, *values in zip(pair.frame_numbers, *columns, strict=True):
                table.writerow([pair.video_id, number, *("" if v != v else v for v in values)])


def _print_results(results: Sequence[Result]) -> None:
    first = results[0]
    print(
        f"\n{first.protocol} ({first.protocol_hash[:12]}), "
        f"{first.num_videos} videos, {first.num_frames} frames"
    )
    order = list(_HEADINGS)
    keys = sorted(first.metrics, key=lambda k: order.index(k) if k in order else len(order))
    rows = [["", *map(_heading, keys)]]
    for result in results:
        cells = [_cell(result.metrics[k].value) if k in result.metrics else "" for k in keys]
        rows.append([result.method, *cells])
    print(text_table(rows))
    if {"psnr", "psnr_overflow"} <= first.metrics.keys():
        print("  PSNR: squared in 8 bits, as the published columns are; PSNR*: true")
    for key in keys:
        metric = first.metrics[key]
        for text in (metric.unavailable and f"unavailable: {metric.unavailable}", metric.note):
            if text:
                print(f"  {_heading(key)}: {text}")


def _heading(key: str) -> str:
    metric, at, region = key.partition("@")
    return _HEADINGS.get(metric, metric) + at + region


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2E}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"
