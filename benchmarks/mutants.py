"""A mutation run: how many small faults in the code that decides do the tests notice?

usage: python benchmarks/mutants.py [--seed 0] [--sample 40] [--workers 2] [--room eval]

One run of the tests under coverage says which tests execute which line. Then faults are drawn by
seed from the modules in DECIDING, one at a time: a comparison, a bound, a sign, an axis, swapped
arguments, a default, a name, a dropped statement, a refusal. The tests that execute the line run
until one fails: those of the mirrored test file, then the others, the quick before the slow. Prints
a Markdown table of the share that was noticed, by sample and room, and each fault that was not.
Faults that change nothing a caller can see are listed, with the reason, in equivalent_mutants.toml,
and are left out of the share.

The working tree is never changed: each worker has its own copy, where it forks a process per fault
from one that has the large packages imported already.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import copy
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
ROOMS = ("datasets", "curation", "model", "eval", "leaderboard")
# What decides a number, a decision or what is kept, as globs inside of each package.
DECIDING: Mapping[str, str] = {
    "datasets": "atomic_file shards pose pose_drawing stats export* benchmarks/split "
    "benchmarks/lists loader/* video/canonical video/shown video/tone_map video/frame_size",
    "curation": "check recipe_hash filters/* measure/* crawl/* ledger/* corpus/*_duplicates "
    "corpus/identities corpus/purge corpus/verify corpus/write_shards poses/openpose_layout "
    "poses/region poses/strided",
    "model": "checkpoints/* inference/align_pose inference/denoise inference/pose_features "
    "networks/noise_schedule networks/windows networks/temporal networks/reference_attention "
    "networks/pillow_bicubic networks/pose_guider training/*_loss training/latent_cache "
    "training/timestep_losses training/samples training/stages",
    "eval": "metrics/* resize protocol statistics weights/* features/* functional result "
    "scoring/set_metrics scoring/feature_windows scoring/lpips_features videos/pairing "
    "videos/keypoints videos/regions videos/region_pairs videos/time_stamps",
    "leaderboard": "columns row table published paper_tables board/* study/* "
    "report/quotes report/text_tables report/table_view",
}
PRELOADED = "numpy pandas scipy.stats cv2 av PIL.Image torch torchvision skimage.metrics lpips "
PRELOADED += "diffusers transformers webdataset msgspec cyclopts hypothesis jinja2 matplotlib ray"

# The bound that is off by one case, and the direction that is wrong.
COMPARISONS: Mapping[type[ast.cmpop], tuple[type[ast.cmpop] | None, type[ast.cmpop]]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (None, ast.NotEq), ast.NotEq: (None, ast.Eq), ast.In: (None, ast.NotIn),
    ast.NotIn: (None, ast.In), ast.Is: (None, ast.IsNot), ast.IsNot: (None, ast.Is),
}  # fmt: skip
OPERATORS: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
PAIRS = "min max, any all, floor ceil, argmin argmax, minimum maximum, amin amax, left right, "
PAIRS += "height width, INTER_AREA INTER_LINEAR, INTER_CUBIC INTER_LINEAR, BICUBIC BILINEAR, "
PAIRS += "LANCZOS BICUBIC, mean median, sin cos, vstack hstack, update setdefault, first second"
NAMES = {a: b for pair in PAIRS.split(", ") for a, b in (pair.split(), reversed(pair.split()))}
SYMMETRIC = {"max", "min", "maximum", "minimum", "array_equal"}  # of their first two arguments
# Precautions: `zip(strict=)`, `mkdir(parents=)` and texts for people; and tolerances below 1e-5.
NEW_TEST_S = 0.5  # assumed of a test that is newer than the covered run
NOTICED = ("killed", "timeout")
LEFT_ALONE = {"strict", "exist_ok", "parents", "meaning", "heading", "desc", "unit", "encoding"}


Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault in `scope`, a function or a class: bytes `start` to `end` become `text`."""

    path: str
    scope: str
    line: int
    start: int
    end: int
    text: str
    kind: str
    at_import: bool
    scope_start: int

    def of(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]

    def key(self) -> Key:
        """The path, the scope, and the lines without and with the fault, on one line each.

        Of lines that a scope has several times, the second's scope ends in `#2`, and so on.
        """
        source = (ROOT / self.path).read_bytes()
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end) + 1 or len(source)
        mutated = source[first : self.start] + self.text.encode() + source[self.end : last]
        before, after = (" ".join(b.decode().split()) for b in (source[first:last], mutated))
        earlier = source[self.scope_start : first].split(b"\n")
        nth = 1 + sum(before == " ".join(line.decode().split()) for line in earlier)
        return self.path, self.scope + (f"#{nth}" if nth > 1 else ""), before, after


