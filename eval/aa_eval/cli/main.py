"""`aa-eval`: score predictions against references; see `aa-eval --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path

from aa_eval.cli.folders import Parser, add_folders, read_pairs
from aa_eval.cli.score import evaluate_command
from aa_eval.cli.text_table import text_table
from aa_eval.compare import claim, compare
from aa_eval.errors import EvalError, WeightsUnavailable
from aa_eval.features.networks import RESNET3D_50
from aa_eval.protocol import list_protocols, read_protocol
from aa_eval.result import read_result
from aa_eval.verify import verify_references
from aa_eval.videos.benchmark import read_benchmark
from aa_eval.videos.layout import find_videos
from aa_eval.videos.pairing import make_pairs
from aa_eval.weights.installed import weight_status
from aa_eval.weights.user_files import verify_own_weight


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; errors are one line, exit status 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {
        "check": _check,
        "compare": _compare,
        "protocols": _protocols,
        "verify": _verify,
        "weights": _weights,
    }
    run, rest = evaluate_command, words
    if words and words[0] in commands:
        run, rest = commands[words[0]], words[1:]
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal may lack letters that a name has
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return run(rest)
    except (EvalError, OSError) as error:
        text = " ".join(str(error).split())
        print(f"aa-eval: error: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "finished videos are in the cache (unless it is off), the same command goes on there"
        print(f"aa-eval: stopped: {kept}", file=sys.stderr)
        return 130


def _check(words: Sequence[str]) -> int:
    parser = Parser(
        prog="aa-eval check",
        description="Pair and check headers, decode nothing; PREDICTIONS alone are checked for "
        "what needs no reference.",
    )
    add_folders(parser)
    options = parser.parse_args(words)
    if options.references or options.benchmark:
        benchmark = read_benchmark(options.benchmark) if options.benchmark else None
        pairs, overrides = read_pairs(options, benchmark)
        fit = "pairs"
    elif options.predictions is None:
        raise EvalError("PREDICTIONS is missing: the folder to check")
    else:
        folder = find_videos(options.predictions, options.layout)
        print(f"predictions {folder.describe()}")
        pairs, overrides = make_pairs(None, folder, frozenset(options.allow))
        fit = "videos (no references given: not paired)"
    for override in overrides:
        print(override)
    print(f"{len(pairs)} {fit}, {sum(pair.num_frames for pair in pairs)} frames: fit to be scored")
    return 0


def _compare(words: Sequence[str]) -> int:
    parser = Parser(prog="aa-eval compare", description="Paired differences A - B over videos.")
    parser.add_argument("a", type=Path, metavar="A", help="folder with a result.json")
    parser.add_argument("b", type=Path, metavar="B", help="another")
    options = parser.parse_args(words)
    a, b = read_result(options.a), read_result(options.b)
    differences = compare(a, b)
    print(f"A = {a.method}, B = {b.method}, {a.protocol}; means over videos, 95 % interval")
    rows = [list(asdict(differences[0]))]
    for difference in differences:
        rows.append([_number(value) for value in asdict(difference).values()])
    print(text_table(rows))
    print(claim(a, b, differences))
    return 0


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.6g}"


def _verify(words: Sequence[str]) -> int:
    parser = Parser(
        prog="aa-eval verify",
        description="Is the result of a known protocol, and was it scored against these frames?",
    )
    parser.add_argument("result", type=Path, metavar="RESULT", help="folder with a result.json")
    parser.add_argument("--references", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(words)
    found = verify_references(read_result(options.result), find_videos(options.references))
    for sentence in found.trimmed:
        print(sentence)
    if found.not_scored:
        print(f"not in the result: {len(found.not_scored)} references ({found.not_scored[0]}, ...)")
    print(f"{found.num_videos} references are the frames that {options.result} was scored against")
    return 0


def _protocols(words: Sequence[str]) -> int:
    parser = Parser(prog="aa-eval protocols", description="List protocols, or show one.")
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


def _weights(words: Sequence[str]) -> int:
    Parser(prog="aa-eval weights", description="State of the weights.").parse_args(words)
    rows = weight_status()
    for row in rows:
        print(f"{row.status:8} {row.name:12} {(row.sha256 or '-')[:12]:12} {row.location}")
        if row.remedy:
            print(f"         {row.remedy}")
    try:
        path, sha256 = verify_own_weight(RESNET3D_50)
        print(f"{'ok':8} {RESNET3D_50.name:12} {sha256[:12]:12} {path}")
    except WeightsUnavailable as error:  # optional: none of the other metrics needs it
        print(f"{'absent':8} {error}")
    return 0 if all(row.status == "ok" for row in rows) else 2


if __name__ == "__main__":
    sys.exit(main())
