"""What is left to do of a corpus, and what stands between surveys and clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aa_curation.corpus.exact_duplicates import reject_duplicates
from aa_curation.ledger.ledger import Ledger, LedgerWriter
from aa_curation.ledger.records import PlannedClip
from aa_curation.sources.source_list import Source
from aa_curation.steps.survey import file_sha256, file_stamp, pose_sha256


def sources_to_survey(ledger: Ledger, sources: Sequence[Source]) -> list[Source]:
    """Those never surveyed, whose file, pose or row in the list has changed since, or whose survey
    failed. A file that was only touched or copied is read, and is the same."""

    def is_done(source: Source) -> bool:
        survey = ledger.surveys.get(source.source_id)
        if survey is None or survey.row_sha256 not in {"", source.row_sha256}:
            return False
        if any(decision.status == "failed" for decision in survey.decisions):
            return False
        if survey.pose_sha256 != pose_sha256(source):
            return False
        num_bytes, modified_ns = file_stamp(source)
        return (survey.num_bytes, survey.modified_ns) == (num_bytes, modified_ns) or (
            survey.num_bytes == num_bytes
            and survey.source_sha256 != ""
            and survey.source_sha256 == file_sha256(source)
        )

    return [source for source in sources if not is_done(source)]


def expected_to_survey(ledger: Ledger, sources: Sequence[Source]) -> list[Source]:
    """The same before anything is fetched: whether an URL gives another file than before is not
    known."""
    files = [source for source in sources if not source.url]
    asked = []
    for source in sources:
        survey = ledger.surveys.get(source.source_id)
        if source.url and (survey is None or survey.row_sha256 not in {"", source.row_sha256}):
            asked.append(source)
    return sources_to_survey(ledger, files) + asked


def clips_to_curate(ledger: Ledger, sources: Sequence[Source]) -> list[tuple[PlannedClip, Source]]:
    """Those of surveyed sources that have no decision, or failed."""
    todo = []
    for source in sources:
        survey = ledger.surveys.get(source.source_id)
        for planned in survey.planned if survey else ():
            decision = ledger.decisions.get(planned.clip_id)
            if decision is None or decision.status == "failed":
                todo.append((planned, source))
    return todo


def settle_surveys(
    writer: LedgerWriter, sources: Sequence[Source], clips_folder: Path
) -> list[tuple[PlannedClip, Source]]:
    """Once all sources are surveyed: reject exact duplicates, let count what was made ahead; gives
    the clips that are left to curate."""
    for duplicate in reject_duplicates(writer.ledger, sources):
        for kind in ("mp4", "pose.npz"):  # made ahead of this
            (clips_folder / f"{duplicate.clip_id}.{kind}").unlink(missing_ok=True)
        writer.add_decision(duplicate)
    for source in sources:
        survey = writer.ledger.surveys.get(source.source_id)
        if survey is not None and survey.ahead:
            writer.count_ahead(source.source_id)
    return clips_to_curate(writer.ledger, sources)
