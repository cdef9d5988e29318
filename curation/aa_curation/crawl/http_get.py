"""One GET over one connection to one checked address, bounded in time and size.

A socket's own timeout starts again with every byte, so a server that sends one every few seconds
could hold a connection for ever. A timer closes the socket of a response that is too slow.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from aa_curation.check import Drop
from aa_curation.crawl.address import resolve
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.errors import FetchOutageError, FetchRefusedError

_CHUNK_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of an http or https URL that a request needs."""

    text: str
    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Split an URL; its fragment is dropped, what a request line may not hold is encoded.

    Raises:
        FetchRefusedError: another scheme, no host, or a password in it.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        encoded = "".join(
            c if "!" <= c <= "~" else "".join(f"%{byte:02X}" for byte in c.encode()) for c in target
        )
    except ValueError as error:
        raise FetchRefusedError(Drop("bad_url", detail=f"{text!r}: {error}")) from None
    if parts.scheme not in {"http", "https"}:
        detail = f"{text!r}: only http and https are crawled"
        raise FetchRefusedError(Drop("unsupported_scheme", detail=detail))
    host = (parts.hostname or "").rstrip(".")  # "example.org." is the same host
    if not host:
        raise FetchRefusedError(Drop("bad_url", detail=f"{text!r} names no host"))
    if parts.username or parts.password:
        detail = "it carries a user name or password, which the corpus would publish"
        raise FetchRefusedError(Drop("bad_url", detail=detail))
    default = 443 if parts.scheme == "https" else 80
    return Url(text, parts.scheme, host, port or default, encoded)


