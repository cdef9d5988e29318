"""How well a recipe decides: its accepts and reasons on labelled real clips.

    python benchmarks/studies/confusion.py CORPUS [--recipe RECIPE] [--weights DIR] [--json FILE]
                                            [--set NAME=VALUE ...] [--unlabelled] [--people-only]
                                            [--stop-after-s N]

CORPUS holds `corpus.csv` (columns clip, kind, source, licence) and `clips/`. A clip that the recipe
excludes by its form (its length, size or frame rate) is counted apart; `--set` is
that of `aa-curate redecide`, so that short and small clips can be judged, too. With --json all that
was measured is kept after each clip: the same command resumes there, and one with other
thresholds decides again without decoding.

Last come leave-one-source-out figures: the bounds of the filters on people are chosen on the clips
of all sources but one, from scratch, and applied to that one's.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aa_curation.check import Check, at_least, first_drop, with_thresholds
from aa_curation.ledger.redecide import parse_setting
from aa_curation.measure.people import People
from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.worker import Worker
from aa_datasets.atomic_file import replace_file

POSITIVE = frozenset({"fullbody-single", "upperbody", "head"})
FORM = frozenset({"low_resolution", "low_frame_rate", "too_short"})
NOBODY = frozenset({"not_a_person", "no_person"})
DRAWN = NOBODY | {"animation", "drawing"}
# The reasons that are right for a negative, by its kind; its form is right for any.
RIGHT = {
    "fullbody-two": {"several_persons", "identity_switches"},
    "negative-multi-person": {"several_persons"},
    "negative-animation": DRAWN,
    "negative-generated": DRAWN,
    "negative-skeleton": DRAWN,
    "negative-hands-only": NOBODY | {"incomplete_body"},
    "negative-no-person": NOBODY,
    "negative-scene-cuts": NOBODY | {"several_persons", "small_person", "identity_switches"},
    "negative-low-resolution": set(),
}
# Seen by eye: in this clip a man somersaults off a roof while the labelled woman walks by.
SEEN_OTHERWISE = {"clip_026.mp4": "fullbody-two"}
# What is chosen again for leave-one-source-out, in the recipes' order.
GATES = ("no_person", "several_persons", "not_a_person", "animation", "small_person",
         "incomplete_body")  # fmt: skip


_STOPPED = "people_only"


@dataclass(frozen=True)
class Span:
    """One clip that was cut from a file: what was measured, and a reason that was not measured."""

    checks: tuple[Check, ...]
    other_reason: str

    def reason(self, thresholds: Mapping[str, float]) -> str:
        """Why it is out, "" if it is not. What never was measured passes."""
        drop = first_drop(with_thresholds(self.checks, thresholds))
        return drop.reason if drop else self.other_reason


@dataclass(frozen=True)
class Row:
    """One file of the corpus; accepted if any of its spans is."""

    clip: str
    kind: str
    source: str
    spans: tuple[Span, ...]

    @property
    def positive(self) -> bool:
        return self.kind in POSITIVE

    def reasons(self, thresholds: Mapping[str, float]) -> list[str]:
        """Of its spans that are out."""
        return sorted({span.reason(thresholds) for span in self.spans} - {""})

    def verdict(self, thresholds: Mapping[str, float]) -> str:
        if any(not span.reason(thresholds) for span in self.spans):
            return "accepted"
        return "form" if set(self.reasons(thresholds)) <= FORM else "rejected"

    def right_reason(self, thresholds: Mapping[str, float]) -> bool:
        """Of a negative that is out: by its form, or by what it shows."""
        verdict, right = self.verdict(thresholds), RIGHT.get(self.kind, frozenset())
        return verdict == "form" or (
            verdict == "rejected" and bool(right & set(self.reasons(thresholds)))
        )


def stop(people: People) -> Check:
    """A last filter on people that drops everybody: neither text nor poses are looked for."""
    return at_least(_STOPPED, len(people.count), math.inf)


def measure(recipe: Recipe, corpus: Path, listed: list[dict[str, str]]) -> Iterator[Row]:
    """Run the recipe's steps on each file, without Ray. Of the stored clips only the size is not
    the recipe's: it decides nothing and costs time."""
    small = replace(recipe.canonical, short_side_px=min(256, recipe.canonical.short_side_px))
    with tempfile.TemporaryDirectory() as scratch:
        worker = Worker(replace(recipe, canonical=small), Path(scratch))
        for row in tqdm(listed, unit="clips"):
            path = corpus / "clips" / row["clip"]
            source = Source(path.stem, path.name, row["licence"], "", False, "train", path)
            survey = worker.survey(source)
            decided = {decision.clip_id for decision in survey.decisions}
            todo = [clip for clip in survey.planned if clip.clip_id not in decided]
            decisions = [*survey.decisions, *(worker.curate(clip, source) for clip in todo)]
            failed = [decision for decision in decisions if decision.status == "failed"]
            if failed:
                raise RuntimeError(f"{row['clip']} failed:\n{failed[0].detail}")
            spans = []
            for decision in decisions:
                checks = tuple(check for check in decision.checks if check.reason != _STOPPED)
                measured = {check.reason for check in decision.checks}
                spans.append(Span(checks, "" if decision.reason in measured else decision.reason))
            # "github owner/repository@commit path" and "PyPI package==version path": two words.
            origin = " ".join(row["source"].split()[:2])
            yield Row(row["clip"], row["kind"], origin, tuple(spans))


