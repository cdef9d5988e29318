"""The report as one HTML page: funnel, measurements with their bounds, pictures, licences."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aa_curation.ledger.ledger import Ledger
from aa_curation.report.charts import histogram_svg
from aa_curation.report.contact_sheet import thumbnail
from aa_curation.report.measurements import find_measurements
from aa_curation.report.text import format_why
from aa_datasets.progress import progress

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
    counts = ledger.funnel()
    measurements = find_measurements(ledger, pictures // 2)
    buckets = _buckets(ledger, picture, pictures)
    plots = [
        (
            measurement,
            Markup(histogram_svg(measurement)),
            [(name, picture(name), measurement.of[name]) for name in measurement.inside],
            [(name, picture(name), measurement.of[name]) for name in measurement.outside],
            [
                (bound.clip_id, picture(bound.clip_id), bound.measured)
                for bound in measurement.bounds
            ],
        )
        for measurement in progress(measurements, desc="report", unit="measurement")
    ]
    first = ledger.sql("SELECT clip_id FROM clips ORDER BY 1 LIMIT ?", _CLIPS_LISTED + len(shown))
    rest = [name for (name,) in first if name not in shown]
    listed = sorted([*shown, *rest[: max(0, _CLIPS_LISTED - len(shown))]])
    return environment.get_template("report.html.j2").render(
        ledger=ledger,
        planned=ledger.num_planned,
        statuses={status: ledger.num_of(status) for status in ("accepted", "rejected", "failed")},
        undecided=ledger.num_planned - counts.total(),
        hours=sum(hours for _, _, hours in _hours(ledger, "split")),
        stages=_stages(ledger),
        buckets=buckets,
        plots=plots,
        shares=[(column, _hours(ledger, column)) for column in ("licence", "owner", "split")],
        clips=[(name, shown.get(name), format_why(ledger.decisions[name])) for name in listed],
        unlisted=len(ledger.decisions) - len(listed),
        inf=float("inf"),
        script=Markup(_SEARCH),
        script_hash=base64.b64encode(hashlib.sha256(_SEARCH.encode()).digest()).decode(),
    )


def _stages(ledger: Ledger) -> list[tuple[str, dict[str, int]]]:
    """How many clips each stage accepted, rejected and failed, in the order of a run."""
    found: dict[str, dict[str, int]] = {}
    for stage, status, count in ledger.sql(
        "SELECT stage, status, count(*) FROM clips GROUP BY 1, 2"
    ):
        found.setdefault(stage, {"accepted": 0, "rejected": 0, "failed": 0})[status] = count
    order = ["plan", "fetch", "survey", "clip", "dedup", "redecide", "takedown"]
    stages = sorted(found, key=lambda s: (order.index(s) if s in order else 99, s))
    return [(stage, found[stage]) for stage in stages]


def _hours(ledger: Ledger, column: str) -> list[tuple[str, int, float]]:
    """(value, clips, hours) of the accepted clips, the most first."""
    return list(
        ledger.sql(
            f"SELECT {column}, count(*), sum(duration_s) / 3600 FROM clips "
            "WHERE status = 'accepted' GROUP BY 1 ORDER BY 2 DESC, 1"
        )
    )


def _buckets(ledger: Ledger, picture: Callable[[str], str | None], at_most: int) -> list[Bucket]:
    buckets = []
    counts = ledger.funnel()
    ordered = sorted(counts.items(), key=lambda row: (row[0][0], -row[1], row[0][1]))
    for (status, reason), count in progress(ordered, desc="report", unit="reason"):
        # Spread over the ids, not the first ones: these may all be of one source.
        step = max(1, count // (2 * at_most)) if at_most else 1
        names: list[str] = []
        tried: list[str] = []
        for place, (name,) in enumerate(
            ledger.sql(
                "SELECT clip_id FROM clips WHERE status = ? AND reason = ? ORDER BY 1",
                status,
                reason,
            )
        ):
            if place < at_most:
                names.append(name)
            if place % step == 0 and len(tried) < 2 * at_most:
                tried.append(name)
        found: list[tuple[str, str, None]] = []
        for name in tried:
            if len(found) < at_most and (uri := picture(name)):
                found.append((name, uri, None))
        buckets.append(Bucket(status, reason, count, tuple(names), tuple(found)))
    return buckets