def written(node: ast.AST, **fields: object) -> str:
    """The source of `node` with other fields, in brackets where an operator may stand outside."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    loose = isinstance(node, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp)
    return f"({ast.unparse(other)})" if loose else ast.unparse(other)


def faults(node: ast.AST, parent: ast.AST) -> Iterator[tuple[str, str]]:
    """What may go wrong at `node`: the kind, and the source that stands there instead."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            bound, other = COMPARISONS[type(op)]
            if bound is not None:
                yield "bound", written(node, ops=[bound()])
            yield "comparison", written(node, ops=[other()])
        case ast.BoolOp(op=op):
            yield "and/or", written(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub() as op, operand=operand):
            yield "not" if isinstance(op, ast.Not) else "sign", f"({ast.unparse(operand)})"
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            yield "operator", written(node, op=OPERATORS[type(op)]())
        case ast.Constant(value=bool() as flag):
            yield "flag", str(not flag)
        case ast.Constant(value=int() as number):
            axis = isinstance(parent, ast.keyword) and parent.arg in ("axis", "dim")
            yield "axis" if axis else "constant", str(number - 1 if axis else number + 1)
            if number > 1 and not axis:
                yield "constant", str(number - 1)
        case ast.Constant(value=float() as number) if abs(number) >= 1e-5 or number == 0:
            yield "constant", repr(number * 1.25 if number else 0.5)
        case ast.Constant(value=str() as text):
            is_key = isinstance(parent, ast.Dict) and any(node is key for key in parent.keys)
            if is_key or isinstance(parent, ast.Subscript | ast.Compare | ast.Set):
                yield "key", repr(text + "_")
        case ast.Name(id=name) if name in NAMES:
            yield "name", NAMES[name]
        case ast.Attribute(attr=name) if name in NAMES:
            yield "name", written(node, attr=NAMES[name])
        case ast.Call(args=[a, b, *rest], func=function) if (
            ast.dump(a) != ast.dump(b) and ast.unparse(function).rpartition(".")[2] not in SYMMETRIC
        ):
            yield "swapped", written(node, args=[b, a, *rest])
        case ast.Tuple(
            elts=[ast.Name() | ast.Attribute() as a, ast.Name() | ast.Attribute() as b]
        ) if ast.dump(a) != ast.dump(b):
            yield "swapped", written(node, elts=[b, a])
        case ast.Raise(exc=ast.expr()):
            yield "refusal", "pass"
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Continue() | ast.Break():
            yield "dropped", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "dropped", "pass"
    if isinstance(parent, ast.If | ast.IfExp) and node is parent.test:
        yield "condition", "False"
        yield "condition", "True"


