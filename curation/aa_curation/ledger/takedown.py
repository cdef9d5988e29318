"""Takedown: a source leaves the corpus and cannot come back.

Its line in the ledger is a tombstone: of the source's id, of its URL and of its content. The
same file under another id, another name or in another container is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aa_curation.check import Drop
from aa_curation.ledger.records import Decision, Survey, rejected

REASON = "takedown"


@dataclass(frozen=True, slots=True)
class Takedown:
    """A tombstone.

    Attributes:
        source_id: what was taken down.
        url: where it was fetched from; "" if it was a file.
        source_sha256, packets_sha256: its content, as bytes and as packets; "" if unknown.
        file_sha256: of the fetched file in the store; "" if there is none.
    """

    source_id: str
    url: str = ""
    source_sha256: str = ""
    packets_sha256: str = ""
    file_sha256: str = ""


class Tombstones:
    """All tombstones of a corpus, asked at once."""

    def __init__(self) -> None:
        self._ids, self._urls, self._files, self._packets = (set[str]() for _ in range(4))

    def add(self, takedown: Takedown) -> None:
        self._ids.add(takedown.source_id)
        self._urls |= {takedown.url} - {""}
        self._files |= {takedown.source_sha256, takedown.file_sha256} - {""}
        self._packets |= {takedown.packets_sha256} - {""}

    def bar(self, source_id: str, url: str) -> bool:
        """Whether a row of a list names what was taken down."""
        return source_id in self._ids or url in self._urls

    def hold(self, survey: Survey) -> bool:
        """Whether a surveyed file is what was taken down."""
        return (
            survey.source_id in self._ids
            or survey.source_sha256 in self._files
            or survey.packets_sha256 in self._packets
        )


def taken_down(clip_id: str, source_id: str, decision: Decision | None) -> Decision:
    """The row of a clip that is taken down. It keeps the record and the signature of one that was
    accepted: no other copy of the recording may come in for it."""
    before = decision or Decision(clip_id, source_id, "rejected", REASON)
    was_in = before.status == "accepted" or before.reason == REASON
    return replace(
        before,
        clip=before.clip if was_in else None,
        status="rejected",
        stage=REASON,
        reason=REASON,
        measured=None,
        threshold=None,
        detail="its source was taken down",
        checks=(),
    )


def barred(source_id: str) -> Survey:
    """The survey of a source that a tombstone bars: it is not even looked at."""
    drop = Drop(REASON, detail="it was taken down from this corpus")
    row = rejected(f"{source_id}-0000", source_id, REASON, drop)
    return Survey(source_id, "", "", 0, 0, (), (row,))
