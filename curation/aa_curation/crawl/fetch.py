"""Fetch one URL into the store, or say why not."""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urljoin

from aa_curation.check import Drop
from aa_curation.crawl.http_get import Response, Url, get, parse_url
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.rate_limit import Pace, backoff_s, retry_after_s
from aa_curation.crawl.robots import MAX_ROBOTS_BYTES, RobotRules, opted_out, read_robots
from aa_curation.crawl.store import Partial, Store
from aa_curation.errors import FetchOutageError, FetchRefusedError
from aa_curation.ledger.records import Fetched

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({202, 408, 425, 429})  # and every 5xx; 202: it is being made
_REFUSED_NOW = frozenset({400, 401, 403})  # where a signed URL has expired
# Query parameters of signed URLs: of S3, Google, Azure, CloudFront, Akamai and their like.
_SIGNED = re.compile(
    r"[?&](x-(amz|goog|oss|obs|tos)-(signature|expires)|signature|sig|sign|expires?|policy|token"
    r"|auth_key|hdne[a-z]|hdnts|q-sign-algorithm)=",
    re.IGNORECASE,
)
_MEDIA_TYPES = re.compile(
    r"video/.+|image/gif|(application|binary)/(x-)?octet-stream|application/(mp4|x-matroska|ogg"
    r"|vnd\.rn-realmedia|(x-)?(force-)?download)"
    r"|model/vnd\.mts|text/vnd\.trolltech\.linguist"  # what suffixes .mts and .ts are taken for
)
# What no video begins with: markup, playlists that name other files, scripts.
_TEXT = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<[!?a-z]|#EXTM3U|ffconcat|[\[{]\s*[\"{]|%PDF|#!)"
    rb"|\xff\xfe<\x00|\xfe\xff\x00<",  # UTF-16
    re.IGNORECASE,
)


@dataclass
class _Host:
    """A host over all its ports and schemes; one thread asks it at a time.

    Attributes:
        robots: by origin (scheme, host, port), each of which has its own robots.txt.
    """

    pace: Pace
    lock: threading.Lock = field(default_factory=threading.Lock)
    robots: dict[str, RobotRules] = field(default_factory=dict)