def is_left_alone(node: ast.AST) -> bool:
    """Whether no test needs to notice a fault in `node`: types, texts for people, precautions."""
    match node:
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.keyword(arg=name):
            return name in LEFT_ALONE
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.AnnAssign(value=None):
            return True
        case ast.Call(func=ast.Name(id="print" | "progress" | "Parameter" | "cast")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Call(func=ast.Name(id="isinstance" | "getattr" | "open")):
            return True
        case ast.Subscript(value=ast.Name(id="dict" | "tuple" | "defaultdict" | "Counter")):
            return True
    return False


def children(node: ast.AST) -> Iterator[ast.AST]:
    """Of `node`, without annotations, decorators, kinds of exceptions and their texts."""
    if not isinstance(node, ast.Raise):
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list", "bases", "type"):
                several = value if isinstance(value, list) else [value]
                yield from (child for child in several if isinstance(child, ast.AST))


def mutants_of(path: str) -> list[Mutant]:
    """Every fault that this script knows to put into one file."""
    source = (ROOT / path).read_bytes()
    starts = [0, *(m.end() for m in re.finditer(b"\n", source))]
    found: list[Mutant] = []

    def visit(node: ast.AST, parent: ast.AST, at_import: bool, scope: str, begin: int) -> None:
        if is_left_alone(node):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            scope, begin = f"{scope}.{node.name}".lstrip("."), starts[node.lineno - 1]
        for kind, text in faults(node, parent):
            start = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
            end = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
            if kind != "name" or text in known or "." in text:
                line: int = node.lineno  # type: ignore[attr-defined]
                found.append(Mutant(path, scope, line, start, end, text, kind, at_import, begin))
        function = isinstance(node, ast.FunctionDef | ast.Lambda)
        for child in children(node):
            inside = at_import and (not function or isinstance(child, ast.arguments))
            visit(child, node, inside, scope, begin)

    tree = ast.parse(source)
    known = {x.id for x in ast.walk(tree) if isinstance(x, ast.Name)} | set(dir(builtins))
    visit(tree, tree, True, "", 0)
    return found


def deciding_files(room: str) -> list[str]:
    package = ROOT / room / f"aa_{room}"
    files = {file for glob in DECIDING[room].split() for file in package.glob(f"{glob}.py")}
    return sorted(str(file.relative_to(ROOT)) for file in files)


def copy_of_tree(folder: Path) -> None:
    """What git tracks or does not ignore, as it is in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def python_path(tree: Path) -> str:
    return os.pathsep.join(str(tree / room) for room in ROOMS)


def environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path(tree), "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1"}  # fmt: skip


def measure_coverage(folder: Path, tree: Path, workers: int) -> None:
    """Runs the tests once, in a copy, room by room: who ran which line, and how long."""
    copy_of_tree(tree)
    for room in ROOMS:
        if not (folder / f"{room}.xml").exists():
            subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "loadfile",
                 "-p", "no:cacheprovider", "--cov", "--cov-context=test", "--cov-report=",
                 f"--junitxml={folder.resolve() / room}.xml", f"tests/{room}"], cwd=tree,
                env={**environment(tree), "COVERAGE_FILE": f"{folder.resolve() / room}.coverage"},
            )  # fmt: skip


@dataclass(frozen=True)
class Tests:
    """Which tests passed, in how many seconds, and which of them ran which line."""

    seconds: Mapping[str, float]
    of_line: Mapping[str, Mapping[int, set[str]]]
    left_out: set[str]

    def for_mutant(self, mutant: Mutant, most_s: float) -> list[str]:
        """The tests that may notice, mirrored file first, then the quickest, up to `most_s`.

        Of what runs at import, a constant say, that is every test of the file's lines. A test that
        is newer than the covered run counts if another of its file does, or if it is mirrored.
        """
        lines = self.of_line.get(mutant.path, {})
        mirror = f"/test_{Path(mutant.path).name}::"
        chosen = set(lines.get(mutant.line, ()))
        if mutant.at_import or not chosen:
            chosen = set().union(*lines.values()) | {t for t in self.seconds if mirror in t}
        chosen = {test for test in chosen if function_of(test) in tests_in_tree()}
        files = {test.partition("::")[0] for test in chosen}
        newer = tests_in_tree() - set(map(function_of, self.seconds)) - self.left_out
        chosen |= {t for t in newer if mirror in t or t.partition("::")[0] in files}
        seconds = {test: self.seconds.get(test, NEW_TEST_S) for test in chosen}
        ordered = sorted(chosen, key=lambda t: (mirror not in t, seconds[t], t))
        ends = accumulate(seconds[test] for test in ordered)
        return [t for n, (t, end) in enumerate(zip(ordered, ends, strict=True))
                if n == 0 or end <= most_s]  # fmt: skip


def function_of(test: str) -> str:
    """The test without its parameters."""
    return test.partition("[")[0]


@cache
def tests_in_tree() -> set[str]:
    """Every test function of the rooms, as pytest names it."""
    found = set()
    for room in ROOMS:
        for file in (ROOT / "tests" / room).rglob("test_*.py"):
            path = file.relative_to(ROOT).as_posix()
            names = re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
            found |= {f"{path}::{name}" for name in names}
    return found


def read_coverage(folder: Path) -> Tests:
    """Reads what `measure_coverage` left; a fixture's line counts for all tests of its file."""
    from coverage import CoverageData

    seconds: dict[str, float] = {}
    left_out: set[str] = set()
    of_file: dict[str, set[str]] = defaultdict(set)
    of_line: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for times in folder.glob("*.xml"):
        for case in ElementTree.parse(times).iter("testcase"):
            file = case.attrib["classname"].replace(".", "/") + ".py"
            test = f"{file}::{case.attrib['name']}"
            if any(child.tag in ("failure", "error", "skipped") for child in case):
                left_out.add(function_of(test))
            else:
                seconds[test] = float(case.attrib["time"])
                of_file[file].add(test)
    for file in folder.glob("*.coverage"):
        data = CoverageData(str(file))
        data.read()
        for measured in data.measured_files():
            room = next((room for room in ROOMS if f"/{room}/aa_{room}/" in measured), None)
            if room is None:
                continue
            lines = of_line[f"{room}/aa_{room}/" + measured.partition(f"/{room}/aa_{room}/")[2]]
            for line, contexts in data.contexts_by_lineno(measured).items():
                for context in contexts:
                    test, _, phase = context.rpartition("|")
                    same = of_file[test.partition("::")[0]] if phase == "setup" else {test}
                    lines[line] |= same & seconds.keys()
    return Tests(seconds, of_line, left_out)


def prepare_worker(folder: Path) -> None:
    """Gives this worker a tree of its own."""
    tree = folder / f"worker-{os.getpid()}"
    copy_of_tree(tree)
    os.chdir(tree)
    os.environ.update(environment(tree))
    sys.path[:0] = python_path(tree).split(os.pathsep)
    sys.dont_write_bytecode = True


def run_tests(tests: Sequence[str], cpu_s: float) -> tuple[str, str]:
    """Runs them in a fork of this process: "killed", "survived" or "timeout", and the output.

    The limit is of CPU time, so that a busy machine makes no fault look noticed.
    """
    log = Path("output.log").resolve()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 5))
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line"]
        code = pytest.main([*options, f"--basetemp={log.parent}.tmp", *tests])
        if code == pytest.ExitCode.USAGE_ERROR:  # parameters that changed since the covered run
            names = dict.fromkeys(map(function_of, tests))
            code = pytest.main([*options, f"--basetemp={log.parent}.tmp", *names])
        os._exit(code)
    end = time.monotonic() + 10 * cpu_s  # of a fault that waits for ever
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.05)
    if done == (0, 0):
        for child in psutil.Process(pid).children(recursive=True):
            child.kill()
        os.kill(pid, signal.SIGKILL)
        done = os.waitpid(pid, 0)
    outcome = "survived" if done[1] == 0 else "timeout" if os.WIFSIGNALED(done[1]) else "killed"
    return outcome, log.read_text(errors="replace")


