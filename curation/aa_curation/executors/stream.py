"""The stream of a run: sources are fetched, surveyed, curated and packed at the same time.

Sources come in blocks, in an order that their ids fix: those of held-out splits first, then by a
hash, so that every block is a sample of all. Within a block everything overlaps, and the next
blocks are surveyed meanwhile. What depends on other clips is decided for one block after the other:
exact duplicates once its sources are surveyed, near duplicates, splits and full shards once its
clips are decided. So shards appear during a run, and are the same whenever which worker is
done, and however often the run is killed: which sources are a block, and which blocks are closed,
is in the ledger.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from aa_curation.corpus.exact_duplicates import reject_duplicates
from aa_curation.corpus.fetch_sources import Fetchers, Fetches, located, to_fetch
from aa_curation.corpus.near_duplicates import Pictures, separate
from aa_curation.corpus.pending import clips_to_curate, is_surveyed
from aa_curation.corpus.purge import purge
from aa_curation.corpus.write_shards import new_shards, sha256_of_clips
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.store import Store
from aa_curation.errors import WorkerDiedError
from aa_curation.ledger.file import LedgerWriter
from aa_curation.ledger.records import Decision, PlannedClip, Survey, failed
from aa_curation.recipe import Recipe
from aa_curation.sources.source_list import Source
from aa_curation.steps.pack_shard import CLIPS
from aa_curation.steps.survey import file_stamp
from aa_datasets.progress import progress

if TYPE_CHECKING:
    from tqdm import tqdm

Step = Literal["survey", "curate", "pack"]
Task = tuple[Any, ...]

NUM_BLOCKS = 32  # of a run, if all were as the first: a shard is there before a tenth is done
LEAST_SOURCES = 16  # of a block
GROWTH = 8  # a block is an eighth of those before it, where that is more than the first
_BLOCKS_AT_ONCE = 2  # of which clips are curated
_FETCH_WAIT_S = 0.2
_WORKER_WAIT_S = 10.0


class Workers(Protocol):
    """Processes that run steps: methods of `steps.worker.Worker`."""

    def room(self) -> bool:
        """Whether they take another task: some wait, so that no worker does."""
        ...

    def busy(self) -> bool:
        """Whether they have a task that is not finished."""
        ...

    def submit(self, step: Step, task: Task) -> None:
        """Give them a task: the arguments of a step."""
        ...

    def fetchers(self, store: Store) -> Fetchers | None:
        """Processes that fetch sources into a store; None: this one does."""
        ...

    def finished(self, timeout_s: float) -> list[tuple[Step, Task, Any]]:
        """Step, task and result of those that were finished since the last call.

        The result is a `WorkerDiedError` where the task killed its worker.

        Args:
            timeout_s: to wait, if there are none and tasks are at work.
        """
        ...


class Executor(Protocol):
    """Where the steps of a run are executed."""

    def start(
        self, recipe: Recipe, clips_folder: Path, sources: Sequence[Source]
    ) -> AbstractContextManager[Workers]:
        """Start workers; the context ends them."""
        ...


@dataclass(slots=True)
class _Block:
    """Some sources.

    Attributes:
        number: in the ledger.
        source_ids: of its sources.
        unseen: those that are not fetched and surveyed yet.
        undecided: how many of its clips are to be curated; None until its duplicates are out.
    """

    number: int
    source_ids: list[str] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)
    undecided: int | None = None


class Stream:
    """The work of one run on a corpus.

    Args:
        writer: of its ledger.
        recipe: what is done.
        sources: all that are listed and not barred.
        folder: of the corpus.
        store: of what is fetched.
        policy: of the crawl; None where no source is a web address.

    Raises:
        SourceError: sources are web addresses and `policy` is None.
    """

    def __init__(
        self,
        writer: LedgerWriter,
        recipe: Recipe,
        sources: Sequence[Source],
        folder: Path,
        store: Store,
        policy: FetchPolicy | None,
    ) -> None:
        self._writer, self._ledger, self._recipe = writer, writer.ledger, recipe
        self._folder, self._store = folder, store
        self._sources = {source.source_id: source for source in sources}
        steps = {name: self._next_step(source) for name, source in self._sources.items()}
        pending = [name for name, step in steps.items() if step is not None]
        block_of = _assign_blocks(writer, [self._sources[name] for name in pending])
        blocks: dict[int, _Block] = {}
        for name, number in block_of.items():
            if name in self._sources:
                block = blocks.setdefault(number, _Block(number))
                block.source_ids.append(name)
                if steps[name] in {"fetch", "survey"}:
                    block.unseen.add(name)
        self._block_of = block_of
        self._blocks = {number: blocks[number] for number in sorted(blocks)}
        self._surveys: list[tuple[int, str]] = []  # a heap: block, source
        self._curations: deque[tuple[PlannedClip, Source]] = deque()
        self._pictures = Pictures()
        self._packs: deque[tuple[str, list[str]]] = deque()
        self._clips_left: dict[str, int] = {}  # by source, of those that are being curated
        in_order = sorted(pending, key=lambda name: (block_of[name], name))
        for name in in_order:
            if steps[name] == "survey":
                heapq.heappush(self._surveys, (block_of[name], name))
        to_get = [self._sources[name] for name in in_order if steps[name] == "fetch"]
        self._fetches = Fetches(writer, to_get, policy, store)

    def _next_step(self, source: Source) -> str | None:
        """What is to be done with a source; None if nothing is."""
        if to_fetch(self._ledger, source, self._store):
            return "fetch"
        here = located(self._ledger, source, self._store)
        if here is None:
            return None  # refused
        if not is_surveyed(self._ledger, here):
            return "survey"
        return "curate" if clips_to_curate(self._ledger, source.source_id) else None

    def run(self, executor: Executor) -> None:
        """Do all of it. Shards that are not full are left to `pack`."""
        workers: Workers | None = None
        with ExitStack() as stack:
            total = sum(len(block.source_ids) for block in self._blocks.values())
            shown: tqdm[Source] = progress(
                desc="curate", unit="source", total=total, disable=not total
            )
            bar = stack.enter_context(shown)

            def start() -> Workers:
                sources = list(self._sources.values())
                started = executor.start(self._recipe, self._folder / CLIPS, sources)
                return stack.enter_context(started)

            if self._fetches.waiting:
                workers = start()
                self._fetches.fetchers = workers.fetchers(self._store)
            stack.enter_context(self._fetches)
            bar.update(self._settle())
            while self._blocks or self._packs or (workers and workers.busy()):
                while (workers is None or workers.room()) and (task := self._next_task()):
                    workers = workers or start()
                    workers.submit(*task)
                self._fetched(0.0 if workers and workers.busy() else _FETCH_WAIT_S)
                done = 0
                if workers and workers.busy():
                    wait_s = _FETCH_WAIT_S if self._fetches.waiting else _WORKER_WAIT_S
                    for result in workers.finished(wait_s):
                        done += self._record(*result)
                bar.update(done + self._settle())

    def _next_task(self) -> tuple[Step, Task] | None:
        """What brings the first blocks further comes first."""
        if self._packs:
            name, clip_ids = self._packs.popleft()
            return "pack", (name, list(self._ledger.decisions.of(clip_ids)))
        if self._curations:
            return "curate", self._curations.popleft()
        if self._surveys:
            _, name = heapq.heappop(self._surveys)
            here = located(self._ledger, self._sources[name], self._store)
            return "survey", (here,)
        return None

    def _fetched(self, timeout_s: float) -> None:
        for name in self._fetches.poll(timeout_s):
            here = located(self._ledger, self._sources[name], self._store)
            block = self._block_of[name]
            if here is None or is_surveyed(self._ledger, here):
                self._blocks[block].unseen.discard(name)
            else:
                heapq.heappush(self._surveys, (block, name))

    def _record(self, step: Step, task: Task, result: Any) -> int:
        """Write down a result; returns how many sources that completes."""
        if step == "pack":
            name, decisions = task
            if not isinstance(result, WorkerDiedError):  # then `pack` does it at the end
                ids = [decision.clip_id for decision in decisions]
                self._ledger.add_packed(name, result, sha256_of_clips(self._ledger, ids))
            return 0
        if step == "survey":
            (source,) = task
            self._writer.add_survey(_survey_row(source, result))
            self._blocks[self._block_of[source.source_id]].unseen.discard(source.source_id)
            return 0
        planned, source = task
        self._writer.add_decision(_clip_row(planned, result))
        block = self._blocks[self._block_of[source.source_id]]
        assert block.undecided is not None
        block.undecided -= 1
        self._clips_left[source.source_id] -= 1
        if self._clips_left[source.source_id]:
            return 0
        del self._clips_left[source.source_id]
        return 1

    def _settle(self) -> int:
        """Settle the blocks of which all is there; returns how many sources that completes."""
        done, changed = 0, True
        while changed and self._blocks:
            ahead = list(islice(self._blocks.values(), _BLOCKS_AT_ONCE))
            waiting = next((block for block in ahead if block.undecided is None), None)
            changed = waiting is not None and not waiting.unseen
            if waiting is not None and changed:
                done += self._part(waiting)
            if ahead[0].undecided == 0:
                self._close(ahead[0])
                changed = True
        return done

    def _part(self, block: _Block) -> int:
        """Reject exact duplicates; the block's other clips are curated."""
        if self._ledger.takedowns:  # a file taken down, fetched by another name
            purge(self._ledger, self._folder / CLIPS, self._store)
        for row in reject_duplicates(self._ledger, self._sources, through_block=block.number):
            self._writer.add_decision(row)
        block.undecided, done = 0, 0
        for name in block.source_ids:
            clips = clips_to_curate(self._ledger, name)
            here = located(self._ledger, self._sources[name], self._store)
            if here is None or not clips:
                done += 1
                continue
            block.undecided += len(clips)
            self._clips_left[name] = len(clips)
            self._curations.extend((clip, here) for clip in clips)
        return done

    def _close(self, block: _Block) -> None:
        """Reject near duplicates and leaks, and plan the shards that are full, at once: a run that
        is killed has closed a block or has not."""
        near = self._recipe.near_duplicates
        for row in separate(
            self._ledger, near, through_block=block.number, pictures=self._pictures
        ):
            self._ledger.add_decision(row)
        shards = new_shards(self._ledger, full_through_block=block.number)
        self._ledger.add_shards(shards)
        self._ledger.close_block(block.number)
        self._writer.commit()
        del self._blocks[block.number]
        self._packs.extend(shards.items())


