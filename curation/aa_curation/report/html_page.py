"""The report as one static HTML page: funnel, reasons with pictures, histograms, licences."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from tqdm import tqdm

from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision
from aa_curation.report.contact_sheet import thumbnail

_BINS = 24


@dataclass(frozen=True, slots=True)
class Bucket:
    """All clips with one status and reason, some of them with a picture: (clip id, data URI)."""

    status: str
    reason: str
    count: int
    examples: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a check's measurements are spread.

    Attributes:
        reason, side, threshold: of the check; side is "at least" or "at most".
        low, high: the outer edges, in the check's unit.
        passed, dropped: clips per bin.
        bound: where the threshold lies between low (0) and high (1).
        num_nan: measurements that are no number.
    """

    reason: str
    side: str
    threshold: float
    low: float
    high: float
    passed: tuple[int, ...]
    dropped: tuple[int, ...]
    bound: float
    num_nan: int

    @property
    def tallest(self) -> int:
        return max(a + b for a, b in zip(self.passed, self.dropped, strict=True)) or 1


def render_report(
    ledger: Ledger, folder: Path, sources: Mapping[str, Path], *, pictures: int = 6
) -> str:
    """The page as text. It holds no script, and its own policy lets it load nothing.

    Args:
        ledger: of the corpus.
        folder: of the corpus.
        sources: files by source id, to show rejected clips of local sources.
        pictures: at most so many a reason.
    """
    environment = Environment(
        loader=PackageLoader("aa_curation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    statuses = Counter(decision.status for decision in ledger.decisions.values())
    accepted = [d for d in ledger.decisions.values() if d.status == "accepted"]
    return environment.get_template("report.html.j2").render(
        ledger=ledger,
        planned=len(ledger.planned_ids),
        statuses=statuses,
        undecided=len(ledger.planned_ids) - sum(statuses.values()),
        hours=sum(d.clip.num_frames / d.clip.fps for d in accepted if d.clip) / 3600,
        buckets=_buckets(ledger, folder, sources, pictures),
        histograms=histograms(list(ledger.decisions.values())),
        licences=_licences(accepted),
    )


def _buckets(
    ledger: Ledger, folder: Path, sources: Mapping[str, Path], at_most: int
) -> list[Bucket]:
    rows: dict[tuple[str, str], list[Decision]] = {}
    for clip_id in sorted(ledger.decisions):
        decision = ledger.decisions[clip_id]
        rows.setdefault((decision.status, decision.reason), []).append(decision)
    buckets = []
    ordered = sorted(rows.items(), key=lambda row: (row[0][0], -len(row[1]), row[0][1]))
    for (status, reason), decisions in tqdm(ordered, desc="report", unit="reason", disable=None):
        # Spread over the ids, not the first ones: these may all be of one source.
        step = max(1, len(decisions) // (2 * at_most)) if at_most else 1
        found: list[tuple[str, str]] = []
        for decision in decisions[::step][: 2 * at_most]:
            if len(found) < at_most and (uri := thumbnail(decision, ledger, folder, sources)):
                found.append((decision.clip_id, uri))
        names = tuple(decision.clip_id for decision in decisions[:at_most])
        buckets.append(Bucket(status, reason, len(decisions), names, tuple(found)))
    return buckets


def histograms(decisions: Sequence[Decision]) -> list[Histogram]:
    """One for each check that ran, in the order of the recipe."""
    measured: dict[str, list[tuple[float, bool]]] = {}
    last = {}
    for decision in decisions:
        for check in decision.checks:
            measured.setdefault(check.reason, []).append((check.measured, check.passed))
            last[check.reason] = check
    found = []
    for reason, pairs in measured.items():
        finite = [(value, passed) for value, passed in pairs if math.isfinite(value)]
        if not finite:
            continue
        values = np.array([value for value, _ in finite])
        passed = np.array([ok for _, ok in finite])
        threshold = last[reason].threshold
        shown = [*values, threshold] if math.isfinite(threshold) else list(values)
        low, high = min(shown), max(shown)
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        found.append(
            Histogram(
                reason=reason,
                side="at least" if last[reason].low else "at most",
                threshold=threshold,
                low=float(edges[0]),
                high=float(edges[-1]),
                passed=tuple(np.histogram(values[passed], edges)[0].tolist()),
                dropped=tuple(np.histogram(values[~passed], edges)[0].tolist()),
                bound=float(np.clip((threshold - edges[0]) / (edges[-1] - edges[0]), 0, 1)),
                num_nan=len(pairs) - len(finite),
            )
        )
    return found


def _licences(accepted: Sequence[Decision]) -> list[tuple[str, str, str, int, float]]:
    """(licence, owner, consent, clips, seconds) of what is in the corpus, the most first."""
    clips: Counter[tuple[str, str, str]] = Counter()
    seconds: defaultdict[tuple[str, str, str], float] = defaultdict(float)
    for decision in accepted:
        if decision.clip is not None:
            key = (decision.clip.licence, decision.owner, decision.consent)
            clips[key] += 1
            seconds[key] += decision.clip.num_frames / decision.clip.fps
    return [(*key, count, seconds[key]) for key, count in clips.most_common()]
