"""Near duplicates and leaks: one recording stays once, and what belongs together in one split.

A function of the clips that passed everything else, whatever order they came in, and of which of
them are packed: these stay, so that shards that are in use do not change. It is computed for each
block of a run (see `aa_curation.executors.stream`) and at its end. Which clips are alike is kept in
the ledger; only new signatures are searched for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision
from aa_curation.ledger.tables import IN_QUESTION
from aa_curation.ledger.takedown import REASON as TAKEN_DOWN
from aa_curation.measure.candidates import alike_pictures
from aa_curation.measure.distance import NearDuplicates, Stacked
from aa_curation.measure.signature import PICTURE_BYTES, SIGNATURE_BYTES, Signature

NEAR_DUPLICATE = "near_duplicate"
SPLIT_LEAK = "split_leak"


class Pictures:
    """What is compared of all clips with a signature; a run keeps it from block to block.

    Attributes:
        names: of the clips, sorted.
        sources: int64 [N], a number for each source.
        stacked: their hashes and colours.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sources = np.empty(0, np.int64)
        self.stacked = Stacked.of_pictures(b"")
        self._codes: dict[str, int] = {}
        self._through: int | None = None

    def read(self, ledger: Ledger, through_block: int | None) -> None:
        """Add those of the blocks that were not read yet, up to this one; None: all, once."""
        query = "SELECT clip_id, source_id, signature FROM {} WHERE signature IS NOT NULL AND {}"
        if self._through is None:
            assert not self.names
            where = ("clips", _looked_at(through_block))
        else:
            of_blocks = f"number > {self._through} AND number <= {through_block}"
            where = ("blocks JOIN clips USING (source_id)", of_blocks)
        self._through = through_block
        sources, pictures = self.sources.tolist(), bytearray()
        for clip_id, source, content in ledger.sql(query.format(*where)):
            self.names.append(clip_id)
            sources.append(self._codes.setdefault(source, len(self._codes)))
            if isinstance(content, str) or len(content) != SIGNATURE_BYTES:
                Signature.from_text(content if isinstance(content, str) else content.hex())
            pictures += content[:PICTURE_BYTES]
        order = np.array(sorted(range(len(sources)), key=self.names.__getitem__), np.int64)
        self.names = [self.names[place] for place in order.tolist()]
        self.sources = np.array(sources, np.int64)[order]
        before, added = self.stacked, Stacked.of_pictures(bytes(pictures))
        self.stacked = Stacked(
            np.concatenate([before.hashes, added.hashes])[order],
            np.concatenate([before.colours, added.colours])[order],
        )


class _Pair(NamedTuple):
    """Two clips of different sources that are one recording."""

    first: str
    second: str
    distance: float


def bounds_of(ledger: Ledger) -> NearDuplicates | None:
    """Those that the corpus was made with."""
    numbers = ledger.head.near_duplicates
    return None if numbers is None else NearDuplicates(**numbers)


def separate(
    ledger: Ledger,
    bounds: NearDuplicates | None,
    *,
    through_block: int | None = None,
    pictures: Pictures | None = None,
) -> list[Decision]:
    """The rows that change so that no recording is in twice and no group in two splits.

    Of a recording the clip stays that is packed already, else the largest and fastest (then the
    first id; one of a held-out split before any for training); the others are rejected as
    `near_duplicate`. None stays of a recording that was taken down. Clips of one source, uploader,
    person or recording are one group; where lists put a group into several splits, those for
    training are rejected as `split_leak`: a held-out split stays as it was asked for.

    Args:
        ledger: of the corpus; what is found is kept in it.
        bounds: within which two clips are one recording; without them no two are.
        through_block: look at the clips of this block and those before it only.
        pictures: what the call for an earlier block of this run has read.
    """
    looked_at = _looked_at(through_block)
    in_question = f"{IN_QUESTION} AND {looked_at}"
    pairs = []
    if bounds is not None:
        pairs = _pairs(ledger, bounds, through_block, pictures or Pictures())
    names = {name for pair in pairs for name in (pair.first, pair.second)}
    rows = {name: ledger.decisions[name] for name in sorted(names) if name in ledger.decisions}
    gone = {name: row for name, row in rows.items() if row.reason == TAKEN_DOWN}
    clips = {name: row for name, row in rows.items() if _in_question(row)}
    packed = {n for n, row in clips.items() if row.status == "accepted" and n in ledger.shard_of}
    ranked = [*sorted(gone), *sorted(clips, key=lambda name: _rank(clips[name], name in packed))]
    order = {name: place for place, name in enumerate(ranked)}
    pairs = [
        _Pair(a, b, apart) if order[a] < order[b] else _Pair(b, a, apart)
        for a, b, apart in pairs
        if a in order and b in order
    ]
    verdicts = _near(gone, clips, sorted(pairs, key=lambda p: (order[p.second], order[p.first])))
    between = [pair for pair in pairs if pair.first in clips and pair.second in clips]
    verdicts |= _leaks(ledger, verdicts, between, in_question)
    changed = [row for name, row in verdicts.items() if row != ledger.decisions[name]]
    back = ledger.decisions.where(
        f"status = 'rejected' AND reason IN ('{NEAR_DUPLICATE}', '{SPLIT_LEAK}') "
        f"AND signature IS NOT NULL AND {looked_at}"
    )
    changed += [row.accepted("dedup") for row in back if row.clip_id not in verdicts]
    return sorted(changed, key=lambda row: row.clip_id)


def _looked_at(through_block: int | None) -> str:
    if through_block is None:
        return "1"
    return (
        "NOT EXISTS (SELECT 1 FROM blocks "
        f"WHERE blocks.source_id = clips.source_id AND number > {through_block})"
    )


