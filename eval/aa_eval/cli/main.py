"""`aa-eval`: score predictions against references; see `aa-eval --help`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from cyclopts import App

from aa_eval.cli.app import make_app, run_app
from aa_eval.errors import EvalError, WeightsUnavailable, counted
from aa_eval.options import EvaluateOptions, FolderOptions

# What takes time to import is imported by the command that needs it: `--help` needs none of it.

app = make_app(
    "aa-eval",
    "Score predicted videos against references, with trivial baselines for comparison. "
    "PREDICTIONS holds `<video>.mp4`, `<video>/<frame>.png`, `<video>_<frame>.png`, or WebDataset "
    "shards of `<video>.mp4`, named after the references.",
    example="aa-eval predictions/ --references references/ --out results/mine",
)
protocols_app = App(
    name="protocols",
    help="List the protocols: what is measured, and how.",
    help_epilogue="Example: `aa-eval protocols`",
)
benchmarks_app = App(
    name="benchmarks",
    help="List the benchmarks: public test splits.",
    help_epilogue="Example: `aa-eval benchmarks`",
)
app.command(protocols_app)
app.command(benchmarks_app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; errors are one line, exit status 2."""
    handler = _Printer()
    logger = logging.getLogger("aa_eval")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        return run_app(
            app,
            argv,
            errors=(EvalError,),
            when_stopped="finished videos are in the cache (unless it is off): the same command "
            "resumes there",
        )
    finally:
        logger.removeHandler(handler)