def _assign_blocks(writer: LedgerWriter, pending: Sequence[Source]) -> dict[str, int]:
    """The block of each source of an open one: those that an earlier run left, then new ones for
    the other sources with something to do."""
    ledger = writer.ledger
    block_of = ledger.open_blocks()
    new = [source for source in pending if source.source_id not in block_of]
    if new:
        new.sort(key=_place)
        least = max(LEAST_SOURCES, math.ceil(len(new) / NUM_BLOCKS))
        number, first = ledger.last_block() + 1, 0
        blocks: dict[int, list[str]] = {}
        while first < len(new):
            # Each close looks at all clips so far: later blocks are larger, so that there are less.
            after = first + max(least, first // GROWTH)
            blocks[number] = [source.source_id for source in new[first:after]]
            number, first = number + 1, after
        ledger.add_blocks(blocks)
        writer.commit()
        block_of |= {name: number for number, names in blocks.items() for name in names}
    return block_of


def _place(source: Source) -> tuple[bool, bytes]:
    # Held-out splits first: clips for training give way to them, before they are packed.
    return source.split == "train", hashlib.sha256(source.source_id.encode()).digest()


def _survey_row(source: Source, result: Survey | WorkerDiedError) -> Survey:
    if isinstance(result, Survey):
        return result
    row = failed(f"{source.source_id}-0000", source.source_id, "survey", result)
    return Survey(source.source_id, "", "", *file_stamp(source), (), (row,))


def _clip_row(planned: PlannedClip, result: Decision | WorkerDiedError) -> Decision:
    if isinstance(result, Decision):
        return result
    return failed(planned.clip_id, planned.source_id, "clip", result)
