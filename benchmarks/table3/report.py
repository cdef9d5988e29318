r"""The miniature Table 3 as Markdown, from the records that run.py left.

    python benchmarks/table3/report.py table3-out --write docs/table3.md \
        --picture docs/images/table3.png

All runs are reported, also those that went badly; where runs are missing, that is said.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from budget import VARIANTS, Budget, read_budget
from pictures import draw_sheet
from scores import DIGITS, OURS, Run, Scores, read_runs

from aa_eval.comparison import claim, compare
from aa_eval.result import Result

_HEADINGS = {"ssim": "SSIM ↑", "psnr": "PSNR ↑ (dB)", "lpips_alex": "LPIPS alex ↓", "fvd": "FVD ↓"}
_SETTING = """\
By `benchmarks/table3/run.py`. Preset `{preset}`. {train} training puppets, {test} held-out ones of
other identities and motions: all synthetic. All runs start from one UNet, pre-trained for
{pretraining} steps on the training puppets without reference and without pose, which stands for
Stable Diffusion; ReferenceNet starts as its copy, as in the paper. Autoencoder and image encoder
are those of `{start}`, frozen. **The image encoder is a small one that this project trained on
puppets, contrastively. It is not CLIP**, whatever the variants' names say.

Every variant gets {stage_1} + {stage_2} optimiser steps, stage 1 and stage 2, of {c1} x {f1} and
{c2} x {f2} frames, at the same learning rates. Where there is a ControlNet, half of stage 1
fine-tunes the UNet and half trains the ControlNet. Equal steps are not equal computation:
ReferenceNet and ControlNet are further networks. Budget, learning rates and metrics were fixed
before the first run; all runs are reported.
"""
_FOOTAGE = """\
## On real footage

{videos} real clips that ship in packages, poses estimated. No variant was trained on footage, and
none is expected to carry over: the repeated reference says what doing nothing scores. Mean and
95 % interval over clips and seeds.
"""
_PICTURE = """\
![The reference, what each variant generates, and the true frame]({path})

The first three held-out puppets by their ids, in the middle and at the end of the video,
seed {seed} (`benchmarks/table3/pictures.py`)."""
_MADE = """\
Trained and animated on: {device}; {cores} cores, {threads} thread a run; torch {torch}; {date}.
Scored on: {scored}. Minutes are the clock's, with as many runs side by side as there are cores
and whatever else the machine did, pauses included; of a step that was killed and went on, those of
its last part. The budget meant {meant:g} at most.
"""
_SCOPE = """\
{protocol}, {videos} held-out videos. Mean and 95 % interval over videos and seeds
(`benchmarks/table3/intervals.py`): it takes in other puppets and other runs, but not another
pre-training, and is not corrected for the number of metrics. FVD has no value per video, so that
its differences are not paired.
"""


def table(rows: list[list[str]]) -> list[str]:
    """Markdown; the first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def introduce(budget: Budget, runs: dict[tuple[str, int], Run]) -> list[str]:
    total = len(budget.runs())
    lines = ["# Miniature Table 3: four ways to show the reference", ""]
    if budget.kind == "trial":
        lines += ["**A trial of the chain: these numbers mean nothing.**", ""]
    if len(runs) < total:
        lines += [f"**{len(runs)} of {total} runs are made: not a result yet.**", ""]
    setting = _SETTING.format(
        preset=budget.preset,
        start=budget.start,
        train=budget.puppets["train"],
        test=budget.puppets["test"],
        pretraining=budget.pretraining["steps"],
        stage_1=budget.stage_1["steps"],
        c1=budget.stage_1["batch_size"],
        f1=budget.stage_1["num_frames"],
        stage_2=budget.stage_2["steps"],
        c2=budget.stage_2["batch_size"],
        f2=budget.stage_2["num_frames"],
    )
    return [*lines, setting]


def report(out: Path, budget: Budget, picture: str | None = None) -> str:
    """The page; `picture` is where the sheet of pictures.py lies, as seen from it."""
    runs = read_runs(out, budget)
    lines = introduce(budget, runs)
    if picture is not None:
        lines += [_PICTURE.format(path=picture, seed=budget.seeds[0]), ""]
    if runs:
        lines += results(budget, runs) + on_footage(budget, runs)
        lines += list_runs(budget, runs) + seed_by_seed(runs)
    return "\n".join(lines).rstrip() + "\n"


