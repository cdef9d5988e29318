"""How well a recipe decides: its accepts and reasons on labelled real clips.

    python benchmarks/curation_confusion.py CORPUS [--recipe RECIPE] [--weights DIR] [--json FILE]
                                            [--stop-after-s N]

With --json the rows are kept after each clip, and the same command goes on where it was. CORPUS
holds `corpus.csv` (columns clip, kind, licence) and `clips/`; rows without a kind are left out.
Thresholds are the recipe's, for all clips. A clip that the recipe excludes by its form (its length,
size or frame rate) is counted apart, whoever is in it.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from aa_curation.recipe import Recipe, load_recipe
from aa_curation.sources import Source
from aa_curation.worker import Worker

POSITIVE = frozenset({"fullbody-single", "upperbody", "head"})
FORM = frozenset({"low_resolution", "low_frame_rate", "too_short"})
# The reasons that are right for a negative, by its kind.
RIGHT = {
    "fullbody-two": {"several_persons"},
    "negative-multi-person": {"several_persons"},
    "negative-animation": {"not_a_person", "no_person"},
    "negative-generated": {"not_a_person", "no_person"},
    "negative-skeleton": {"not_a_person", "no_person"},
    "negative-hands-only": {"not_a_person", "no_person", "incomplete_body"},
    "negative-no-person": {"not_a_person", "no_person"},
    "negative-scene-cuts": {"too_short", "no_person", "not_a_person", "several_persons"},
    "negative-low-resolution": {"low_resolution"},
}
# Seen by eye: in this clip a man somersaults off a roof while the labelled woman walks by.
SEEN_OTHERWISE = {"clip_026.mp4": "fullbody-two"}


@dataclass(frozen=True)
class Row:
    """What became of one labelled clip: accepted if any of its spans was."""

    clip: str
    kind: str
    verdict: str
    reasons: tuple[str, ...]

    @property
    def positive(self) -> bool:
        return self.kind in POSITIVE

    @property
    def right_reason(self) -> bool:
        return bool(set(self.reasons) & (RIGHT.get(self.kind, set()) | FORM))


def read_labels(corpus: Path, only: list[str] | None) -> list[dict[str, str]]:
    """The rows of `corpus.csv` that have a kind; of these `only`, if it is given."""
    with (corpus / "corpus.csv").open(newline="") as file:
        labelled = [row for row in csv.DictReader(file) if row["kind"]]
    return [row for row in labelled if not only or row["clip"] in only]


def decide(
    recipe: Recipe, corpus: Path, scratch: Path, labelled: list[dict[str, str]]
) -> Iterator[Row]:
    """Run the recipe's steps on each labelled clip, without Ray."""
    worker = Worker(recipe, scratch)
    for row in tqdm(labelled, unit="clips"):
        path = corpus / "clips" / row["clip"]
        source = Source(path.stem, path.name, row["licence"], "", False, "train", path)
        survey = worker.survey(source)
        decided = {decision.clip_id for decision in survey.decisions}
        decisions = list(survey.decisions)
        decisions += [worker.curate(c, source) for c in survey.planned if c.clip_id not in decided]
        failed = [decision for decision in decisions if decision.status == "failed"]
        if failed:
            raise RuntimeError(f"{row['clip']} failed:\n{failed[0].detail}")
        reasons = tuple(sorted({d.reason for d in decisions if d.status == "rejected"}))
        accepted = any(decision.status == "accepted" for decision in decisions)
        form = bool(reasons) and set(reasons) <= FORM
        verdict = "accepted" if accepted else "form" if form else "rejected"
        kind = SEEN_OTHERWISE.get(row["clip"], row["kind"])
        yield Row(row["clip"], kind, verdict, reasons)


def read_rows(path: Path | None, recipe: Recipe) -> list[Row]:
    """What an earlier run of the same recipe left in `path`."""
    if path is None or not path.exists():
        return []
    kept = json.loads(path.read_text())
    if kept["recipe_sha256"] != recipe.sha256:
        raise SystemExit(f"{path} is of recipe {kept['recipe_sha256'][:12]}: give another --json")
    return [
        Row(row["clip"], row["kind"], row["verdict"], tuple(row["reasons"])) for row in kept["rows"]
    ]


def write_rows(path: Path, recipe: Recipe, rows: list[Row]) -> None:
    with_reason = [{**asdict(row), "right_reason": row.right_reason} for row in rows]
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(
        json.dumps({"recipe_sha256": recipe.sha256, "rows": with_reason}, indent=1)
    )
    temporary.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("curation/recipes/demo.py"))
    parser.add_argument("--weights", type=Path, help="folder of the recipe's model files")
    parser.add_argument("--clips", nargs="+", help="only these files")
    parser.add_argument("--json", type=Path, help="keep the rows here, and go on from them")
    parser.add_argument("--stop-after-s", type=float, default=math.inf, metavar="N",
                        help="begin no clip after so many seconds")  # fmt: skip
    arguments = parser.parse_args()
    if not (arguments.corpus / "corpus.csv").is_file():
        print(f"no corpus.csv in {arguments.corpus}", file=sys.stderr)
        return 2
    recipe = replace(load_recipe(arguments.recipe), weights=arguments.weights)
    with tempfile.TemporaryDirectory() as scratch:
        rows = read_rows(arguments.json, recipe)
        done = {row.clip for row in rows}
        labelled = [
            row for row in read_labels(arguments.corpus, arguments.clips) if row["clip"] not in done
        ]
        left, started = len(labelled), time.monotonic()
        for row in decide(recipe, arguments.corpus, Path(scratch), labelled):
            rows.append(row)
            left -= 1
            if arguments.json:
                write_rows(arguments.json, recipe, rows)
            if time.monotonic() - started > arguments.stop_after_s:
                break
    rows.sort(key=lambda row: row.clip)
    if left:
        print(f"{left} clips are left: give the same command again\n")
    for row in rows:
        print(f"{row.clip}  {row.kind:24s} {row.verdict:9s} {', '.join(row.reasons)}")
    print(f"\nrecipe {recipe.name} ({recipe.sha256[:12]}), {len(rows)} labelled clips\n")
    print("| label | accepted | rejected | excluded by length, size or frame rate |")
    print("|---|---|---|---|")
    for label, positive in (("one person", True), ("none, several, cartoon, hands only", False)):
        of_label = [row for row in rows if row.positive == positive]
        counts = Counter(row.verdict for row in of_label)
        cells = " | ".join(str(counts[verdict]) for verdict in ("accepted", "rejected", "form"))
        print(f"| {label} ({len(of_label)}) | {cells} |")
    judged = [row for row in rows if row.positive and row.verdict != "form"]
    negatives = [row for row in rows if not row.positive]
    out = [row for row in negatives if row.verdict != "accepted"]
    right = sum(row.right_reason for row in out)
    accepted = sum(row.verdict == "accepted" for row in judged)
    print(f"\npositives accepted, those excluded by form left out: {accepted} of {len(judged)}")
    print(f"negatives kept out: {len(out)} of {len(negatives)}, for a right reason {right}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
