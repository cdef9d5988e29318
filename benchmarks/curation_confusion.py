"""How well a recipe decides: its accepts and reasons on labelled real clips.

    python benchmarks/curation_confusion.py CORPUS [--recipe RECIPE] [--weights DIR] [--json FILE]

CORPUS holds `corpus.csv` (columns clip, kind, licence) and `clips/`; rows without a kind are left
out. Thresholds are the recipe's, for all clips. A clip that the recipe excludes by its form (its
length, size or frame rate) is counted apart, whoever is in it.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections import Counter
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


def decide(recipe: Recipe, corpus: Path, scratch: Path, only: list[str] | None = None) -> list[Row]:
    """Run the recipe's steps on each labelled clip, without Ray."""
    with (corpus / "corpus.csv").open(newline="") as file:
        labelled = [row for row in csv.DictReader(file) if row["kind"]]
    if only:
        labelled = [row for row in labelled if row["clip"] in only]
    worker = Worker(recipe, scratch)
    rows = []
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
        rows.append(Row(row["clip"], kind, verdict, reasons))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("curation/recipes/demo.py"))
    parser.add_argument("--weights", type=Path, help="folder of the recipe's model files")
    parser.add_argument("--clips", nargs="+", help="only these files")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    if not (arguments.corpus / "corpus.csv").is_file():
        print(f"no corpus.csv in {arguments.corpus}", file=sys.stderr)
        return 2
    recipe = replace(load_recipe(arguments.recipe), weights=arguments.weights)
    with tempfile.TemporaryDirectory() as scratch:
        rows = decide(recipe, arguments.corpus, Path(scratch), arguments.clips)
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
    if arguments.json:
        with_reason = [{**asdict(row), "right_reason": row.right_reason} for row in rows]
        arguments.json.write_text(json.dumps(with_reason, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