def try_mutant(mutant: Mutant, tests: Sequence[str], cpu_s: float) -> tuple[str, str]:
    """The outcome for one mutant, and the test that noticed it."""
    file = Path(mutant.path)
    source = file.read_bytes()
    file.write_bytes(mutant.of(source))
    try:
        outcome, output = run_tests(tests, cpu_s) if tests else ("no test", "")
    finally:
        file.write_bytes(source)
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output, re.MULTILINE)
    if outcome == "killed" and failed and "::" in failed[1] and not passes_alone(failed[1]):
        outcome = "test fails without the fault"
    return outcome, failed[1] if failed else ""


@cache
def passes_alone(test: str) -> bool:
    """Whether the test passes without any fault; else it notices nothing."""
    return run_tests([test], 600)[0] == "survived"


def draw(room: str, seed: int, sample: int, only: str) -> list[Mutant]:
    """Draws lines first, then one fault on each: a long table does not crowd out short rules."""
    places: dict[tuple[str, int], list[Mutant]] = defaultdict(list)
    for path in deciding_files(room):
        if only in path:
            for mutant in mutants_of(path):
                places[mutant.path, mutant.line].append(mutant)
    chance = random.Random(f"{seed} {room}")
    lines = chance.sample(sorted(places), min(sample, len(places)))
    return [chance.choice(places[line]) for line in lines]


