"""Near duplicates and leaks: one recording stays once, and what belongs together in one split.

A function of the clips that passed everything else, whatever order they came in. It is computed
again at the end of every run, so a better copy that comes later replaces the earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision
from aa_curation.ledger.takedown import REASON as TAKEN_DOWN
from aa_curation.measure.distance import NearDuplicates, Stacked
from aa_curation.measure.signature import Signature

NEAR_DUPLICATE = "near_duplicate"
SPLIT_LEAK = "split_leak"
_OURS = frozenset({NEAR_DUPLICATE, SPLIT_LEAK})


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two clips of different sources that are one recording; `first` is the better one."""

    first: str
    second: str
    distance: float


def bounds_of(ledger: Ledger) -> NearDuplicates | None:
    """Those that the corpus was made with."""
    numbers = ledger.head.near_duplicates
    return None if numbers is None else NearDuplicates(**numbers)


def separate(ledger: Ledger, bounds: NearDuplicates | None) -> list[Decision]:
    """The rows that change so that no recording is in twice and no group in two splits.

    Of a recording the largest and fastest clip stays (then the first id; one of a held-out split
    before any for training), the others are rejected as `near_duplicate`. None stays of a recording
    that was taken down. Clips of one source, uploader, person or recording are one group; where
    lists put a group into several splits, those for training are rejected as `split_leak`: a
    held-out split stays as it was asked for. Without `bounds` no two clips are one recording.
    """
    clips = sorted((d for d in ledger.decisions.values() if _in_question(d)), key=_rank)
    gone = sorted(
        (d for d in ledger.decisions.values() if d.signature and d.reason == TAKEN_DOWN),
        key=lambda d: d.clip_id,
    )
    pairs = _pairs([*gone, *clips], bounds) if bounds is not None else []
    verdicts = _near(gone, clips, pairs)
    verdicts |= _leaks(ledger, [d for d in clips if d.clip_id not in verdicts], clips, pairs)
    rows = []
    for decision in clips:
        row = verdicts.get(decision.clip_id)
        if row is None:
            row = decision if decision.status == "accepted" else decision.accepted("dedup")
        if row != decision:
            rows.append(row)
    return rows


def _in_question(decision: Decision) -> bool:
    """Accepted, or only out because of this step."""
    return bool(decision.signature) and (decision.status == "accepted" or decision.reason in _OURS)


def _rank(decision: Decision) -> tuple[bool, float, float, str]:
    assert decision.clip is not None
    clip = decision.clip
    height, width = clip.size_hw
    return clip.split == "train", -height * width, -clip.fps, decision.clip_id


def _pairs(clips: Sequence[Decision], bounds: NearDuplicates) -> list[_Pair]:
    """All against all, a row at a time; poses only where pictures agree."""
    if not clips:
        return []
    signatures = [Signature.from_text(decision.signature) for decision in clips]
    stacked = Stacked.of(signatures)
    pairs = []
    for i, decision in enumerate(clips):
        places, apart = bounds.near_pictures(signatures[i], stacked.after(i))
        for j, pictures in zip((places + i + 1).tolist(), apart.tolist(), strict=True):
            if clips[j].source_id == decision.source_id:
                continue
            distance = pictures + bounds.poses_apart(signatures[i], signatures[j])
            if distance <= 1:
                pairs.append(_Pair(decision.clip_id, clips[j].clip_id, distance))
    return pairs


def _near(
    gone: Sequence[Decision], clips: Sequence[Decision], pairs: Sequence[_Pair]
) -> dict[str, Decision]:
    by_id = {decision.clip_id: decision for decision in clips}
    order = {decision.clip_id: place for place, decision in enumerate([*gone, *clips])}
    taken_down = {decision.clip_id for decision in gone}
    verdicts: dict[str, Decision] = {}
    for pair in sorted(pairs, key=lambda p: (order[p.second], order[p.first])):
        if pair.first in verdicts or pair.second in verdicts or pair.second in taken_down:
            continue
        why = "was taken down" if pair.first in taken_down else "comes before it"
        detail = f"the same recording as {pair.first}, which {why}"
        verdicts[pair.second] = _rejected(
            by_id[pair.second], NEAR_DUPLICATE, detail, round(pair.distance, 3), 1.0
        )
    return verdicts


def _leaks(
    ledger: Ledger, kept: Sequence[Decision], clips: Sequence[Decision], pairs: Sequence[_Pair]
) -> dict[str, Decision]:
    groups = Groups()
    for decision in clips:
        survey = ledger.surveys.get(decision.source_id)
        groups.join(decision.clip_id, f"source {decision.source_id}")
        for what, name in (
            ("content", survey.packets_sha256 if survey else ""),
            ("uploader", decision.uploader),
            ("person", decision.person),
        ):
            if name:
                groups.join(decision.clip_id, f"{what} {name}")
    for pair in pairs:
        groups.join(pair.first, pair.second)
    splits: dict[str, set[str]] = {}
    for decision in kept:
        assert decision.clip is not None
        splits.setdefault(groups.root(decision.clip_id), set()).add(decision.clip.split)
    verdicts = {}
    for decision in kept:
        assert decision.clip is not None
        found = splits[groups.root(decision.clip_id)]
        stays = min(found, key=lambda split: (split == "train", split))
        if decision.clip.split != stays:
            detail = f"clips of its source, uploader, person or recording are in {stays!r}"
            verdicts[decision.clip_id] = _rejected(decision, SPLIT_LEAK, detail)
    return verdicts


class Groups:
    """Union-find over names."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        path: list[str] = []
        while (parent := self._parent.setdefault(name, name)) != name:
            path.append(name)
            name = parent
        self._parent.update(dict.fromkeys(path, name))
        return name

    def join(self, a: str, b: str) -> None:
        self._parent[self.root(b)] = self.root(a)


def _rejected(
    decision: Decision,
    reason: str,
    detail: str,
    measured: float | None = None,
    threshold: float | None = None,
) -> Decision:
    """Keeps the clip's record: should the better copy leave, this one comes back."""
    return replace(
        decision,
        status="rejected",
        stage="dedup",
        reason=reason,
        measured=measured,
        threshold=threshold,
        detail=detail,
    )