def read_rows(path: Path | None, recipe: Recipe) -> list[Row]:
    """What an earlier run of the same recipe left in `path`."""
    if path is None or not path.exists():
        return []
    kept = json.loads(path.read_text())
    if kept["recipe_sha256"] != recipe.sha256:
        raise SystemExit(f"{path} is of recipe {kept['recipe_sha256'][:12]}: give another --json")
    return [
        Row(row["clip"], row["kind"], row["source"], tuple(
            Span(tuple(Check(**check) for check in span["checks"]), span["other_reason"])
            for span in row["spans"]
        ))
        for row in kept["rows"]
    ]  # fmt: skip


def write_rows(
    path: Path, sha256: str, rows: Sequence[Row], thresholds: Mapping[str, float]
) -> None:
    """The rows, each with the verdict under these thresholds, for other readers."""
    decided = [
        {**asdict(row), "verdict": row.verdict(thresholds), "reasons": row.reasons(thresholds),
         "right_reason": row.right_reason(thresholds)}
        for row in rows
    ]  # fmt: skip
    content = json.dumps({"recipe_sha256": sha256, "rows": decided}, indent=1)
    replace_file(path, content.encode())


def choose(rows: Sequence[Row], fixed: Mapping[str, float]) -> dict[str, float]:
    """Bounds of GATES that decide most rows rightly: one after the other from wide open, twice.
    A bound lies in the middle of the widest of the best gaps between measurements."""
    lows = {c.reason: c.low for row in rows for span in row.spans for c in span.checks}
    gates = [gate for gate in GATES if gate in lows]
    bounds = {gate: -math.inf if lows[gate] else math.inf for gate in gates}

    def right(gate: str, bound: float) -> int:
        thresholds = {**fixed, **bounds, gate: bound}
        return sum((row.verdict(thresholds) == "accepted") == row.positive for row in rows)

    for gate in gates * 2:
        opened = -math.inf if lows[gate] else math.inf
        values = np.unique([
            c.measured for row in rows for span in row.spans for c in span.checks
            if c.reason == gate
        ])  # fmt: skip
        cuts = [((a + b) / 2, b - a) for a, b in itertools.pairwise(values)]
        scored = [(right(gate, cut), width, cut) for cut, width in cuts]
        best = max(scored, default=(0, 0.0, opened))
        bounds[gate] = best[2] if best[0] > right(gate, opened) else opened
    return bounds


def print_summary(rows: Sequence[Row], thresholds: Mapping[str, float]) -> None:
    print("\n| label | accepted | rejected | excluded by length, size or frame rate |")
    print("|---|---|---|---|")
    for label, positive in (("one person", True), ("none, several, drawn, hands only", False)):
        of_label = [row for row in rows if row.positive == positive]
        counts = Counter(row.verdict(thresholds) for row in of_label)
        cells = " | ".join(str(counts[verdict]) for verdict in ("accepted", "rejected", "form"))
        print(f"| {label} ({len(of_label)}) | {cells} |")
    judged = [row for row in rows if row.positive and row.verdict(thresholds) != "form"]
    negatives = [row for row in rows if not row.positive]
    out = [row for row in negatives if row.verdict(thresholds) != "accepted"]
    right = sum(row.right_reason(thresholds) for row in out)
    accepted = sum(row.verdict(thresholds) == "accepted" for row in judged)
    print(f"positives accepted, those excluded by form left out: {accepted} of {len(judged)}")
    print(f"negatives kept out: {len(out)} of {len(negatives)}, for a right reason {right}")


