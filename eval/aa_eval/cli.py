"""`aa-eval`: score predictions against references; see `aa-eval --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from aa_eval.baselines import BASELINES, FAST, choose_baselines
from aa_eval.compare import compare
from aa_eval.errors import EvalError
from aa_eval.evaluate import Evaluation, evaluate
from aa_eval.layout import LAYOUTS, find_videos
from aa_eval.pairing import PROBLEMS, Pair, make_pairs
from aa_eval.protocol import list_protocols, read_protocol
from aa_eval.result import Result, read_result, write_result
from aa_eval.weights import weight_status

_DEFAULT_PROTOCOLS = {
    "tiktok": ["tiktok-disco-2023", "aa-clean-v1"],
    "ubc": ["ubc-aa-inferred", "aa-clean-v1"],
    None: ["aa-clean-v1"],
}
_TEST_VIDEOS = {"tiktok": 10, "ubc": 100}  # DisCo's split; the dataset's own

EPILOG = """other commands (first word):
  aa-eval check PREDICTIONS --references DIR   pair and check, decode nothing
  aa-eval compare A B                          two result folders, paired over videos
  aa-eval protocols [show NAME]                what is measured, and how
  aa-eval weights                              which weights are there, and unaltered
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; errors are one line, exit status 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {"check": _check, "compare": _compare, "protocols": _protocols, "weights": _weights}
    run, rest = _evaluate, words
    if words and words[0] in commands:
        run, rest = commands[words[0]], words[1:]
    try:
        return run(rest)
    except (EvalError, OSError) as error:
        text = " ".join(str(error).split())
        print(f"aa-eval: error: {text}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # argparse says NoReturn
        raise EvalError(f"{message} (see {self.prog} --help)")


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions", type=Path, metavar="PREDICTIONS",
        help="folder of <video>.mp4, <video>/<frame>.png, or <video>_<frame>.png",
    )  # fmt: skip
    parser.add_argument("--references", type=Path, required=True, metavar="DIR", help="the same")
    parser.add_argument("--layout", choices=LAYOUTS, help="of both folders; found out if not given")
    parser.add_argument(
        "--allow", action="append", default=[], choices=PROBLEMS, metavar="PROBLEM",
        help=f"do not refuse this, and say so in the result: {', '.join(PROBLEMS)}",
    )  # fmt: skip


def _pairs(options: argparse.Namespace) -> tuple[list[Pair], tuple[str, ...]]:
    predictions = find_videos(options.predictions, options.layout)
    references = find_videos(options.references, options.layout)
    print(f"predictions {predictions.describe()}\nreferences  {references.describe()}")
    return make_pairs(predictions, references, frozenset(options.allow))


