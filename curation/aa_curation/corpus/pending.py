"""What is left to do of a corpus."""

from __future__ import annotations

from collections.abc import Sequence

from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import PlannedClip
from aa_curation.sources.source_list import Source
from aa_curation.steps.survey import file_sha256, file_stamp, pose_sha256

NOT_LISTED = "not_listed"


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
    """Those of surveyed sources that have no decision, failed, or were rejected since their source
    was not listed."""
    todo = []
    for source in sources:
        survey = ledger.surveys.get(source.source_id)
        for planned in survey.planned if survey else ():
            status, reason = ledger.status_of(planned.clip_id) or ("failed", "")
            if status == "failed" or reason == NOT_LISTED:
                todo.append((planned, source))
    return todo


def undecided_clips(ledger: Ledger) -> list[PlannedClip]:
    """Planned clips without a decision, whether their source is listed or not."""
    undecided = set(ledger.undecided_ids())
    query = (
        "SELECT DISTINCT source_id FROM planned WHERE NOT EXISTS "
        "(SELECT 1 FROM clips WHERE clips.clip_id = planned.clip_id)"
    )
    surveys = [ledger.surveys[source_id] for (source_id,) in ledger.sql(query)]
    return [clip for survey in surveys for clip in survey.planned if clip.clip_id in undecided]