def print_left_out(rows: Sequence[Row], thresholds: Mapping[str, float]) -> None:
    """Each source under the bounds that all others chose."""
    judged = [row for row in rows if row.verdict(thresholds) != "form"]
    found: list[tuple[Row, Mapping[str, float]]] = []
    for source in sorted({row.source for row in judged}):
        bounds = choose([row for row in judged if row.source != source], thresholds)
        found += [(row, {**thresholds, **bounds}) for row in judged if row.source == source]
    print("\nleave one source out, clips excluded by form left out:")
    for positive, want in ((True, "accepted"), (False, "rejected")):
        of_label = [(row, bounds) for row, bounds in found if row.positive == positive]
        wrong = [row.clip for row, bounds in of_label if row.verdict(bounds) != want]
        reasons = sum(row.right_reason(bounds) for row, bounds in of_label)
        print(f"  {'positives' if positive else 'negatives'} {want}: "
              f"{len(of_label) - len(wrong)} of {len(of_label)}"
              + ("" if positive else f", for a right reason {reasons}")
              + (f"; not {', '.join(wrong)}" if wrong else ""))  # fmt: skip
    chosen = choose(judged, thresholds)
    for gate in GATES:
        of_gate = sorted({bounds[gate] for _, bounds in found if gate in bounds})
        if of_gate:
            print(f"  {gate}: {of_gate[0]:.3g} to {of_gate[-1]:.3g}, on all {chosen[gate]:.3g}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("curation/recipes/default.py"))
    parser.add_argument("--weights", type=Path, help="folder of the recipe's model files")
    parser.add_argument("--clips", nargs="+", help="only these files")
    parser.add_argument("--unlabelled", action="store_true", help="clips without a label, too")
    parser.add_argument("--set", nargs="+", default=[], type=parse_setting, metavar="NAME=VALUE")
    parser.add_argument(
        "--people-only",
        action="store_true",
        help="leave out the text and pose filters, and the encoder",
    )
    parser.add_argument("--json", type=Path, help="store what was measured, and resume from it")
    parser.add_argument("--stop-after-s", type=float, default=math.inf, metavar="N",
                        help="begin no clip after so many seconds")  # fmt: skip
    arguments = parser.parse_args()
    if not (arguments.corpus / "corpus.csv").is_file():
        print(f"no corpus.csv in {arguments.corpus}", file=sys.stderr)
        return 2
    thresholds = dict(arguments.set)
    recipe = replace(
        load_recipe(arguments.recipe), weights=arguments.weights, thresholds=thresholds
    )
    sha256, rows = recipe.sha256, read_rows(arguments.json, recipe)
    if arguments.people_only:
        recipe = replace(recipe, people_filters=(*recipe.people_filters, stop))
    done = {row.clip for row in rows}
    with (arguments.corpus / "corpus.csv").open(newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["kind"] or arguments.unlabelled]
    wanted = [r for r in listed if not arguments.clips or r["clip"] in arguments.clips]
    todo = [row for row in wanted if row["clip"] not in done]
    left, started = len(todo), time.monotonic()
    for row in measure(recipe, arguments.corpus, todo):
        rows.append(row)
        left -= 1
        if arguments.json:
            write_rows(arguments.json, sha256, rows, thresholds)
        if time.monotonic() - started > arguments.stop_after_s:
            break
    rows.sort(key=lambda row: row.clip)
    if left:
        print(f"{left} clips are left: give the same command again\n")
    print("| clip | label | decision | reason |\n|---|---|---|---|")
    for row in rows:
        reasons = ", ".join(row.reasons(thresholds))
        print(f"| {row.clip[:-4]} | {row.kind} | {row.verdict(thresholds)} | {reasons} |")
    labelled = [row for row in rows if row.kind]
    print(f"\nrecipe {recipe.name} ({sha256[:12]}), {len(labelled)} labelled clips")
    print_summary(labelled, thresholds)
    seen = [replace(row, kind=SEEN_OTHERWISE.get(row.clip, row.kind)) for row in labelled]
    if seen != labelled:
        print(f"\nwith {', '.join(SEEN_OTHERWISE)} counted as what it shows:")
        print_summary(seen, thresholds)
    if labelled and not left:
        print_left_out(seen, thresholds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