def _in_question(decision: Decision) -> bool:
    return bool(decision.signature) and (
        decision.status == "accepted" or decision.reason in {NEAR_DUPLICATE, SPLIT_LEAK}
    )


def _rank(decision: Decision, packed: bool) -> tuple[bool, bool, float, float, str]:
    assert decision.clip is not None
    clip = decision.clip
    height, width = clip.size_hw
    return clip.split == "train", not packed, -height * width, -clip.fps, decision.clip_id


def _pairs(
    ledger: Ledger, bounds: NearDuplicates, through_block: int | None, pictures: Pictures
) -> list[_Pair]:
    """The clips that are alike, in question or not: kept in the ledger, so that only those are
    searched for that are new in it."""
    key = json.dumps(asdict(bounds), sort_keys=True)
    known = ledger.alike(key)
    new = None if known is None else ledger.unsearched(_looked_at(through_block))
    if new is None or new:
        pictures.read(ledger, through_block)
        found = _find_pairs(ledger, bounds, pictures, known or [], new)
        searched = pictures.names if new is None else new
        ledger.keep_alike(key, found, searched, afresh=new is None)
        gone = new or set()
        kept = [pair for pair in known or () if pair[0] not in gone and pair[1] not in gone]
        known = kept + found
    return [_Pair(*row) for row in known or ()]


def _find_pairs(
    ledger: Ledger,
    bounds: NearDuplicates,
    pictures: Pictures,
    known: Iterable[tuple[str, str, float]],
    new: Set[str] | None,
) -> list[tuple[str, str, float]]:
    """Pairs with a new clip (None: all of them), by the pictures of all; poses only where these
    agree."""
    names = pictures.names
    asked = np.array([new is None or name in new for name in names], np.bool_)
    paired = {name for one, two, _ in known for name in (one, two)}
    place_of = {name: place for place, name in enumerate(names) if name in paired}
    before = [
        (place_of[one], place_of[two]) for one, two, _ in known if {one, two} <= place_of.keys()
    ]
    pairs = np.array(before, np.int64).reshape(-1, 2).T
    first, second, apart = alike_pictures(
        pictures.stacked, bounds, new=asked, known=(pairs[0], pairs[1])
    )
    other = pictures.sources[first] != pictures.sources[second]
    query = "SELECT signature FROM clips WHERE clip_id = ?"

    @lru_cache(maxsize=10_000)
    def signature(place: int) -> Signature:
        ((content,),) = ledger.sql(query, names[place])
        return Signature.from_bytes(content)

    found = []
    for i, j, near in zip(first[other], second[other], apart[other], strict=True):
        distance = float(near) + bounds.poses_apart(signature(int(i)), signature(int(j)))
        if distance <= 1:
            found.append((names[i], names[j], distance))
    return found


def _near(
    gone: Mapping[str, Decision], clips: Mapping[str, Decision], pairs: Iterable[_Pair]
) -> dict[str, Decision]:
    """The copies, of pairs in the order of their ranks."""
    verdicts: dict[str, Decision] = {}
    for pair in pairs:
        if pair.first in verdicts or pair.second in verdicts or pair.second in gone:
            continue
        why = "was taken down" if pair.first in gone else "comes before it"
        detail = f"the same recording as {pair.first}, which {why}"
        verdicts[pair.second] = _rejected(
            clips[pair.second], NEAR_DUPLICATE, detail, round(pair.distance, 3), 1.0
        )
    return verdicts


def _leaks(
    ledger: Ledger, out: Mapping[str, Decision], pairs: Sequence[_Pair], in_question: str
) -> dict[str, Decision]:
    """What is left in a split that another of its group's clips keeps."""
    kept: Counter[tuple[str, str]] = Counter()
    groups = Groups()
    for source_id, split, uploader, person, count in ledger.sql(
        f"SELECT source_id, split, uploader, person, count(*) FROM clips WHERE {in_question} "
        "GROUP BY 1, 2, 3, 4"
    ):
        kept[source_id, split] += count
        for what, name in (("uploader", uploader), ("person", person)):
            if name:
                groups.join(source_id, f" {what} {name}")
    if len({split for _, split in kept}) < 2:
        return {}
    for source_id, packets in ledger.sql(
        "SELECT source_id, packets_sha256 FROM surveys WHERE packets_sha256 IN (SELECT "
        "packets_sha256 FROM surveys WHERE packets_sha256 != '' GROUP BY 1 HAVING count(*) > 1)"
    ):
        groups.join(source_id, f" content {packets}")
    named = {name for pair in pairs for name in (pair.first, pair.second)} | set(out)
    source_of = {name: ledger.decisions[name].source_id for name in named}
    for pair in pairs:
        groups.join(source_of[pair.first], source_of[pair.second])
    for name, row in out.items():
        assert row.clip is not None
        kept[source_of[name], row.clip.split] -= 1
    found: dict[str, set[str]] = {}
    for (source_id, split), count in kept.items():
        if count:
            found.setdefault(groups.root(source_id), set()).add(split)
    verdicts = {}
    for (source_id, split), count in kept.items():
        stays = min(found.get(groups.root(source_id), {split}), key=lambda s: (s == "train", s))
        if not count or split == stays:
            continue
        detail = f"clips of its source, uploader, person or recording are in {stays!r}"
        for row in ledger.decisions.where(
            f"{in_question} AND source_id = ? AND split = ?", source_id, split
        ):
            if row.clip_id not in out:
                verdicts[row.clip_id] = _rejected(row, SPLIT_LEAK, detail)
    return verdicts


class Groups:
    """Union-find over names."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        parent, root = self._parent, name
        while (above := parent.setdefault(root, root)) != root:
            root = above
        while name != root:
            parent[name], name = root, parent[name]
        return root

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
