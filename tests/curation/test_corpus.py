"""The accept decision on labelled real clips; the thresholds are the demo recipe's, for all clips.

Run with -s to see the table that curation/README.md quotes.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from aa_curation.recipe import Recipe
from aa_curation.sources import Source
from aa_curation.worker import Worker

CORPUS = Path(__file__).parents[2] / "../shared/corpus"
# What a recipe may exclude for its own reasons, whoever is in the picture.
FORM = {"low_resolution", "low_frame_rate", "too_short"}
# By eye: a man somersaults off a roof while the woman walks by, all through the clip.
MISLABELLED = {"clip_026.mp4": "fullbody-two"}


@pytest.mark.slow
@pytest.mark.weights
def test_the_accept_decision_agrees_with_the_labels(demo_recipe: Recipe, tmp_path: Path) -> None:
    if not CORPUS.is_dir():
        pytest.skip("skipped: no ../shared")
    worker = Worker(demo_recipe, tmp_path)
    table: Counter[tuple[str, str]] = Counter()
    wrong = {}
    with (CORPUS / "corpus.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"]]
    for row in rows:
        path = CORPUS / "clips" / row["clip"]
        source = Source(path.stem, path.name, row["licence"], "", False, "train", path)
        survey = worker.survey(source)
        decisions = [*survey.decisions, *(worker.curate(c, source) for c in survey.planned)]
        reasons = [d.reason for d in decisions if d.status != "accepted"]
        accepted = len(reasons) < len(decisions)
        assert all(d.status != "failed" for d in decisions), decisions
        kind = MISLABELLED.get(row["clip"], row["kind"])
        label = "one person" if kind in {"fullbody-single", "upperbody", "head"} else "not"
        by_form = set(reasons) <= FORM
        verdict = "accepted" if accepted else "form" if by_form else "rejected"
        table[label, verdict] += 1
        if (label, verdict) in {("one person", "rejected"), ("not", "accepted")}:
            wrong[row["clip"]] = (kind, reasons)
        print(row["clip"], kind, verdict, *sorted(set(reasons)))
    print(dict(table), wrong)
    negatives = sum(count for (label, _), count in table.items() if label == "not")
    positives = table["one person", "accepted"] + table["one person", "rejected"]
    assert (negatives - table["not", "accepted"]) / negatives >= 0.8, wrong
    assert table["one person", "accepted"] / positives >= 0.8, wrong