class Response:
    """A status, headers, and a body that is read in chunks."""

    def __init__(self, url: Url, answer: urllib3.BaseHTTPResponse, guard: _Guard) -> None:
        self.url = url
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._guard = guard

    @property
    def total_bytes(self) -> int | None:
        """The size of the whole file, as the headers say; None if they do not."""
        if self.status == 206:
            match = re.fullmatch(r"bytes \d+-\d+/(\d+)", self.headers.get("Content-Range", ""))
            return _number(match[1]) if match else None
        if self.is_chunked:  # which overrides a length (RFC 9112, Sec. 6.3)
            return None
        lengths = {part.strip() for part in self.headers.get("Content-Length", "").split(",")}
        length = lengths.pop() if len(lengths) == 1 else ""
        return _number(length) if re.fullmatch(r"[0-9]+", length) else None

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks, of which an empty one is the last."""
        return self.headers.get("Transfer-Encoding", "").strip().lower() == "chunked"

    @property
    def range_start(self) -> int:
        """The first byte of a partial response; -1 if the headers do not say."""
        match = re.match(r"bytes (\d+)-", self.headers.get("Content-Range", ""))
        return _number(match[1]) if match else -1

    @property
    def validator(self) -> str:
        """What If-Range may carry: a strong ETag, else "". Dates are too coarse, weak tags do not
        name bytes."""
        etag = self.headers.get("ETag", "")
        return etag if etag.startswith('"') else ""

    @property
    def encoding(self) -> str:
        """How the body is packed, for its content or its transfer; "" for a body as it is."""
        told = (self.headers.get(name, "") for name in ("Content-Encoding", "Transfer-Encoding"))
        packed = (encoding.strip().lower() for encoding in told)
        return next((name for name in packed if name not in {"", "identity", "chunked"}), "")

    def iter_body(self) -> Iterator[bytes]:
        """The body as it was sent. A body that the server ends before its Content-Length ends here
        as well; compare with `total_bytes`.

        Raises:
            FetchRefusedError: `too_slow`.
            FetchOutageError: the connection broke, or a chunked body lacks its last chunk.
        """
        policy, guard = self._guard.policy, self._guard
        begun_s = window_s = time.monotonic()
        in_window = 0
        guard.arm(2 * policy.stall_s)
        while True:
            try:
                chunk = self._answer.read1(_CHUNK_BYTES)
            except (HTTPError, http.client.HTTPException, OSError) as error:
                guard.raise_if_fired()
                raise FetchOutageError(f"{self.url.text} broke off: {error!r}") from None
            if not chunk:
                guard.raise_if_fired()
                return
            yield chunk
            in_window += len(chunk)
            now_s = time.monotonic()
            if now_s - begun_s > policy.total_s:
                raise _too_slow(f"not done in {policy.total_s:g} s")
            if now_s - window_s >= policy.stall_s:
                if in_window < policy.min_bytes_per_s * (now_s - window_s):
                    raise _too_slow(f"{in_window} bytes in {now_s - window_s:.1f} s")
                window_s, in_window = now_s, 0
                guard.arm(2 * policy.stall_s)


@contextmanager
def get(url: Url, headers: dict[str, str], policy: FetchPolicy) -> Iterator[Response]:
    """Send one GET; redirects are not followed, nothing is decompressed.

    Raises:
        FetchRefusedError: the address is not public, the server is too slow, or it does not answer
            in HTTP.
        FetchOutageError: no connection, or it broke before the headers were whole.
    """
    addresses = resolve(url.host, url.port, allow_loopback=policy.allow_loopback)
    connection = _connect(url, addresses, policy)
    guard = _Guard(connection, policy)
    try:
        # Silence is ended by the socket's timeout; this is for who sends a byte now and then.
        guard.arm(2 * policy.stall_s)
        try:
            connection.request(
                "GET",
                url.target,
                # Without Accept-Encoding nothing is compressed, so nothing can be a bomb.
                headers={
                    "Host": _host_header(url),
                    "User-Agent": policy.user_agent,
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                    **headers,
                },
                preload_content=False,
                decode_content=False,
                enforce_content_length=False,
            )
            answer = connection.getresponse()
        except (http.client.RemoteDisconnected, OSError) as error:
            guard.raise_if_fired()
            raise FetchOutageError(f"{url.origin} broke off: {error}") from None
        except (HTTPError, http.client.HTTPException, ValueError) as error:
            guard.raise_if_fired()
            detail = f"{type(error).__name__}: {error}"[:200]
            raise FetchRefusedError(Drop("no_http", detail=detail)) from None
        yield Response(url, answer, guard)
    finally:
        guard.disarm()
        connection.close()


def _connect(url: Url, addresses: list[str], policy: FetchPolicy) -> HTTPConnection:
    """To the first address that answers: an address that was checked, never a name."""
    trouble: Exception | None = None
    for address in addresses:
        connection: HTTPConnection
        if url.scheme == "https":
            connection = HTTPSConnection(
                address,
                url.port,
                timeout=policy.connect_s,
                server_hostname=url.host,
                ssl_context=ssl.create_default_context(),
            )
        else:
            connection = HTTPConnection(address, url.port, timeout=policy.connect_s)
        guard = _Guard(connection, policy)
        guard.arm(policy.connect_s)
        try:
            connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(policy.stall_s)
            connection.timeout = policy.stall_s
            return connection
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise FetchRefusedError(Drop("bad_certificate", detail=str(error)[:200])) from None
        except (HTTPError, OSError) as error:
            connection.close()
            trouble = error
        finally:
            guard.disarm()
    raise FetchOutageError(f"no connection to {url.origin}: {trouble}")


class _Guard:
    """Closes a connection's socket when the time is up; the blocked reader then gets an error."""

    def __init__(self, connection: HTTPConnection, policy: FetchPolicy) -> None:
        self.policy = policy
        self._connection = connection
        self._timer: threading.Timer | None = None
        self._sock: socket.socket | None = None
        self._fired = False

    def arm(self, seconds: float) -> None:
        self.disarm()
        # The response takes the socket over and the connection forgets it: keep it.
        self._sock = self._connection.sock or self._sock
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def raise_if_fired(self) -> None:
        if self._fired:
            raise _too_slow(f"less than {self.policy.min_bytes_per_s:g} bytes/s")

    def _fire(self) -> None:
        self._fired = True
        sock = self._connection.sock or self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it is closed already


def _number(digits: str) -> int:
    """Python refuses to parse thousands of digits; no file has more than these bytes."""
    return int(digits) if len(digits) <= 18 else 10**18


def _too_slow(detail: str) -> FetchRefusedError:
    return FetchRefusedError(Drop("too_slow", detail=detail))


def _host_header(url: Url) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    default = 443 if url.scheme == "https" else 80
    return host if url.port == default else f"{host}:{url.port}"
