"""Workers: videos spread over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized

from aa_eval.errors import EvalError
from aa_eval.protocol import Protocol
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.malloc import keep_freed_memory
from aa_eval.scoring.metric_runner import Measures
from aa_eval.scoring.video_scores import VideoScores, score_video
from aa_eval.videos.pairing import Pair


class VideoScorer:
    """What one process keeps between videos: its networks are built once."""

    def __init__(
        self,
        names: Sequence[str],
        protocols: Sequence[Protocol],
        device: str,
        cache: Cache | None,
    ) -> None:
        keep_freed_memory()
        self._names, self._cache = names, cache
        self._measures = Measures(protocols, device, cache)

    def score(self, pair: Pair) -> tuple[str, VideoScores]:
        """The video's id, and all that was asked of it."""
        scores = score_video(pair, self._names, self._measures, self._cache)
        return pair.video_id, scores


_scorer: VideoScorer | None = None  # one per process, set by its initializer


def score_in_processes(
    pairs: Sequence[Pair],
    names: Sequence[str],
    protocols: Sequence[Protocol],
    device: str,
    cache: Cache | None,
    workers: int,
) -> Iterator[tuple[Pair, VideoScores]]:
    """`score_video` of every pair, in the order in which they finish.

    Longest videos go first. An error in one video ends the run after those that are being scored;
    what is in the cache stays.

    Args:
        device: "cuda" spreads the processes over all GPUs.
        workers: processes; the machine's cores are shared out among them.

    Raises:
        VideoError: a frame cannot be decoded.
        EvalError: a process was ended from outside.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    longest_first = sorted(pairs, key=lambda pair: -pair.num_frames)
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    started = context.Value("i", 0)  # how many processes have begun
    with ProcessPoolExecutor(
        max_workers=min(workers, len(pairs)),
        mp_context=context,
        initializer=_start,
        initargs=(tuple(names), tuple(protocols), device, cache, threads, started),
    ) as pool:
        pending = {pool.submit(_score, pair): pair for pair in longest_first}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()[1]
        except BrokenProcessPool as error:
            raise EvalError(
                f"one of {workers} processes was ended from outside (too little memory?): run "
                "again, with fewer --workers; finished videos are in the cache"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start(
    names: tuple[str, ...],
    protocols: tuple[Protocol, ...],
    device: str,
    cache: Cache | None,
    threads: int,
    started: Synchronized[int],
) -> None:
    global _scorer
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends without a traceback of its own
    # read by OpenMP when torch is first imported, which is after this
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with started.get_lock():
        number = started.value
        started.value += 1
    _scorer = VideoScorer(names, protocols, _device_of(number, device), cache)


def _device_of(number: int, device: str) -> str:
    """Of the process that was begun as `number`: the GPUs in turn, unless one was named."""
    if device != "cuda":
        return device
    import torch  # takes seconds to import

    return f"cuda:{number % torch.cuda.device_count()}"


def _score(pair: Pair) -> tuple[str, VideoScores]:
    assert _scorer is not None  # the initializer ran in this process
    return _scorer.score(pair)
