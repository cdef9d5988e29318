"""What demo/learn/measure.sh found, as one Markdown table; and which settings validation prefers.

usage: python demo/learn/measure_table.py choose RESULTS
       python demo/learn/measure_table.py table OUT
"""

from __future__ import annotations

from pathlib import Path

import cyclopts
from tabulate import tabulate

from aa_eval import MetricValue, Result, compare, read_result

app = cyclopts.App(help="Tables of demo/learn/measure.sh.")
_CLEAN, _TEMPORAL = "aa-clean-v2", "aa-temporal-v1"
_OF_FRAMES = ("psnr", "ssim", "lpips_alex", "lpips_vgg", "psnr@person", "ssim@person",
              "lpips_alex@person", "lpips_vgg@person", "pck", "akd", "fvd")  # fmt: skip
_OF_TIME = ("flicker", "warp_error", "tlpips", "dtssd")


@app.command
def choose(results: Path) -> None:
    """Print the settings with the lowest sum of both LPIPS."""

    def distance(folder: Path) -> float:
        metrics = read_result(folder).metrics
        return sum(_known(metrics[name]) for name in ("lpips_alex", "lpips_vgg"))

    folders = [path.parent for path in sorted(results.glob("*/result.json"))]
    print(min(folders, key=distance).name)


@app.command
def table(out: Path) -> None:
    """Print everything that was measured of a checkpoint."""
    results = out / "test" / "results"
    clean, temporal = (
        {
            name: read_result(results / name / kind)
            for name in ("with", "repeated", "references-few")
        }
        for kind in (_CLEAN, _TEMPORAL)
    )
    with_, repeated = clean["with"], clean["repeated"]
    print(f"\n{with_.num_videos} held-out puppets, {(out / 'chosen').read_text().strip()}\n")
    differences = {row.key: row for row in compare(with_, repeated)}
    rows = []
    for metric in _OF_FRAMES:
        if metric in with_.metrics:
            row = differences.get(metric)
            interval = "" if row is None else f"{row.ci_low:+.3f} to {row.ci_high:+.3f}"
            values = [_shown(each, metric) for each in clean.values()]
            rows.append([metric, *values, interval])
    for metric in _OF_TIME:
        if metric in temporal["with"].metrics:
            rows.append([metric, *(_shown(each, metric) for each in temporal.values()), ""])
    columns = ["", "network", "repeated reference", "true frames", "difference, 95 %"]
    print(tabulate(rows, columns, tablefmt="github", disable_numparse=True))
    with_few, without, autoencoder = (
        read_result(_folder(results / name)) for name in ("with-few", "without", "autoencoder")
    )
    print(f"\n{without.num_videos} of them, with and without the temporal layers\n")
    true = temporal["references-few"]
    rows = [
        [metric, *(_shown(each, metric) for each in (with_few, without, autoencoder, true))]
        for metric in _OF_TIME if metric in without.metrics
    ]  # fmt: skip
    columns = ["", "with", "without", "true frames through the autoencoder", "true frames"]
    print(tabulate(rows, columns, tablefmt="github", disable_numparse=True))
    print(f"\n{(out / 'autoencoder.txt').read_text()}")


def _folder(result: Path) -> Path:
    """Results of a single protocol lie in the folder itself."""
    return result if (result / "result.json").is_file() else result / _TEMPORAL


def _known(value: MetricValue) -> float:
    if value.value is None:
        raise SystemExit(f"not measured: {value.unavailable}")
    return value.value


def _shown(result: Result, metric: str) -> str:
    value = result.metrics.get(metric)
    if value is None or value.value is None:
        return ""
    digits = 1 if metric.startswith(("psnr", "fvd")) else 4 if "warp" in metric else 3
    text = f"{value.value:.{digits}f}"
    if value.ci_low is not None and value.ci_high is not None:
        text += f" ({value.ci_low:.{digits}f} to {value.ci_high:.{digits}f})"
    return text


if __name__ == "__main__":
    app()