def _evaluate(words: list[str]) -> int:
    parser = _Parser(
        prog="aa-eval",
        description="Score predicted videos against references, with trivial baselines beside.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_folders(parser)
    parser.add_argument(
        "--protocol", nargs="+", metavar="NAME", default=None,
        help=f"one or several of: {', '.join(list_protocols())}",
    )  # fmt: skip
    parser.add_argument("--benchmark", choices=["tiktok", "ubc"], help="what the references are")
    parser.add_argument(
        "--baselines", default="fast", metavar="fast|all|off|NAME,NAME",
        help=f"of {', '.join(BASELINES)}; fast (the default): {', '.join(FAST)}",
    )  # fmt: skip
    parser.add_argument("--keypoints", type=Path, metavar="DIR", help="<video>.npz of predictions")
    parser.add_argument("--reference-keypoints", type=Path, metavar="DIR", help="of references")
    parser.add_argument("--method", metavar="NAME", help="name in the result; else the folder's")
    parser.add_argument("--label", default="measured", help='what the row is, e.g. "demo"')
    parser.add_argument("--device", default="cpu", help='"cpu" (the default) or "cuda"')
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write the results")
    options = parser.parse_args(words)
    if (options.keypoints is None) != (options.reference_keypoints is None):
        raise EvalError("--keypoints and --reference-keypoints belong together: give both")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise EvalError(f"--device {options.device}: torch sees no CUDA device: use cpu")
    names = list(dict.fromkeys(options.protocol or _DEFAULT_PROTOCOLS[options.benchmark]))
    protocols = [read_protocol(name) for name in names]
    baselines = choose_baselines(options.baselines)
    method = options.method or options.predictions.resolve().name
    if method in BASELINES:
        raise EvalError(f"--method {method}: the name of a trivial baseline: choose another")
    pairs, overrides = _pairs(options)
    expected = _TEST_VIDEOS.get(options.benchmark or "")
    if expected is not None and len(pairs) != expected:
        overrides += (f"benchmark {options.benchmark}: {len(pairs)} of {expected} test videos",)
    for override in overrides:
        print(f"aa-eval: warning: {override}", file=sys.stderr)
    keypoints = (options.keypoints, options.reference_keypoints) if options.keypoints else None
    evaluations = evaluate(
        pairs, protocols, method=method, label=options.label, benchmark=options.benchmark,
        baselines=baselines, overrides=overrides, keypoints=keypoints, device=options.device,
    )  # fmt: skip
    for name in names:
        rows = [e for e in evaluations if e.result.protocol == name]
        _print_table([row.result for row in rows])
        if options.out:
            out = options.out / name if len(names) > 1 else options.out
            for row in rows:
                is_baseline = row.result.label == "baseline" and row.result.method != method
                _write(out / "baselines" / row.result.method if is_baseline else out, row, pairs)
    if options.out:
        print(f"\nwritten: {options.out}")
    return 0


def _write(directory: Path, evaluation: Evaluation, pairs: Sequence[Pair]) -> None:
    write_result(directory, evaluation.result)
    tables = []
    for pair in pairs:
        columns = {"video": pair.video_id, "frame": pair.frame_numbers}
        tables.append(pd.DataFrame(columns | evaluation.per_frame[pair.video_id]))
    pd.concat(tables).to_csv(directory / "per_frame.csv", index=False)


def _print_table(results: Sequence[Result]) -> None:
    first = results[0]
    keys = sorted(first.metrics, key=lambda k: (k != "ssim", not k.startswith("psnr")))
    print(
        f"\n{first.protocol} ({first.protocol_hash[:12]}), "
        f"{first.num_videos} videos, {first.num_frames} frames"
    )
    rows = [["", *keys]]
    for result in results:
        cells = [_cell(result.metrics[k].value) if k in result.metrics else "" for k in keys]
        rows.append([result.method, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for key in keys:
        metric = first.metrics[key]
        for text in (metric.unavailable and f"unavailable: {metric.unavailable}", metric.note):
            if text:
                print(f"  {key}: {text}")


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2E}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"


def _check(words: list[str]) -> int:
    parser = _Parser(prog="aa-eval check", description="Pair and check headers; decode nothing.")
    _add_folders(parser)
    pairs, overrides = _pairs(parser.parse_args(words))
    for override in overrides:
        print(override)
    print(f"{len(pairs)} pairs, {sum(pair.num_frames for pair in pairs)} frames: fit to be scored")
    return 0


def _compare(words: list[str]) -> int:
    parser = _Parser(prog="aa-eval compare", description="Paired differences A - B over videos.")
    parser.add_argument("a", type=Path, metavar="A", help="folder with a result.json")
    parser.add_argument("b", type=Path, metavar="B", help="another")
    options = parser.parse_args(words)
    a, b = read_result(options.a), read_result(options.b)
    print(f"A = {a.method}, B = {b.method}, {a.protocol}; means over videos, 95 % interval")
    table = pd.DataFrame([asdict(row) for row in compare(a, b)]).set_index("key")
    print(table.to_string(float_format="{:.6g}".format, na_rep="-"))
    return 0


def _protocols(words: list[str]) -> int:
    parser = _Parser(prog="aa-eval protocols", description="List protocols, or show one.")
    parser.add_argument("verb", nargs="?", choices=["show"])
    parser.add_argument("name", nargs="?", metavar="NAME")
    options = parser.parse_args(words)
    if options.verb == "show":
        if options.name is None:
            raise EvalError(f"protocols show: which one? Choose from {', '.join(list_protocols())}")
        protocol = read_protocol(options.name)
        print(f"hash = {protocol.hash}")
        for field, value in asdict(protocol).items():
            for item in value if field == "metrics" else [value]:
                print(f"{field} = {item}")
        return 0
    for name in list_protocols():
        protocol = read_protocol(name)
        print(f"{name}  {protocol.hash[:12]}  {protocol.description}")
    return 0


def _weights(words: list[str]) -> int:
    _Parser(prog="aa-eval weights", description="State of the weights.").parse_args(words)
    rows = weight_status()
    for row in rows:
        print(f"{row.status:8} {row.name:12} {(row.sha256 or '-')[:12]:12} {row.location}")
        if row.remedy:
            print(f"         {row.remedy}")
    return 0 if all(row.status == "ok" for row in rows) else 2


if __name__ == "__main__":
    sys.exit(main())
