"""The report as one HTML page: funnel, measurements with their bounds, pictures, licences."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision
from aa_curation.report.charts import histogram_svg
from aa_curation.report.contact_sheet import thumbnail
from aa_curation.report.measurements import find_measurements
from aa_curation.report.text import format_why
from aa_datasets.progress import progress

if TYPE_CHECKING:
    from pandas import DataFrame

_CLIPS_LISTED = 2000

# Shows only the clips whose text has every word that is typed. The page's policy names its hash:
# nothing else may run, whatever a list of sources holds.
_SEARCH = """
const box = document.getElementById("search"), rows = document.querySelectorAll("#clips ~ details");
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\\s+/);
  rows.forEach(row => {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
  });
});
function reveal() {
  const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!row || row.tagName !== "DETAILS") return;
  row.hidden = false;
  row.open = true;
  row.scrollIntoView();
}
window.addEventListener("hashchange", reveal);
reveal();
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """All clips with one status and reason, some with a picture: (clip id, data URI, None)."""

    status: str
    reason: str
    count: int
    examples: tuple[str, ...]
    pictures: tuple[tuple[str, str, None], ...]


def render_report(
    ledger: Ledger, folder: Path, sources: Mapping[str, Path], *, pictures: int = 6
) -> str:
    """The page as text. Its policy lets it load nothing and run nothing but its own search.

    Args:
        ledger: of the corpus.
        folder: of the corpus.
        sources: files by source id, where the ledger does not tell where they lie.
        pictures: at most so many for each reason and each measurement.
    """
    shown: dict[str, str | None] = {}

    def picture(clip_id: str) -> str | None:
        if clip_id not in shown:
            jpeg = thumbnail(ledger.decisions[clip_id], ledger, folder, sources)
            shown[clip_id] = (
                None
                if jpeg is None
                else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
            )
        return shown[clip_id]

    environment = Environment(
        loader=PackageLoader("aa_curation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    frame = ledger.to_frame()
    measurements = find_measurements(ledger, pictures // 2)
    buckets = _buckets(ledger, picture, pictures)
    plots = [
        (
            measurement,
            Markup(histogram_svg(measurement)),
            [(name, picture(name), measurement.of[name]) for name in measurement.inside],
            [(name, picture(name), measurement.of[name]) for name in measurement.outside],
        )
        for measurement in progress(measurements, desc="report", unit="measurement")
    ]
    rest = [name for name in sorted(ledger.decisions) if name not in shown]
    listed = sorted([*shown, *rest[: max(0, _CLIPS_LISTED - len(shown))]])
    return environment.get_template("report.html.j2").render(
        ledger=ledger,
        planned=ledger.num_planned,
        statuses={s: int((frame.status == s).sum()) for s in ("accepted", "rejected", "failed")},
        undecided=ledger.num_planned - len(frame),
        hours=float(frame[frame.status == "accepted"].duration_s.sum()) / 3600,
        stages=_stages(frame),
        buckets=buckets,
        plots=plots,
        shares=[(column, _hours(frame, column)) for column in ("licence", "owner", "split")],
        clips=[(name, shown.get(name), format_why(ledger.decisions[name])) for name in listed],
        unlisted=len(ledger.decisions) - len(listed),
        inf=float("inf"),
        script=Markup(_SEARCH),
        script_hash=base64.b64encode(hashlib.sha256(_SEARCH.encode()).digest()).decode(),
    )


def _stages(frame: DataFrame) -> list[tuple[str, dict[str, int]]]:
    """How many clips each stage accepted, rejected and failed, in the order of a run."""
    counts = frame.groupby(["stage", "status"]).size()
    order = ["plan", "fetch", "survey", "clip", "dedup", "redecide", "takedown"]
    stages = sorted(set(frame.stage), key=lambda s: (order.index(s) if s in order else 99, s))
    statuses = ("accepted", "rejected", "failed")
    return [(s, {status: int(counts.get((s, status), 0)) for status in statuses}) for s in stages]


def _hours(frame: DataFrame, column: str) -> list[tuple[str, int, float]]:
    """(value, clips, hours) of the accepted clips, the most first."""
    accepted = frame[frame.status == "accepted"]
    groups = accepted.groupby(column, dropna=False).duration_s.agg(["size", "sum"])
    groups = groups.sort_values("size", ascending=False)
    return [
        (str(name), int(row["size"]), float(row["sum"]) / 3600) for name, row in groups.iterrows()
    ]


def _buckets(ledger: Ledger, picture: Callable[[str], str | None], at_most: int) -> list[Bucket]:
    rows: dict[tuple[str, str], list[Decision]] = {}
    for clip_id in sorted(ledger.decisions):
        decision = ledger.decisions[clip_id]
        rows.setdefault((decision.status, decision.reason), []).append(decision)
    buckets = []
    ordered = sorted(rows.items(), key=lambda row: (row[0][0], -len(row[1]), row[0][1]))
    for (status, reason), decisions in progress(ordered, desc="report", unit="reason"):
        # Spread over the ids, not the first ones: these may all be of one source.
        step = max(1, len(decisions) // (2 * at_most)) if at_most else 1
        found: list[tuple[str, str, None]] = []
        for decision in decisions[::step][: 2 * at_most]:
            if len(found) < at_most and (uri := picture(decision.clip_id)):
                found.append((decision.clip_id, uri, None))
        names = tuple(decision.clip_id for decision in decisions[:at_most])
        buckets.append(Bucket(status, reason, len(decisions), names, tuple(found)))
    return buckets