class Fetcher:
    """Asks for URLs, one attempt at a time; keeps the rules and the pace of every host that it
    asked. Thread-safe. `Attempts` makes all attempts for one URL.

    Args:
        policy: rates and limits.
        store: where bodies are written.
        seed: of the jitter.
        alone: `{host: monotonic seconds}` before which hosts are not asked, since another fetcher
            asked them; a host that is not named, not before the time of "".
    """

    def __init__(
        self,
        policy: FetchPolicy,
        store: Store,
        seed: int = 0,
        alone: Mapping[str, float] | None = None,
    ) -> None:
        self.policy = policy
        self.store = store
        self.hosts_at_once = policy.hosts_at_once
        self._alone = alone or {}
        self.stop = threading.Event()
        self._hosts: dict[str, _Host] = {}
        self._hosts_lock = threading.Lock()
        self.random = random.Random(seed)

    def close(self) -> None:
        """End what is being fetched at its next chunk."""
        self.stop.set()

    def wait_s(self, host: str) -> float:
        """How long a host is to be left alone yet; 0 where that is more than this run waits for,
        which its next request says."""
        left_s = self.left_s(host)
        return 0.0 if left_s > self.policy.wait_at_most_s else left_s

    def left_s(self, host: str) -> float:
        """How long a host is to be left alone yet."""
        with self._hosts_lock:
            known = self._hosts.get(host)
        return known.pace.left_s() if known else 0.0

    def attempt(self, text: str, partial: Partial) -> Fetched:
        """Ask once, for what `partial` lacks."""
        url = parse_url(text)
        seen = {url.text}
        for _ in range(self.policy.max_redirects + 1):
            answer = self.ask(text, url, partial)
            if isinstance(answer, Fetched):
                return answer
            location, url = answer, _redirected(url, answer)
            if not location or url.text in seen:
                raise _refused("redirect_loop", f"{text} leads back to {url.text}")
            seen.add(url.text)
        raise _refused("too_many_redirects", f"more than {self.policy.max_redirects}")

    def ask(self, text: str, url: Url, partial: Partial) -> Fetched | str:
        """One request to one host, for the file of another URL perhaps: that file, or the address
        to which it redirects."""
        host = self._host(url)
        with host.lock:
            robots = self._robots(host, url)
            if not robots.allows(url.target):
                raise _refused("robots_txt", f"{url.origin}/robots.txt disallows {url.target}")
            got, validator = partial.resume_from()
            headers = {"Range": f"bytes={got}-", "If-Range": validator} if got else {}
            host.pace.wait()
            with get(url, headers, self.policy) as response:
                if response.status in _REDIRECTS:
                    return response.headers.get("Location", "")
                self._check(host, response)
                self._receive(response, partial, got, validator)
                return self._fetched(text, response, partial)

    def _check(self, host: _Host, response: Response) -> None:
        """Check everything that the headers tell, before a byte of the body is read."""
        status, headers, policy = response.status, response.headers, self.policy
        _raise_outage(host, response)
        if status in _REFUSED_NOW and _SIGNED.search(response.url.target):
            raise FetchOutageError(
                f"{response.url.text} answers {status}: its signature may have expired, list the "
                "URL with a new one",
                math.inf,
                of_host=False,
            )
        if status not in {200, 206, 416}:
            raise _refused(f"http_{status}", f"{response.url.text} answers {status}", status)
        forbidden = opted_out(headers.getlist("X-Robots-Tag"))
        if forbidden:
            raise _refused("x_robots_tag", f"X-Robots-Tag: {forbidden}")
        if headers.get("TDM-Reservation", "").strip() == "1":
            raise _refused("tdm_reserved", "TDM-Reservation: 1")
        if response.encoding:
            detail = f"it comes as {response.encoding}, which was not asked for"
            raise _refused("compressed_body", detail)
        media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type and not _MEDIA_TYPES.fullmatch(media_type) and status != 416:
            raise _refused("content_type", f"it is {media_type}, not a video")
        total = response.total_bytes
        if total is not None and total > policy.max_bytes:
            raise _refused("too_large", f"{total} bytes", total, policy.max_bytes)

    def _receive(self, response: Response, partial: Partial, got: int, validator: str) -> None:
        """Append the body to what an earlier attempt got, or write it from the start."""
        policy = self.policy
        # A server that ignores If-Range may send the rest of another version: its tag tells.
        other = bool(got) and response.validator not in {"", validator}
        if response.status == 416 or (
            response.status == 206 and (other or response.range_start != got)
        ):
            partial.discard()
            raise _ShortBodyError(f"the server does not resume that version at byte {got}", got)
        total = response.total_bytes
        if response.status == 206 and got:
            size, file = got, partial.append()
        else:
            size, file = 0, partial.begin(response.validator)
        with file:
            for chunk in response.iter_body():
                if size == 0 and _TEXT.match(chunk):
                    raise _refused("not_a_video", f"the body begins with {chunk[:24]!r}")
                size += len(chunk)
                if size > policy.max_bytes:
                    raise _refused("too_large", f"over {size} bytes", size, policy.max_bytes)
                file.write(chunk)
                if self.stop.is_set():
                    raise FetchOutageError("the crawl was stopped")
        if total is not None and size < total:
            if size > got and partial.resume_from()[0]:
                raise FetchOutageError(f"{response.url.text} broke off at byte {size} of {total}")
            raise _ShortBodyError(f"Content-Length is {total} bytes, the body has {size}", size)
        if size == 0 and total is None and not response.is_chunked:
            # It may have broken off among the headers, which are then taken for whole.
            raise FetchOutageError(f"{response.url.text} was closed before a byte of the body")
        if size == 0:
            raise _refused("empty_body", "0 bytes")

    def _fetched(self, url: str, response: Response, partial: Partial) -> Fetched:
        sha256, num_bytes = self.store.adopt(partial)
        return Fetched(
            url=url,
            final_url=response.url.text,
            sha256=sha256,
            num_bytes=num_bytes,
            content_type=response.headers.get("Content-Type", ""),
            etag=response.headers.get("ETag", ""),
            last_modified=response.headers.get("Last-Modified", ""),
            retrieved_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _host(self, url: Url) -> _Host:
        with self._hosts_lock:
            if url.host not in self._hosts:
                interval_s, limit_s = 1 / self.policy.requests_per_s, self.policy.wait_at_most_s
                pace = Pace(interval_s, self.stop, limit_s)
                until_s = self._alone.get(url.host, self._alone.get("", -math.inf))
                pace.pause(until_s - time.monotonic())
                self._hosts[url.host] = _Host(pace)
            return self._hosts[url.host]

    def _robots(self, host: _Host, url: Url) -> RobotRules:
        """The rules of an origin, asked for once (RFC 9309, Sec. 2.3): a missing file (4xx) allows
        all; while the host cannot answer (5xx, no connection, too slow) nothing is allowed."""
        if url.origin not in host.robots:
            place = parse_url(f"{url.origin}/robots.txt")
            try:
                rules = host.robots[url.origin] = self._read_robots(host, place)
            except FetchRefusedError as error:
                if error.drop.reason not in {"too_slow", "no_http"}:
                    raise
                raise FetchOutageError(f"{place.text}: {error.drop.reason}") from None
            host.pace.interval_s = max(host.pace.interval_s, rules.crawl_delay_s)
        return host.robots[url.origin]

    def _read_robots(self, host: _Host, url: Url) -> RobotRules:
        for _ in range(self.policy.max_redirects + 1):
            host.pace.wait()
            with get(url, {}, self.policy) as response:
                if response.status in _REDIRECTS:
                    url = _redirected(url, response.headers.get("Location", ""))
                    continue
                if 200 <= response.status < 300:
                    return read_robots(_whole_text(response))
                _raise_outage(host, response)
                return RobotRules()
        return RobotRules()  # RFC 9309, Sec. 2.3.1.2: too many redirects count as none there


class TryAgainError(Exception):
    """An attempt met an outage that may pass in `wait_s` seconds."""

    def __init__(self, outage: FetchOutageError, wait_s: float) -> None:
        super().__init__(str(outage))
        self.outage, self.wait_s = outage, wait_s


class Attempts:
    """The attempts to fetch one URL."""

    def __init__(self, fetcher: Fetcher, url: str) -> None:
        self._fetcher, self._url = fetcher, url
        self._partial = fetcher.store.partial(url)
        self._begun_s = time.monotonic()
        self._got_before, self._number = 0, 0
        self._short_sizes: set[int] = set()

    def next(self) -> Fetched | Drop:
        """Ask once more.

        Raises:
            TryAgainError: it met an outage, and there are attempts left.
            FetchOutageError: it met an outage, and was the last.
        """
        fetcher, policy = self._fetcher, self._fetcher.policy
        while True:
            self._number += 1
            try:
                return fetcher.attempt(self._url, self._partial)
            except FetchRefusedError as error:
                self._partial.discard()
                return error.drop
            except FetchOutageError as error:
                # An attempt that got further is a success of the resume: count from here.
                got, _ = self._partial.resume_from()
                if not got:
                    self._partial.discard()
                if got > self._got_before:
                    self._got_before, self._number = got, 1
                # A server that sends a byte per connection would be asked for ever.
                late = time.monotonic() - self._begun_s > policy.total_s
                if self._number >= policy.attempts or late or fetcher.stop.is_set():
                    raise
                if error.retry_after_s > policy.wait_at_most_s:
                    raise
                jitter_s = backoff_s(
                    self._number, policy.backoff_s, policy.backoff_at_most_s, fetcher.random
                )
                raise TryAgainError(error, max(error.retry_after_s, jitter_s)) from None
            except _ShortBodyError as error:
                self._short_sizes.add(error.size)
                if self._number < policy.attempts:
                    continue
                self._partial.discard()
                if len(self._short_sizes) > 1:  # a header that is wrong is so by the same each time
                    raise FetchOutageError(
                        f"{self._url} broke off {self._number} times: {error}"
                    ) from None
                return Drop("wrong_content_length", detail=str(error))


class _ShortBodyError(Exception):
    """A body shorter than its header says, of which nothing can be kept; `size` is in bytes."""

    def __init__(self, message: str, size: int = 0) -> None:  # 0: pickle sets it later
        super().__init__(message)
        self.size = size


def _raise_outage(host: _Host, response: Response) -> None:
    """Raise FetchOutageError for a status that may pass; the host is left alone as it asks."""
    if response.status in _PASSING or response.status >= 500:
        wait_s = retry_after_s(response.headers.get("Retry-After"))
        host.pace.pause(wait_s)
        raise FetchOutageError(f"{response.url.text} answers {response.status}", wait_s)


def _whole_text(response: Response) -> bytes:
    """A robots.txt, up to the size that RFC 9309 asks for.

    Raises:
        FetchOutageError: it is cut off or compressed: what it forbids cannot be known.
    """
    if response.encoding:
        raise FetchOutageError(f"{response.url.text} comes as {response.encoding}, not asked for")
    content = b""
    for chunk in response.iter_body():
        content += chunk
        if len(content) >= MAX_ROBOTS_BYTES:
            return content
    total = response.total_bytes
    if total is not None and len(content) < total:
        raise FetchOutageError(f"{response.url.text} broke off at byte {len(content)} of {total}")
    return content


def _refused(
    reason: str, detail: str, measured: float | None = None, threshold: float | None = None
) -> FetchRefusedError:
    return FetchRefusedError(Drop(reason, measured, threshold, detail))


def _redirected(url: Url, location: str) -> Url:
    # A header's characters are its bytes: names in UTF-8 and in others come as they were sent.
    location = "".join(c if c < "\x80" else f"%{ord(c):02X}" for c in location)
    try:
        text = urljoin(url.text, location)
    except ValueError as error:
        raise _refused("bad_url", f"{url.text} leads to {location[:100]!r}: {error}") from None
    return parse_url(text)
