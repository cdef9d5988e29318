"""What is left to do of a corpus."""

from __future__ import annotations

from collections.abc import Sequence

from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import PlannedClip
from aa_curation.sources.source_list import Source
from aa_curation.steps.survey import file_sha256, file_stamp, pose_sha256

NOT_LISTED = "not_listed"


def is_surveyed(ledger: Ledger, source: Source) -> bool:
    """Whether it was surveyed, the survey did not fail, and its file, pose and row in the list are
    the same since. A file that was only touched or copied is read, and is the same."""
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


def expected_to_survey(ledger: Ledger, sources: Sequence[Source]) -> list[Source]:
    """The same before anything is fetched: whether an URL gives another file than before is not
    known."""
    asked = [s for s in sources if not s.url and not is_surveyed(ledger, s)]
    for source in sources:
        survey = ledger.surveys.get(source.source_id)
        if source.url and (survey is None or survey.row_sha256 not in {"", source.row_sha256}):
            asked.append(source)
    return asked


def clips_to_curate(ledger: Ledger, source_id: str) -> list[PlannedClip]:
    """Those of a surveyed source that have no decision, failed, or were rejected since their source
    was not listed."""
    survey = ledger.surveys.get(source_id)
    todo = []
    for planned in survey.planned if survey else ():
        status, reason = ledger.status_of(planned.clip_id) or ("failed", "")
        if status == "failed" or reason == NOT_LISTED:
            todo.append(planned)
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