class _Printer(logging.Handler):
    """What the library tells: information to stdout, warnings to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            print(f"aa-eval: warning: {record.getMessage()}", file=sys.stderr)
        else:
            print(record.getMessage())


@app.default
def score(
    predictions: Path | None = None,
    /,
    *,
    options: EvaluateOptions = EvaluateOptions(),  # noqa: B008 - frozen
    write_baselines: Path | None = None,
    segments: int | None = None,
) -> int:
    """Score PREDICTIONS and print a table; --out writes result.json and the CSV files.

    Args:
        predictions: Folder of the videos to score.
        write_baselines: Write the trivial predictions (all, or those of --baselines) as folders of
            PNG, for other tools to score; without PREDICTIONS that is all that is done.
        segments: For long videos: cut each into so many equal parts, and print the method's values
            in each and the slope; `aa-eval drift` does so later.
    """
    from aa_eval.cli.table import drift_table, result_table
    from aa_eval.evaluation import evaluate
    from aa_eval.protocol import list_protocols, protocol_of_module, read_protocol
    from aa_eval.segments import drift

    if segments is not None and segments < 2:
        raise EvalError(f"--segments {segments}: expected 2 at least")
    predictions, options = _behind_the_protocols(predictions, options)
    if write_baselines is not None:
        _write_baselines(write_baselines, predictions, options)
        if predictions is None:
            return 0
    results = evaluate(predictions, **vars(options))
    protocols = [read_protocol(name) for name in (*list_protocols(), *options.protocols)]
    if options.metric_module is not None:
        protocols.append(protocol_of_module(options.metric_module))
    by_hash = {protocol.hash: protocol for protocol in protocols}
    for found in dict.fromkeys(result.protocol_hash for result in results):
        of_protocol = [result for result in results if result.protocol_hash == found]
        print("\n" + result_table(of_protocol, by_hash[found]))
        if segments is not None:
            print("\n" + drift_table(drift(of_protocol[0], segments), by_hash[found]))
    if options.out:
        print(f"\nwritten: {options.out}")
    return 0


def _behind_the_protocols(
    predictions: Path | None, options: EvaluateOptions
) -> tuple[Path | None, EvaluateOptions]:
    """PREDICTIONS may stand after `--protocol NAME NAME`, which takes every word that follows."""
    from aa_eval.protocol import list_protocols

    *names, last = options.protocols or ("",)
    known = last in list_protocols() or last.endswith(".toml")
    if predictions is None and names and not known:
        return Path(last), replace(options, protocols=tuple(names))
    return predictions, options


def _write_baselines(directory: Path, predictions: Path | None, options: EvaluateOptions) -> None:
    from aa_eval.evaluation import pair_folders
    from aa_eval.progress import progress
    from aa_eval.scoring.baselines import choose_baselines, write_baselines

    if options.reference_images is not None:
        raise EvalError(
            "--write-baselines needs true videos: without, the baselines are the photo and the "
            "method's own first frame"
        )
    given = options.baselines != EvaluateOptions().baselines
    names = choose_baselines(options.baselines if given else "all")
    pairs, _ = pair_folders(predictions, options, references_only=predictions is None)
    frames = sum(pair.num_frames for pair in pairs)
    with progress(desc="writing", unit="frame", total=frames) as shown:
        for _, written in write_baselines(directory, pairs, names):
            shown.update(written)
    for name in names:
        print(f"written: {directory / name}")


@app.command(help_epilogue="Example: `aa-eval check predictions/ --references references/`")
def check(
    predictions: Path | None = None,
    /,
    *,
    options: FolderOptions = FolderOptions(),  # noqa: B008 - frozen
) -> int:
    """Pair the folders and check headers and first frames; decode nothing else.

    PREDICTIONS alone are checked for what needs no reference.
    """
    from aa_eval.evaluation import pair_folders

    if options.references is None and options.benchmark is None:
        if predictions is None:
            raise EvalError("PREDICTIONS is missing: the folder to check")
        alone = replace(options, references=predictions)
        pairs, _ = pair_folders(None, alone, references_only=True)
        fit, unpaired = "video", " (no references given: not paired)"
    else:
        pairs, _ = pair_folders(predictions, options)
        fit, unpaired = "pair", ""
    frames = counted(sum(pair.num_frames for pair in pairs), "frame")
    print(f"{counted(len(pairs), fit)}{unpaired}, {frames}: fit to be scored")
    return 0


@app.command(help_epilogue="Example: `aa-eval compare results/mine results/theirs`")
def compare(a: Path, b: Path, /) -> int:
    """Compare two results A - B as paired differences over videos.

    Args:
        a: folder with a result.json.
        b: another.
    """
    from aa_eval import comparison
    from aa_eval.cli.table import text_table
    from aa_eval.result import read_result
    from aa_eval.verify import require_own_numbers

    ours, theirs = read_result(a), read_result(b)
    for result in (ours, theirs):
        require_own_numbers(result)
    differences = comparison.compare(ours, theirs)
    print(
        f"A = {ours.method}, B = {theirs.method}, {ours.protocol}; means over videos, 95 % interval"
    )
    rows = [list(asdict(differences[0]))]
    rows += [[_number(value) for value in asdict(d).values()] for d in differences]
    print(text_table(rows))
    print(comparison.claim(ours, theirs, differences))
    return 0


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.6g}"


@app.command(name="drift", help_epilogue="Example: `aa-eval drift results/mine --segments 5`")
def drift_command(result: Path, /, *, segments: int = 5) -> int:
    """Show whether a result's videos get worse the longer they run.

    Args:
        result: folder with a result.json and a per_frame.csv.
        segments: into how many equal parts each video is cut.
    """
    from aa_eval.cli.table import drift_table
    from aa_eval.protocol import read_protocol
    from aa_eval.result import read_result
    from aa_eval.segments import drift

    scored = read_result(result)
    print(f"{scored.method} under {scored.protocol}", end=", ")
    print(drift_table(drift(scored, segments), read_protocol(scored.protocol)))
    return 0


@app.command(
    help_epilogue="Example: `aa-eval export-vbench predictions/ --reference-images photos/ "
    "--out for-vbench`"
)
def export_vbench(predictions: Path, /, *, reference_images: Path, out: Path) -> int:
    """Write the folder that VBench-I2V scores, and print its command.

    Args:
        predictions: folder of the videos.
        reference_images: folder of the photos that were animated, `<video>.png`.
        out: folder to write to.
    """
    from aa_eval.vbench import MANIFEST_FILE
    from aa_eval.vbench import export_vbench as export

    command = export(predictions, reference_images, out)
    print(f"written: {out}; in a checkout of VBench run\n{command}\nand then")
    print(
        f"aa-eval import-vbench results_*_eval_results.json --manifest {out / MANIFEST_FILE} "
        "--commit COMMIT --out results/vbench"
    )
    return 0


@app.command(
    help_epilogue="Example: `aa-eval import-vbench results_eval_results.json --manifest "
    "for-vbench/manifest.json --commit 45e79ec --out results/vbench`"
)
def import_vbench(results: Path, /, *, manifest: Path, commit: str, out: Path | None = None) -> int:
    """Read what VBench-I2V found: columns `vbench_<dimension>`, by video and with intervals.

    Args:
        results: `results_<date>_eval_results.json` of VBench.
        manifest: what `aa-eval export-vbench` wrote.
        commit: the commit of VBench; results of other commits are not compared.
        out: folder to write the result to.
    """
    from aa_eval.cli.table import text_table
    from aa_eval.result import write_result
    from aa_eval.vbench import import_vbench as read

    result = read(results, manifest, commit)
    rows = [["", result.method, "95 % interval"]]
    for key, metric in result.metrics.items():
        ends = (metric.ci_low, metric.ci_high)
        interval = "-" if None in ends else " ".join(f"{end:.4f}" for end in ends)
        rows.append([f"{key} ↑", f"{metric.value:.4f}", interval])
    print(f"{result.protocol}, {counted(result.num_videos, 'video')}\n{text_table(rows)}")
    if out is not None:
        write_result(out, result)
        print(f"written: {out}")
    return 0


@app.command(help_epilogue="Example: `aa-eval verify results/mine --references references/`")
def verify(result: Path, /, *, references: Path) -> int:
    """Check that a result has a known protocol, and was scored against these frames.

    Args:
        result: folder with a result.json.
        references: folder of the true videos.
    """
    from aa_eval.result import read_result
    from aa_eval.verify import verify_references
    from aa_eval.videos.layout import find_videos

    found = verify_references(read_result(result), find_videos(references))
    for sentence in found.trimmed:
        print(sentence)
    if found.not_scored:
        print(
            f"not in the result: {counted(len(found.not_scored), 'reference')} "
            f"({found.not_scored[0]}, ...)"
        )
    print(f"{counted(found.num_videos, 'reference')}: the frames that {result} was scored against")
    return 0


@protocols_app.default
def list_them() -> int:
    """List the protocols: name, hash and what it is."""
    from aa_eval.protocol import list_protocols, read_protocol

    for name in list_protocols():
        protocol = read_protocol(name)
        print(f"{name}  {protocol.hash[:12]}  {protocol.description}")
    return 0


@protocols_app.command(help_epilogue="Example: `aa-eval protocols show aa-clean-v2`")
def show(name: str, /) -> int:
    """Print one protocol's TOML file, with its hash.

    Args:
        name: one of `aa-eval protocols`.
    """
    from aa_eval.protocol import protocol_text, read_protocol

    print(f"# hash: {read_protocol(name).hash}\n{protocol_text(name)}", end="")
    return 0


@benchmarks_app.default
def list_benchmarks_() -> int:
    """List the benchmarks: name, number of videos and what it is."""
    from aa_eval.videos.benchmark import list_benchmarks, read_benchmark

    for name in list_benchmarks():
        benchmark = read_benchmark(name)
        print(f"{name}  {benchmark.size}  {benchmark.title}")
    return 0


@benchmarks_app.command(name="show", help_epilogue="Example: `aa-eval benchmarks show tiktok`")
def show_benchmark(name: str, /) -> int:
    """Print one benchmark: ids, layout, protocols, and where the data come from.

    Args:
        name: one of `aa-eval benchmarks`.
    """
    from aa_eval.videos.benchmark import read_benchmark

    print(read_benchmark(name).describe())
    return 0


@app.command(help_epilogue="Example: `aa-eval weights`")
def weights() -> int:
    """Show which weight files are there, and whether they are the right ones."""
    from aa_eval.features.networks import OWN_WEIGHTS
    from aa_eval.weights.weight_files import verify_own_weight, weight_status

    rows = weight_status()
    for row in rows:
        print(f"{row.status:8} {row.name:20} {(row.sha256 or '-')[:12]:12} {row.location}")
        if row.remedy:
            print(f"         {row.remedy}")
    for name, weight in OWN_WEIGHTS.items():
        try:
            path, sha256 = verify_own_weight(weight)
            print(f"{'ok':8} {name:20} {sha256[:12]:12} {path}")
        except WeightsUnavailable as error:  # optional: none of the other metrics needs it
            print(f"{'absent':8} {error}")
    return 0 if all(row.status == "ok" for row in rows) else 2


if __name__ == "__main__":
    sys.exit(main())
