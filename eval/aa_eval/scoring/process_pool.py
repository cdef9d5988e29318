"""Workers: videos spread over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from aa_eval.errors import EvalError
from aa_eval.malloc import keep_freed_memory
from aa_eval.protocol import Protocol
from aa_eval.scoring.cache import Cache
from aa_eval.scoring.metric_runner import Measures, full_float32
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
        with full_float32(self._measures.device):
            scores = score_video(pair, self._names, self._measures, self._cache)
        return pair.video_id, scores


_WORTH_FRAMES = 96  # below, starting processes takes longer than scoring
_WORKER_BYTES = 2 * 2**30  # of one process with all networks, and room for its frames
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
        workers: processes; this process's cores are shared out among them, unless
            OMP_NUM_THREADS says how many threads each has.

    Raises:
        VideoError: a frame cannot be decoded.
        EvalError: a process was ended from outside.
    """
    threads = threads_of_each(workers)
    longest_first = sorted(pairs, key=lambda pair: -pair.num_frames)
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    started = context.Value("i", 0)  # how many processes have started
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
                f"one of {workers} processes was ended from outside: too little memory (run again, "
                "with fewer --workers), or a script without `if __name__ == '__main__':`, which "
                "each process runs again; finished videos are in the cache"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def usable_cores() -> int:
    """Cores that this process may run on: in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(pairs: Sequence[Pair], device: str) -> int:
    """Processes that pay for their start: as many as cores (or GPUs), videos and memory allow.

    One for a script without `if __name__ == "__main__":`, which every new process would run again.
    """
    if not _main_is_guarded():
        return 1
    if device != "cpu":
        import torch  # takes seconds to import

        return min(torch.cuda.device_count() if device == "cuda" else 1, len(pairs))
    if sum(pair.num_frames for pair in pairs) < _WORTH_FRAMES:
        return 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(usable_cores(), len(pairs), memory // _WORKER_BYTES))


def _main_is_guarded() -> bool:
    file = getattr(sys.modules["__main__"], "__file__", None)  # a notebook has none
    if file is None or not Path(file).is_file():
        return True
    return b"__main__" in Path(file).read_bytes()


def threads_of_each(workers: int) -> int:
    """Threads of each of `workers` processes; the user's OMP_NUM_THREADS, where it is set, wins."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else max(1, usable_cores() // workers)


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
    """Of the process that started as `number`: the GPUs in turn, unless one was named."""
    if device != "cuda":
        return device
    import torch  # takes seconds to import

    return f"cuda:{number % torch.cuda.device_count()}"


def _score(pair: Pair) -> tuple[str, VideoScores]:
    assert _scorer is not None  # the initializer ran in this process
    return _scorer.score(pair)