def read_results(file: Path) -> list[dict[str, Any]]:
    """What earlier runs found, one row for each time that a fault was tried."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def key_of(row: Mapping[str, Any]) -> Key:
    return row["path"], row["scope"], row["before"], row["after"]


def not_noticed(rows: Sequence[Mapping[str, Any]], excused: Mapping[Key, str]) -> list[Mutant]:
    """The faults that earlier runs did not notice, where the code still is as it was."""
    latest = {key_of(row): row["outcome"] for row in rows}
    missed = {key for key, outcome in latest.items() if outcome not in NOTICED} - excused.keys()
    paths = sorted({key[0] for key in missed})
    return [m for path in paths for m in mutants_of(path) if m.key() in missed]


def share(noticed: int, made: int) -> str:
    return f"{noticed} of {made}, {100 * noticed / made:.0f} %" if made else "-"


def report(rows: Sequence[Mapping[str, Any]], excused: Mapping[Key, str]) -> str:
    """Shares by sample and room and by kind, then the faults that nothing notices, in Markdown.

    What tests of a fresh sample say is the column "noticed at first"; tests that were written for
    its survivors, and run by `--again`, count in the column after it.
    """
    first: dict[Key, Mapping[str, Any]] = {}
    latest: dict[Key, Mapping[str, Any]] = {}
    for row in rows:
        first.setdefault(key_of(row), row)
        latest[key_of(row)] = row
    groups: dict[str, dict[tuple[str, ...], Counter[str]]] = {
        "seed | date | room": defaultdict(Counter), "kind of fault": defaultdict(Counter),
    }  # fmt: skip
    survivors = []
    for key, row in first.items():
        since = latest[key]["outcome"] in NOTICED
        same = key in excused and not since
        room = key[0].partition("/")[0]
        for count in (
            groups["seed | date | room"][str(row["seed"]), row["date"], room],
            groups["kind of fault"][row["kind"],],
        ):
            at_first = row["outcome"] in NOTICED
            count.update(made=1, same=int(same), first=int(at_first), since=int(since))
        if not since:
            why = excused.get(key, f"**{latest[key]['outcome']}**")
            survivors.append(f"- `{key[0]}:{row['line']}` {key[1]}, {row['kind']}: {why}\n"
                             f"    - `{key[2]}`\n    - `{key[3]}`")  # fmt: skip
    lines = []
    for title, table in groups.items():
        heads = f"{title} | faults | change nothing | noticed at first | with the tests since"
        lines += [f"| {heads} |", "|---" * (heads.count("|") + 1) + "|"]
        for name, n in sorted(table.items()):
            counted = n["made"] - n["same"]
            shares = (share(n["first"], counted), share(n["since"], counted))
            lines.append(f"| {' | '.join((*name, str(n['made']), str(n['same']), *shares))} |")
        lines.append("")
    return "\n".join([*lines, "Not noticed:", "", *sorted(survivors)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, default=40, help="faults by room (default: 40)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--room", choices=ROOMS, action="append", help="only this; may be repeated")
    parser.add_argument("--only", default="", help="only files whose path holds this")
    parser.add_argument("--most-s", type=float, default=45, help="seconds of tests for one fault")
    parser.add_argument("--again", action="store_true", help="those of --results not noticed yet")
    parser.add_argument("--coverage", type=Path, help="a folder that keeps the covered run")
    parser.add_argument(
        "--results", type=Path, help="a file that gathers the faults of several runs"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        covered, gathered = args.coverage or folder, args.results or folder / "results.jsonl"
        covered.mkdir(parents=True, exist_ok=True)
        measure_coverage(covered, folder / "tree", args.workers)
        tests = read_coverage(covered)
        listed = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
        excused = {key_of(row): row["why"] for row in listed}
        rows = read_results(gathered)
        if args.again:
            mutants = not_noticed(rows, excused)
        else:
            tried = set(map(key_of, rows))
            drawn = [m for r in args.room or ROOMS
                     for m in draw(r, args.seed, args.sample, args.only)]  # fmt: skip
            mutants = [mutant for mutant in drawn if mutant.key() not in tried]
        random.Random(args.seed).shuffle(mutants)  # what an interrupted run leaves is a sample, too
        keys = {mutant: mutant.key() for mutant in mutants}  # a file may change while this runs
        chosen = [tests.for_mutant(mutant, args.most_s) for mutant in mutants]
        limits = [30 + 3 * sum(tests.seconds.get(test, NEW_TEST_S) for test in some)
                  for some in chosen]  # fmt: skip
        for package in PRELOADED.split():  # shared by all forks; a fault's own import is quick then
            importlib.import_module(package)
        with ProcessPoolExecutor(
            args.workers, get_context("fork"), initializer=prepare_worker, initargs=(folder,)
        ) as pool:
            running = {pool.submit(try_mutant, *one): one[0]
                     for one in zip(mutants, chosen, limits, strict=True)}  # fmt: skip
            for number, done in enumerate(as_completed(running), 1):
                mutant, (outcome, by) = running[done], done.result()
                path, scope, before, after = keys[mutant]
                row = {"seed": args.seed, "date": f"{date.today()}", "path": path, "scope": scope,
                       "line": mutant.line, "kind": mutant.kind, "before": before, "after": after,
                       "outcome": outcome, "by": by}  # fmt: skip
                with gathered.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{number}/{len(mutants)} {outcome}: {mutant.path}:{mutant.line}: {after}",
                      file=sys.stderr, flush=True)  # fmt: skip
        print(report(read_results(gathered), excused))


if __name__ == "__main__":
    main()