def by_variant(scores: list[Scores], still: Result) -> list[list[str]]:
    rows = [["", *(_HEADINGS[s.metric] for s in scores)]]
    rows += [[f"`{v}`", *(s.show(s.estimates.get(v)) for s in scores)] for v in VARIANTS]
    baseline = [still.metrics[s.metric].value for s in scores]
    rows.append(["the reference, repeated", *(
        "-" if value is None else f"{value:.{DIGITS[s.metric]}f}"
        for s, value in zip(scores, baseline, strict=True))])  # fmt: skip
    return rows


def on_footage(budget: Budget, runs: dict[tuple[str, int], Run]) -> list[str]:
    """Without FVD, which some clips cannot give, and without verdicts."""
    scored = {key: one.on_footage() for key, one in runs.items() if one.real is not None}
    if not scored:
        return []
    metrics = [metric for metric in budget.evaluation["metrics"] if metric != "fvd"]
    scores = [Scores(scored, metric) for metric in metrics]
    first = next(iter(scored.values()))
    head = _FOOTAGE.format(videos=first.result.num_videos)
    return [head, *table(by_variant(scores, first.still)), ""]


def results(budget: Budget, runs: dict[tuple[str, int], Run]) -> list[str]:
    scores = [Scores(runs, metric) for metric in budget.evaluation["metrics"]]
    still = next(iter(runs.values())).still
    rows = by_variant(scores, still)
    verdicts = [["", "best other", "ReferenceNet minus it", "so"]]
    complete = len(runs) == len(budget.runs())
    for s in scores:
        other = s.best_other()
        if not complete:
            verdicts.append([_HEADINGS[s.metric], "-", "-", "runs are missing"])
            continue
        if other is None:
            verdicts.append([_HEADINGS[s.metric], "-", "-", "not measured for all four"])
            continue
        found = s.difference(other)
        shown = s.show(found, sign=True)
        verdicts.append([_HEADINGS[s.metric], f"`{other}`", shown, s.verdict(found)])
    first = next(iter(runs.values())).result
    scope = _SCOPE.format(protocol=first.protocol, videos=first.num_videos)
    return [scope, *table(rows), "", *table(verdicts), ""]


def list_runs(budget: Budget, runs: dict[tuple[str, int], Run]) -> list[str]:
    metrics = budget.evaluation["metrics"]
    rows = [["run", *(_HEADINGS[m] for m in metrics), "minutes"]]
    for (variant, seed), one in runs.items():
        found = [one.result.metrics[m].value for m in metrics]
        values = ["-" if v is None else f"{v:.{DIGITS[m]}f}"
                  for m, v in zip(metrics, found, strict=True)]  # fmt: skip
        rows.append([f"`{variant}`, seed {seed}", *values, f"{one.minutes:.0f}"])
    first = next(iter(runs.values()))
    record, scored = first.record, first.result.machine
    # The records of the first runs do not say: they were scored where they were made.
    made = _MADE.format(**{"device": scored, **record}, scored=scored, meant=budget.minutes_per_run)
    return ["## All runs", "", *table(rows), "", made]


def seed_by_seed(runs: dict[tuple[str, int], Run]) -> list[str]:
    """What `aa-eval compare` says of ReferenceNet (A) and each other (B), seed by seed."""
    lines = [
        f"- `{variant}`, seed {seed}: {claim(a, one.result, compare(a, one.result))}"
        for (variant, seed), one in runs.items()
        if variant != OURS and (OURS, seed) in runs
        for a in [runs[OURS, seed].result]
    ]
    if not lines:
        return []
    head = "`aa-eval compare` of ReferenceNet (A) with each other (B), within one seed:"
    return ["## Seed by seed", "", head, "", *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of run.py's runs")
    parser.add_argument("--write", type=Path, required=True, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw it, and show it")
    args = parser.parse_args()
    budget = read_budget(args.out / "budget.toml")
    picture = None
    if args.picture:
        draw_sheet(args.out, budget.seeds[0]).save(args.picture, optimize=True)
        picture = os.path.relpath(args.picture, args.write.parent)
    args.write.write_text(report(args.out, budget, picture), encoding="utf-8")
    print(f"written: {args.write}")


if __name__ == "__main__":
    main()
