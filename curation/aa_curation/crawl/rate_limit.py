"""Rate limits: the interval between requests to one host, backoff and Retry-After."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable

from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from aa_curation.errors import FetchOutageError


class Pace:
    """A token bucket that holds one token: requests to a host are at least an interval apart.

    Args:
        interval_s: between the starts of two requests.
        stop: when it is set, `wait` raises a FetchOutageError.
        wait_at_most_s: for a longer wait, `wait` raises a FetchOutageError at once.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        interval_s: float,
        stop: threading.Event,
        wait_at_most_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval_s = interval_s
        self.wait_at_most_s = wait_at_most_s
        self._stop = stop
        self._clock = clock
        self._next_s = clock()

    def wait(self) -> None:
        """Wait until a request may be sent, and take the token. One thread per host at a time."""
        left_s = self.left_s()
        if left_s > self.wait_at_most_s:
            raise FetchOutageError(f"its host may be asked again in {left_s:.0f} s", left_s)
        while (left_s := self.left_s()) > 0:
            if self._stop.wait(left_s):
                break
        if self._stop.is_set():
            raise FetchOutageError("the crawl was stopped")
        self._next_s = self._clock() + self.interval_s

    def left_s(self) -> float:
        """Seconds until a request may be sent; 0 or less: now."""
        return self._next_s - self._clock()

    def pause(self, seconds: float) -> None:
        """Send no request to the host for so many seconds."""
        self._next_s = max(self._next_s, self._clock() + seconds)


def backoff_s(attempt: int, base_s: float, at_most_s: float, random_: random.Random) -> float:
    """Seconds to wait after the failed attempt number `attempt` (from 1): exponential backoff with
    full jitter, so that crawlers that failed together do not come back together."""
    return random_.uniform(0, min(at_most_s, base_s * 2 ** (attempt - 1)))


def retry_after_s(header: str | None) -> float:
    """Seconds that a Retry-After header asks for (a number or a date); 0 without one."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(Retry().parse_retry_after(header)))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
