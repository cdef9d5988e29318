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

import msgspec
import numpy as np
from numpy.typing import NDArray

from aa_curation.ledger.ledger import Ledger
from aa_curation.ledger.records import Decision
from aa_curation.ledger.schema import IN_QUESTION
from aa_curation.ledger.takedown import REASON as TAKEN_DOWN
from aa_curation.measure.candidates import alike_pictures
from aa_curation.measure.distance import NearDuplicates, Stacked
from aa_curation.measure.signature import PICTURE_BYTES, SIGNATURE_BYTES, Signature
from aa_datasets.clip import Clip

NEAR_DUPLICATE = "near_duplicate"
SPLIT_LEAK = "split_leak"


class Pictures:
    """What is compared of all clips with a signature; a run keeps it from block to block.

    Attributes:
        names: [N] of the clips, sorted.
        sources: int64 [N], a number for each source.
        stacked: their hashes and colours.
    """

    def __init__(self) -> None:
        self.names = np.empty(0, np.object_)
        self.sources = np.empty(0, np.int64)
        self.stacked = Stacked.of_pictures(b"")
        self._codes: dict[str, int] = {}
        self._through: int | None = None

    def read(self, ledger: Ledger, through_block: int | None) -> None:
        """Add those of the blocks that were not read yet, up to this one; None: all, once."""
        query = "SELECT clip_id, source_id, signature FROM {} WHERE signature IS NOT NULL AND {}"
        if self._through is None:
            assert not len(self.names)
            where = ("clips", _looked_at(through_block))
        else:
            of_blocks = f"number > {self._through} AND number <= {through_block}"
            where = ("blocks JOIN clips USING (source_id)", of_blocks)
        self._through = through_block
        names, sources, pictures = [], [], bytearray()
        for clip_id, source, content in ledger.sql(f"{query.format(*where)} ORDER BY clip_id"):
            names.append(clip_id)
            sources.append(self._codes.setdefault(source, len(self._codes)))
            if isinstance(content, str) or len(content) != SIGNATURE_BYTES:
                Signature.from_text(content if isinstance(content, str) else content.hex())
            pictures += content[:PICTURE_BYTES]
        at, _ = self.find(np.array(names, np.object_))
        added = Stacked.of_pictures(bytes(pictures))
        self.names = np.insert(self.names, at, names)
        self.sources = np.insert(self.sources, at, sources)
        self.stacked = Stacked(
            np.insert(self.stacked.hashes, at, added.hashes, axis=0),
            np.insert(self.stacked.colours, at, added.colours, axis=0),
        )

    def find(self, names: NDArray[np.object_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where clips are, or would be; and whether they are there."""
        places = np.searchsorted(self.names, names)
        ended = np.append(self.names, np.array([None], np.object_))
        return places, ended.take(places) == names


class _Pair(NamedTuple):
    """Two clips of different sources that are one recording."""

    first: str
    second: str
    distance: float


class _Compared(NamedTuple):
    """A clip of a pair, by column: its whole row is read only where it changes."""

    clip_id: str
    source_id: str
    split: str
    record: str
    gone: bool
    in_question: bool
    packed: bool

    @property
    def rank(self) -> tuple[bool, bool, float, float, str]:
        clip = msgspec.json.decode(self.record, type=Clip)
        height, width = clip.size_hw
        return clip.split == "train", not self.packed, -height * width, -clip.fps, self.clip_id


_COMPARED = (
    f"clip_id, source_id, split, clip, reason = '{TAKEN_DOWN}', {IN_QUESTION}, status = 'accepted' "
    "AND EXISTS (SELECT 1 FROM shard_of WHERE shard_of.clip_id = clips.clip_id)"
)


class _Verdict(NamedTuple):
    """What the ledger says of a clip that is out. It keeps the clip's record: should the better
    copy leave, this one comes back."""

    reason: str
    detail: str
    measured: float | None = None
    threshold: float | None = None
    status: str = "rejected"
    stage: str = "dedup"


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
    rows = map(_Compared._make, ledger.decisions.columns(sorted(names), _COMPARED))
    seen = {row.clip_id: row for row in rows if row.gone or row.in_question}
    gone = {name for name, clip in seen.items() if clip.gone}
    ranked = [*sorted(gone), *sorted(seen.keys() - gone, key=lambda name: seen[name].rank)]
    order = {name: place for place, name in enumerate(ranked)}
    pairs = [
        _Pair(a, b, apart) if order[a] < order[b] else _Pair(b, a, apart)
        for a, b, apart in pairs
        if a in order and b in order
    ]
    verdicts = _near(gone, sorted(pairs, key=lambda p: (order[p.second], order[p.first])))
    between = [pair for pair in pairs if not {pair.first, pair.second} & gone]
    verdicts |= _leaks(ledger, verdicts, between, seen, in_question)
    stands = ledger.decisions.columns(sorted(verdicts), f"clip_id, {', '.join(_Verdict._fields)}")
    news = [name for name, *columns in stands if _Verdict(*columns) != verdicts[name]]
    changed = [replace(d, **verdicts[d.clip_id]._asdict()) for d in ledger.decisions.of(news)]
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
    asked = np.ones(len(names), np.bool_)
    if new is not None:
        places, there = pictures.find(np.array(sorted(new), np.object_))
        asked[:] = False
        asked[places[there]] = True
    before = np.array([pair[:2] for pair in known], np.object_).reshape(-1, 2)
    places, there = pictures.find(before)
    pairs = places[there.all(1)].T
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


def _near(gone: Set[str], pairs: Iterable[_Pair]) -> dict[str, _Verdict]:
    """The copies, of pairs in the order of their ranks."""
    verdicts: dict[str, _Verdict] = {}
    for pair in pairs:
        if pair.first in verdicts or pair.second in verdicts or pair.second in gone:
            continue
        why = "was taken down" if pair.first in gone else "comes before it"
        detail = f"the same recording as {pair.first}, which {why}"
        verdicts[pair.second] = _Verdict(NEAR_DUPLICATE, detail, round(pair.distance, 3), 1.0)
    return verdicts


def _leaks(
    ledger: Ledger,
    out: Iterable[str],
    pairs: Iterable[_Pair],
    seen: Mapping[str, _Compared],
    in_question: str,
) -> dict[str, _Verdict]:
    """What is left in a split that another of its group's clips keeps."""
    rows = list(
        ledger.sql(
            f"SELECT source_id, split, uploader, person, count(*) FROM clips WHERE {in_question} "
            "GROUP BY 1, 2, 3, 4"
        )
    )
    splits = Counter(split for _, split, *_ in rows)
    if len(splits) < 2:
        return {}
    links = [(seen[pair.first].source_id, seen[pair.second].source_id) for pair in pairs]
    links += ledger.sql(
        "SELECT min(source_id) OVER (PARTITION BY packets_sha256), source_id FROM surveys "
        "WHERE packets_sha256 IN (SELECT packets_sha256 FROM surveys WHERE packets_sha256 != '' "
        "GROUP BY 1 HAVING count(*) > 1)"
    )
    # A group in several splits has a clip outside of the largest: few sources are in such groups.
    largest = max(splits, key=lambda split: splits[split])
    related = _related({source for source, split, *_ in rows if split != largest}, rows, links)
    kept: Counter[tuple[str, str]] = Counter()
    groups = Groups()
    for source_id, split, uploader, person, count in rows:
        if source_id in related:
            kept[source_id, split] += count
            for what, name in (("uploader", uploader), ("person", person)):
                if name:
                    groups.join(source_id, f" {what} {name}")
    for first, second in links:
        if first in related:
            groups.join(first, second)
    for name in out:
        if seen[name].source_id in related:
            kept[seen[name].source_id, seen[name].split] -= 1
    found: dict[str, set[str]] = {}
    for (source_id, split), count in kept.items():
        if count:
            found.setdefault(groups.root(source_id), set()).add(split)
    verdicts: dict[str, _Verdict] = {}
    for (source_id, split), count in kept.items():
        stays = min(found.get(groups.root(source_id), {split}), key=lambda s: (s == "train", s))
        if not count or split == stays:
            continue
        detail = f"clips of its source, uploader, person or recording are in {stays!r}"
        ids = f"SELECT clip_id FROM clips WHERE {in_question} AND source_id = ? AND split = ?"
        leaks = {clip_id for (clip_id,) in ledger.sql(ids, source_id, split)}.difference(out)
        verdicts |= dict.fromkeys(leaks, _Verdict(SPLIT_LEAK, detail))
    return verdicts


def _related(
    sources: set[str],
    rows: Sequence[tuple[str, str, str, str, int]],
    links: Sequence[tuple[str, str]],
) -> set[str]:
    """These sources and all that are in one group with one of them."""
    uploaders, persons = {""}, {""}
    before = 0
    while before < (before := len(sources) + len(uploaders) + len(persons)):
        for source_id, _, uploader, person, _ in rows:
            if (
                source_id in sources
                or (uploader and uploader in uploaders)
                or (person and person in persons)
            ):
                sources.add(source_id)
                uploaders.add(uploader)
                persons.add(person)
        for first, second in links:
            if first in sources or second in sources:
                sources |= {first, second}
    return sources


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
