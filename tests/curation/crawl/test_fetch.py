"""The crawl against a real server on this machine that does everything wrong."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import queue
import random
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aa_curation.check import Drop
from aa_curation.crawl.crawler import Outcome, crawling
from aa_curation.crawl.fetch import Attempts, Fetcher, TryAgainError
from aa_curation.crawl.policy import FetchPolicy
from aa_curation.crawl.rate_limit import Pace, backoff_s, retry_after_s
from aa_curation.crawl.store import Store
from aa_curation.errors import FetchOutageError, SourceError
from aa_curation.ledger.records import Fetched

VIDEO = bytes(range(256)) * 1000  # what is fetched is not decoded here
BOMB = gzip.compress(bytes(20 << 20))
POLICY = FetchPolicy(
    contact="tests@example.org",
    requests_per_s=1000,
    connect_s=5,
    stall_s=1.0,
    min_bytes_per_s=1000,
    backoff_s=0.01,
    backoff_at_most_s=0.05,
    wait_at_most_s=3,
    max_bytes=1 << 20,
    allow_loopback=True,
)


@dataclass
class Web:
    """The server's address, and the requests that it saw: (path, headers, monotonic seconds)."""

    base: str
    seen: list[tuple[str, dict[str, str], float]] = field(default_factory=list)
    robots: bytes | int = 404
    robots_headers: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    other: str = ""  # the address of another host
    connections: set[tuple[str, int]] = field(default_factory=set)
    most_connections: int = 0

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.seen]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, *_: object) -> None:  # type: ignore[override]  # be quiet
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        given = {"Content-Type": "video/mp4", "Content-Length": str(len(body))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in given.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        web = self.web
        web.seen.append((self.path, dict(self.headers), time.monotonic()))
        web.counts[path] = count = web.counts.get(path, 0) + 1
        web.connections.add(self.client_address)
        web.most_connections = max(web.most_connections, len(web.connections))
        with suppress(BrokenPipeError, ConnectionResetError):  # the crawler has seen enough
            self.respond(path, count)
        web.connections.discard(self.client_address)

    def respond(self, path: str, count: int) -> None:
        web = self.web
        match path:
            case "/robots.txt" if isinstance(web.robots, int):
                self.answer(web.robots, Location=f"{web.other}/robots.txt" if web.other else "")
            case "/robots.txt":
                assert isinstance(web.robots, bytes)
                self.answer(200, web.robots, Content_Type="text/plain", **web.robots_headers)
            case "/good.mp4" | "/secret/good.mp4":
                self.answer(200, VIDEO, ETag='"v1"')
            case "/chunked.mp4":
                self.answer(200, Transfer_Encoding="chunked", Content_Length="")
                for start in range(0, len(VIDEO), 50_000):
                    part = VIDEO[start : start + 50_000]
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
            case "/chunked-broken.mp4" | "/chunked-broken-tagged.mp4":
                self.chunked_and_broken(path, whole=count >= 3)
            case "/chunked-never-whole.mp4":
                self.chunked_and_broken(path, whole=False)
            case "/reset.mp4":  # neither a length nor chunks: only the reset tells
                self.answer(200, VIDEO[:100_000], Content_Length="")
                self.reset()
            case "/short-by-chance.mp4":
                self.answer(200, VIDEO[: 1000 * count], Content_Length=str(len(VIDEO)))
            case _ if path.startswith("/status/"):
                self.answer(int(path[8:11]) if count == 1 else 200, VIDEO)
            case "/expired.mp4":
                self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            case _ if path.startswith("/type/"):
                self.answer(200, VIDEO, Content_Type=path.removeprefix("/type/"))
            case _ if path.startswith("/tag/"):
                self.answer(200, X_Robots_Tag=path.removeprefix("/tag/"), Content_Length="")
                time.sleep(30)  # whoever waits for the body learns too late
            case "/to-secret":
                self.answer(302, Location="/secret/good.mp4")
            case "/to-other":
                self.answer(302, Location=f"{web.other}/secret/good.mp4")
            case "/html-as-video.mp4":
                self.answer(200, b"\n <!DOCTYPE html><title>Not found</title>" * 9)
            case "/page.html":
                self.answer(200, b"<html></html>", Content_Type="text/html; charset=utf-8")
            case "/playlist.mp4":
                self.answer(200, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
            case "/empty.mp4":
                self.answer(200)
            case "/noai.mp4":
                self.answer(200, VIDEO, X_Robots_Tag="noai, noimageai")
            case "/tdm.mp4":
                self.answer(200, VIDEO, TDM_Reservation="1")
            case "/bomb.mp4":
                self.answer(200, BOMB, Content_Encoding="gzip")
            case "/large.mp4":
                self.answer(200, b"x", Content_Length=str(2 << 20))
            case "/endless.mp4":
                self.answer(200, Content_Length="")
                for _ in range(64):
                    self.wfile.write(b"\x00" * (64 << 10))
            case "/says-more.mp4":
                self.answer(200, VIDEO[:5000], Content_Length="9000")
            case "/slow-body.mp4":
                self.answer(200, Content_Length="9000")
                for _ in range(100):
                    self.wfile.write(b"\x00")
                    time.sleep(0.05)
            case "/slow-headers.mp4":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(200):
                    self.wfile.write(b"a")
                    time.sleep(0.05)
            case "/no-http.mp4":
                self.wfile.write(b"220 mail.example ESMTP\r\n")
                self.close_connection = True
            case "/loop-a":
                self.answer(302, Location="/loop-b")
            case "/loop-b":
                self.answer(302, Location="/loop-a")
            case "/far":
                self.answer(302, Location=f"/far?{count}")
            case "/moved.mp4":
                self.answer(301, Location="/good.mp4")
            case "/to-metadata":
                self.answer(302, Location="http://169.254.169.254/latest/meta-data/")
            case "/to-file":
                self.answer(302, Location="file:///etc/passwd")
            case "/busy.mp4" if count < 3:
                self.answer(503)
            case "/patience.mp4" if count == 1:
                self.answer(429, Retry_After="1")
            case "/in-two-hours.mp4":
                self.answer(503, Retry_After="7200")
            case "/dead.mp4":
                self.answer(500)
            case "/drip.mp4":
                self.dripping()
            case "/ignores-if-range.mp4":
                self.ignoring(count)
            case "/to-nowhere":
                self.answer(302, Location="http://[x")
            case "/packed-transfer.mp4":
                self.answer(200, VIDEO, Content_Length="", Transfer_Encoding="gzip, chunked")
            case "/xml-with-mark.mp4":
                self.answer(200, b"\xef\xbb\xbf<?xml version='1.0'?><Error/>")
            case "/utf-16.mp4":
                self.answer(200, "\ufeff<html>".encode("utf-16-le"))
            case "/array.mp4":
                self.answer(200, b'[{"error": "denied"}]')
            case "/two-lengths.mp4":
                self.answer(200, VIDEO[:5000], Content_Length="9000, 9000")
            case "/headers-break.mp4" if count == 1:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Le")
                self.close_connection = True
            case "/headers-break.mp4" | "/caf\xc3\xa9.mp4" | "/caf%C3%A9.mp4" | "/caf%E9.mp4":
                self.answer(200, VIDEO)
            case "/chunks-win.mp4":
                self.answer(200, Transfer_Encoding="chunked", Content_Length=str(2 * len(VIDEO)))
                self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(VIDEO), VIDEO))
            case "/to-utf-8" | "/to-latin-1":
                place = "/caf\u00e9.mp4".encode(path.removeprefix("/to-"))
                self.answer(302, Location=place.decode("latin-1"))
            case "/digits.mp4":
                self.answer(200, b"x", Content_Length="9" * 5000)
            case "/breaks.mp4" | "/breaks-and-changes.mp4" | "/no-ranges.mp4":
                self.breaking(path, count)
            case "/busy.mp4" | "/patience.mp4":
                self.answer(200, VIDEO)
            case _:
                self.answer(404, b"not here")

    def chunked_and_broken(self, path: str, *, whole: bool) -> None:
        """Two chunks of 100 kB, then the connection ends, or all of it with the last chunk. The
        tagged one resumes."""
        tag = '"v1"' if "tagged" in path else ""
        asked = self.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        rest = f"bytes {start}-{len(VIDEO) - 1}/{len(VIDEO)}" if start else ""
        headers = {"Transfer_Encoding": "chunked", "Content_Length": "", "ETag": tag}
        self.answer(206 if start else 200, Content_Range=rest, **headers)
        body = VIDEO[start:] if whole else VIDEO[start : start + 100_000]
        for at in range(0, len(body), 50_000):
            part = body[at : at + 50_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        if whole:
            self.wfile.write(b"0\r\n\r\n")

    def reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def dripping(self) -> None:
        """One byte a connection, and each goes on where the last one ended."""
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": '"v1"', "Content_Length": str(len(VIDEO) - start)}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(VIDEO) - 1}/{len(VIDEO)}"
        self.answer(206 if start else 200, VIDEO[start : start + 1], **headers)

    def ignoring(self, count: int) -> None:
        """Breaks off once; then there is another version, of which it sends the wanted range."""
        if count == 1:
            self.answer(200, VIDEO[:60_000], ETag='"v1"', Content_Length=str(len(VIDEO)))
            return
        video = VIDEO[::-1]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": '"v2"'}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(video) - 1}/{len(video)}"
        self.answer(206 if start else 200, video[start:], **headers)

    def breaking(self, path: str, count: int) -> None:
        """Sends 60 kB at a time, then breaks off; goes on where it is asked to."""
        changed = path == "/breaks-and-changes.mp4" and count >= 3
        video, tag = (VIDEO[::-1], '"v2"') if changed else (VIDEO, '"v1"')
        asked = self.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if path == "/no-ranges.mp4" or self.headers.get("If-Range", tag) != tag:
            start = 0
        last = count >= 4 if path == "/no-ranges.mp4" else False
        body = video[start:] if last else video[start : start + 60_000]
        headers = {"ETag": "" if path == "/no-ranges.mp4" else tag}
        headers["Content-Length"] = str(len(video) - start)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(video) - 1}/{len(video)}"
        self.answer(
            206 if start else 200, body, **{k.replace("-", "_"): v for k, v in headers.items()}
        )


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as found:
        yield found


@contextmanager
def serving() -> Iterator[Web]:
    found = Web("")
    handler = type("Bound", (Handler,), {"web": found})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        found.base = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "sources")


def _files(store: Store) -> list[Path]:
    return sorted(path for path in store.folder.rglob("*") if path.is_file())


def _fetch(fetcher: Fetcher, url: str) -> Fetched | Drop:
    """All attempts, as a crawl makes them."""
    attempts = Attempts(fetcher, url)
    while True:
        try:
            return attempts.next()
        except TryAgainError as error:
            if fetcher.stop.wait(error.wait_s):
                raise error.outage from None


def crawl(urls: Sequence[str], policy: FetchPolicy, store: Store) -> Iterator[tuple[str, Outcome]]:
    done: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()
    with crawling(urls, policy, store, done.put):
        for _ in urls:
            yield done.get(timeout=60)


@pytest.mark.parametrize(
    "name",
    [
        "good.mp4", "chunked.mp4", "moved.mp4", "headers-break.mp4", "chunks-win.mp4", "to-utf-8",
        "to-latin-1",
    ],
)  # fmt: skip
def test_a_file_lies_in_the_store_under_its_sha256(web: Web, store: Store, name: str) -> None:
    fetched = _fetch(Fetcher(POLICY, store), f"{web.base}/{name}")
    assert isinstance(fetched, Fetched), fetched
    assert fetched.sha256 == hashlib.sha256(VIDEO).hexdigest()
    assert fetched.num_bytes == len(VIDEO)
    assert _files(store) == [store.path(fetched.sha256)]
    assert store.path(fetched.sha256).read_bytes() == VIDEO
    _, headers, _ = web.seen[-1]
    assert headers["User-Agent"].startswith("aa-curate/")
    assert "tests@example.org" in headers["User-Agent"]
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing.mp4", "http_404"),
        ("/html-as-video.mp4", "not_a_video"),
        ("/page.html", "content_type"),
        ("/playlist.mp4", "not_a_video"),
        ("/empty.mp4", "empty_body"),
        ("/noai.mp4", "x_robots_tag"),
        ("/tdm.mp4", "tdm_reserved"),
        ("/bomb.mp4", "compressed_body"),
        ("/large.mp4", "too_large"),
        ("/endless.mp4", "too_large"),
        ("/says-more.mp4", "wrong_content_length"),
        ("/slow-body.mp4", "too_slow"),
        ("/slow-headers.mp4", "too_slow"),
        ("/no-http.mp4", "no_http"),
        ("/loop-a", "redirect_loop"),
        ("/far", "too_many_redirects"),
        ("/to-metadata", "forbidden_address"),
        ("/to-file", "unsupported_scheme"),
        ("/to-nowhere", "bad_url"),
        ("/digits.mp4", "too_large"),
        ("/packed-transfer.mp4", "compressed_body"),
        ("/xml-with-mark.mp4", "not_a_video"),
        ("/utf-16.mp4", "not_a_video"),
        ("/array.mp4", "not_a_video"),
        ("/two-lengths.mp4", "wrong_content_length"),
    ],
)
def test_whatever_a_server_does_has_a_name_and_leaves_nothing_behind(
    web: Web, store: Store, path: str, reason: str
) -> None:
    begun_s = time.monotonic()
    drop = _fetch(Fetcher(POLICY, store), web.base + path)
    assert isinstance(drop, Drop), drop
    assert drop.reason == reason, drop
    assert _files(store) == []
    assert time.monotonic() - begun_s < 30  # and not for as long as the server likes


def test_a_server_on_this_machine_is_not_asked_unless_that_is_allowed(
    web: Web, store: Store
) -> None:
    drop = _fetch(Fetcher(replace(POLICY, allow_loopback=False), store), f"{web.base}/good.mp4")
    assert isinstance(drop, Drop)
    assert drop.reason == "forbidden_address"
    assert web.seen == []


def test_what_robots_txt_disallows_is_not_asked_for(web: Web, store: Store) -> None:
    web.robots = b"User-agent: aa-curate\nDisallow: /secret/\n"
    fetcher = Fetcher(POLICY, store)
    drop = _fetch(fetcher, f"{web.base}/secret/good.mp4")
    assert isinstance(drop, Drop)
    assert drop.reason == "robots_txt"
    assert isinstance(_fetch(fetcher, f"{web.base}/good.mp4"), Fetched)
    assert web.paths() == ["/robots.txt", "/good.mp4"], "asked once a host"


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        (
            {"Content_Encoding": "gzip"},
            gzip.compress(b"User-agent: *\nDisallow: /"),
            "comes as gzip",
        ),
        ({"Content_Length": "5000"}, b"User-agent: *\n", "broke off at byte 14 of 5000"),
    ],
    ids=["compressed", "cut off"],  # gzip writes the time of day into what would be the id
)
def test_a_robots_txt_that_cannot_be_read_forbids(
    web: Web, store: Store, headers: dict[str, str], body: bytes, message: str
) -> None:
    web.robots, web.robots_headers = body, headers
    with pytest.raises(FetchOutageError, match=message):
        _fetch(Fetcher(replace(POLICY, attempts=1), store), f"{web.base}/good.mp4")
    assert web.paths() == ["/robots.txt"]


def test_a_host_whose_robots_txt_is_out_of_order_is_left_alone(web: Web, store: Store) -> None:
    web.robots = 503
    with pytest.raises(FetchOutageError, match=r"robots\.txt answers 503"):
        _fetch(Fetcher(replace(POLICY, attempts=2), store), f"{web.base}/good.mp4")
    assert web.paths() == ["/robots.txt"] * 2


def test_robots_txt_counts_for_the_target_of_a_redirect(web: Web, store: Store) -> None:
    web.robots = b"User-agent: *\nDisallow: /secret/\n"
    drop = _fetch(Fetcher(POLICY, store), f"{web.base}/to-secret")
    assert isinstance(drop, Drop)
    assert drop.reason == "robots_txt"
    assert web.paths() == ["/robots.txt", "/to-secret"]


def test_robots_txt_of_another_host_counts_for_a_redirect_to_it(web: Web, store: Store) -> None:
    with serving() as other:
        other.robots = b"User-agent: *\nDisallow: /secret/\n"
        web.other = other.base.replace("127.0.0.1", "localhost")
        drop = _fetch(Fetcher(POLICY, store), f"{web.base}/to-other")
        assert isinstance(drop, Drop)
        assert drop.reason == "robots_txt"
        assert other.paths() == ["/robots.txt"]
        other.robots = 404
        assert isinstance(_fetch(Fetcher(POLICY, store), f"{web.base}/to-other"), Fetched)


def test_a_robots_txt_is_found_by_redirects_and_read_where_they_end(web: Web, store: Store) -> None:
    with serving() as other:
        other.robots, other.robots_headers = 302, {}
        web.robots = b"User-agent: *\nDisallow: /\n"
        other.other = web.base
        drop = _fetch(Fetcher(POLICY, store), f"{other.base}/good.mp4")
    assert isinstance(drop, Drop)
    assert drop.reason == "robots_txt"


@pytest.mark.parametrize("tag", ["noai", "noimageai", "noml", "noindex", "none", "aa-curate:noai"])
def test_an_opt_out_in_the_headers_is_read_before_the_body(
    web: Web, store: Store, tag: str
) -> None:
    begun_s = time.monotonic()
    drop = _fetch(Fetcher(replace(POLICY, stall_s=20), store), f"{web.base}/tag/{tag}")
    assert isinstance(drop, Drop)
    assert drop.reason == "x_robots_tag"
    assert time.monotonic() - begun_s < 15


def test_every_request_says_who_asks(web: Web, store: Store) -> None:
    web.robots = b""
    _fetch(Fetcher(POLICY, store), f"{web.base}/moved.mp4")
    assert web.paths() == ["/robots.txt", "/moved.mp4", "/good.mp4"]
    agents = {headers["User-Agent"] for _, headers, _ in web.seen}
    assert agents == {POLICY.user_agent}
    assert "tests@example.org" in POLICY.user_agent


def test_a_proxy_of_the_environment_is_not_used(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(_fetch(Fetcher(POLICY, store), f"{web.base}/good.mp4"), Fetched)


def test_the_connection_goes_to_the_address_that_was_checked(
    web: Web, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is checked, and the router's a moment later."""
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *args: Any, **keywords: Any) -> Any:
        if host == "rebinding.test":
            looked_up.append(host)
            return real("127.0.0.1" if len(looked_up) % 2 else "10.0.0.1", *args, **keywords)
        return real(host, *args, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = web.base.replace("127.0.0.1", "rebinding.test") + "/good.mp4"
    with monkeypatch.context() as patch:
        # The first look-up serves robots.txt; the second finds another address, and is refused.
        patch.setattr(FetchPolicy, "user_agent", "aa-curate")
        drop = _fetch(Fetcher(POLICY, store), url)
    assert isinstance(drop, Drop)
    assert drop.reason == "forbidden_address"
    assert web.paths() == ["/robots.txt"]
    assert len(looked_up) == 2, "one look-up a request: the connection takes its address"


@pytest.mark.parametrize(
    "status", [202, 408, 425, 429, 500, 501, 502, 503, 504, 507, 520, 522, 530]
)
def test_a_status_that_may_pass_is_tried_again(web: Web, store: Store, status: int) -> None:
    url = f"{web.base}/status/{status}.mp4"
    assert isinstance(_fetch(Fetcher(POLICY, store), url), Fetched)
    assert web.counts[f"/status/{status}.mp4"] == 2


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 451])
def test_a_status_that_will_not_pass_is_final(web: Web, store: Store, status: int) -> None:
    drop = _fetch(Fetcher(POLICY, store), f"{web.base}/status/{status}.mp4")
    assert isinstance(drop, Drop)
    assert drop.reason == f"http_{status}"


@pytest.mark.parametrize(
    "query", ["X-Amz-Expires=60&X-Amz-Signature=ab", "se=2026&sig=a%2Fb", "Expires=1&Signature=x"]
)
def test_a_signature_that_expired_is_an_outage_of_that_url_alone(
    web: Web, store: Store, query: str
) -> None:
    urls = [f"{web.base}/expired.mp4?{n}&{query}" for n in range(7)]
    outcomes = dict(crawl([*urls, f"{web.base}/good.mp4"], POLICY, store))
    assert isinstance(outcomes[f"{web.base}/good.mp4"], Fetched), "its host is not given up"
    for url in urls:
        assert isinstance(outcomes[url], FetchOutageError)
        assert "may have expired" in str(outcomes[url])
    assert web.counts["/expired.mp4"] == 7, "asking again in the same run is of no use"
    assert isinstance(outcomes[urls[0]], FetchOutageError)


@pytest.mark.parametrize(
    "content_type",
    ["video/x-matroska", "application/force-download", "application/x-download",
     "application/octet-stream", "binary/octet-stream", "model/vnd.mts", "image/gif"],
)  # fmt: skip
def test_the_types_that_servers_give_to_videos_are_taken(
    web: Web, store: Store, content_type: str
) -> None:
    assert isinstance(_fetch(Fetcher(POLICY, store), f"{web.base}/type/{content_type}"), Fetched)


@pytest.mark.parametrize("content_type", ["text/html", "image/jpeg", "application/json"])
def test_other_types_are_refused(web: Web, store: Store, content_type: str) -> None:
    drop = _fetch(Fetcher(POLICY, store), f"{web.base}/type/{content_type}")
    assert isinstance(drop, Drop)
    assert drop.reason == "content_type"


@pytest.mark.parametrize("name", ["chunked-broken.mp4", "chunked-broken-tagged.mp4"])
def test_a_chunked_body_without_its_last_chunk_is_asked_for_again(
    web: Web, store: Store, name: str
) -> None:
    fetched = _fetch(Fetcher(POLICY, store), f"{web.base}/{name}")
    assert isinstance(fetched, Fetched), fetched
    assert store.path(fetched.sha256).read_bytes() == VIDEO
    ranges = [headers.get("Range") for path, headers, _ in web.seen if path == f"/{name}"]
    resumed = ["bytes=100000-", "bytes=200000-"]
    assert ranges == [None, *(resumed if "tagged" in name else [None, None])]


@pytest.mark.parametrize(
    ("name", "attempts"),
    [("chunked-never-whole.mp4", 4), ("reset.mp4", 4), ("short-by-chance.mp4", 4)],
)
def test_a_body_that_breaks_off_is_an_outage_and_never_stored(
    web: Web, store: Store, name: str, attempts: int
) -> None:
    with pytest.raises(FetchOutageError, match="broke off"):
        _fetch(Fetcher(POLICY, store), f"{web.base}/{name}")
    assert web.counts[f"/{name}"] == attempts
    assert _files(store) == [], "a part that cannot be resumed is of no use"


def test_a_robots_txt_whose_chunks_break_off_forbids(web: Web, store: Store) -> None:
    web.robots_headers = {"Transfer_Encoding": "chunked", "Content_Length": ""}
    web.robots = b"5\r\nUser-\r\n"
    with pytest.raises(FetchOutageError, match="broke off"):
        _fetch(Fetcher(replace(POLICY, attempts=1), store), f"{web.base}/good.mp4")
    assert web.paths() == ["/robots.txt"]


def test_troubles_that_pass_are_tried_again(web: Web, store: Store) -> None:
    assert isinstance(_fetch(Fetcher(POLICY, store), f"{web.base}/busy.mp4"), Fetched)
    assert web.counts["/busy.mp4"] == 3
    with pytest.raises(FetchOutageError, match="answers 500"):
        _fetch(Fetcher(POLICY, store), f"{web.base}/dead.mp4")
    assert web.counts["/dead.mp4"] == POLICY.attempts


def test_retry_after_is_waited_for_and_hours_are_left_to_the_next_run(
    web: Web, store: Store
) -> None:
    assert isinstance(_fetch(Fetcher(POLICY, store), f"{web.base}/patience.mp4"), Fetched)
    first, second = (at_s for path, _, at_s in web.seen if path == "/patience.mp4")
    assert second - first >= 1
    with pytest.raises(FetchOutageError) as caught:
        _fetch(Fetcher(POLICY, store), f"{web.base}/in-two-hours.mp4")
    assert caught.value.retry_after_s == 7200
    assert web.counts["/in-two-hours.mp4"] == 1


def test_who_asks_for_hours_is_not_waited_for_by_his_other_files(web: Web, store: Store) -> None:
    urls = [f"{web.base}/{name}.mp4" for name in ("in-two-hours", "good", "busy")]
    begun_s = time.monotonic()
    outcomes = dict(crawl(urls, POLICY, store))
    assert time.monotonic() - begun_s < 20
    assert all(isinstance(outcome, FetchOutageError) for outcome in outcomes.values())
    assert "may be asked again in 7" in str(outcomes[urls[1]])
    assert "/good.mp4" not in web.paths()


def test_a_crawl_delay_of_a_day_gets_one_file_a_run(web: Web, store: Store) -> None:
    web.robots = b"User-agent: *\nCrawl-delay: 86400"
    urls = [f"{web.base}/good.mp4?{n}" for n in range(2)]
    outcomes = dict(crawl(urls, POLICY, store))
    assert isinstance(outcomes[urls[0]], Fetched)
    assert isinstance(outcomes[urls[1]], FetchOutageError)


def test_a_server_that_gives_a_byte_a_connection_is_left(web: Web, store: Store) -> None:
    begun_s = time.monotonic()
    with pytest.raises(FetchOutageError, match="broke off"):
        _fetch(Fetcher(replace(POLICY, total_s=1.0), store), f"{web.base}/drip.mp4")
    assert time.monotonic() - begun_s < 20


@pytest.mark.parametrize("named", ["127.0.0.1", ""])
def test_a_host_that_another_fetcher_asked_is_left_alone_yet(
    web: Web, store: Store, named: str
) -> None:
    until_s = time.monotonic() + 0.4
    fetcher = Fetcher(POLICY, store, alone={named: until_s, "elsewhere": until_s + 60})
    assert isinstance(_fetch(fetcher, f"{web.base}/good.mp4"), Fetched)
    assert until_s <= min(at_s for _, _, at_s in web.seen) < until_s + 30


def test_a_host_that_is_slow_again_and_again_is_given_up(web: Web, store: Store) -> None:
    urls = [f"{web.base}/slow-body.mp4?{n}" for n in range(4)]
    outcomes = dict(crawl(urls, replace(POLICY, give_up_host_after=2), store))
    assert [getattr(outcomes[url], "reason", "") for url in urls] == ["too_slow"] * 2 + [""] * 2
    assert "not asked" in str(outcomes[urls[3]])


def test_a_body_that_breaks_off_is_gone_on_with(web: Web, store: Store) -> None:
    fetched = _fetch(Fetcher(POLICY, store), f"{web.base}/breaks.mp4")
    assert isinstance(fetched, Fetched), fetched
    assert store.path(fetched.sha256).read_bytes() == VIDEO
    ranges = [h.get("Range") for path, h, _ in web.seen if path == "/breaks.mp4"]
    assert ranges == [None, *(f"bytes={n}-" for n in (60_000, 120_000, 180_000, 240_000))]


def test_parts_of_two_versions_are_never_joined(web: Web, store: Store) -> None:
    fetched = _fetch(Fetcher(POLICY, store), f"{web.base}/breaks-and-changes.mp4")
    assert isinstance(fetched, Fetched), fetched
    assert store.path(fetched.sha256).read_bytes() == VIDEO[::-1]


def test_nor_where_the_server_ignores_if_range(web: Web, store: Store) -> None:
    fetched = _fetch(Fetcher(POLICY, store), f"{web.base}/ignores-if-range.mp4")
    assert isinstance(fetched, Fetched), fetched
    assert store.path(fetched.sha256).read_bytes() == VIDEO[::-1]
    assert web.counts["/ignores-if-range.mp4"] == 3


def test_a_server_without_ranges_sends_all_of_it_again(web: Web, store: Store) -> None:
    fetched = _fetch(Fetcher(POLICY, store), f"{web.base}/no-ranges.mp4")
    assert isinstance(fetched, Fetched), fetched
    assert store.path(fetched.sha256).read_bytes() == VIDEO


def test_a_part_left_by_a_killed_run_is_gone_on_with(web: Web, store: Store) -> None:
    url = f"{web.base}/breaks.mp4"
    with store.partial(url).begin('"v1"') as file:
        file.write(VIDEO[:250_000])
    fetched = _fetch(Fetcher(POLICY, store), url)
    assert isinstance(fetched, Fetched)
    assert [h.get("Range") for _, h, _ in web.seen[1:]] == ["bytes=250000-"]


def test_a_host_that_is_to_be_left_alone_holds_no_other_up(web: Web, store: Store) -> None:
    """One thread, and two hosts, of which the first wants seconds between two requests."""
    web.robots = b"User-agent: *\nCrawl-delay: 3"
    with serving() as other:
        slow = [f"{web.base}/good.mp4?{n}" for n in range(2)] + [f"{web.base}/busy.mp4"]
        quick = [f"{other.base}/good.mp4?{n}".replace("127.0.0.1", "localhost") for n in range(5)]
        policy = replace(POLICY, hosts_at_once=1, attempts=2, backoff_s=8, backoff_at_most_s=8)
        outcomes = dict(crawl([*slow, *quick], policy, store))
        done_s = max(at_s for _, _, at_s in other.seen)
    assert [type(outcomes[url]) for url in quick] == [Fetched] * 5
    asked_s = [at_s for path, _, at_s in web.seen if path == "/good.mp4?1"]
    assert done_s < min(asked_s), "five files of a quick host waited for the second of a slow one"


def test_requests_to_a_host_keep_their_distance(web: Web, store: Store) -> None:
    web.robots = b"User-agent: *\nCrawl-delay: 1"
    urls = [f"{web.base}/good.mp4?{n}" for n in range(3)]
    outcomes = dict(crawl(urls, replace(POLICY, requests_per_s=10), store))
    assert all(isinstance(outcome, Fetched) for outcome in outcomes.values())
    times_s = [at_s for _, _, at_s in web.seen]
    assert (
        min(b - a for a, b in itertools.pairwise(times_s[1:])) >= 0.5
    )  # a busy machine may shorten them


def test_redirects_and_robots_txt_count_as_requests(web: Web, store: Store) -> None:
    web.robots = b""
    _fetch(Fetcher(replace(POLICY, requests_per_s=4), store), f"{web.base}/moved.mp4")
    times_s = [at_s for _, _, at_s in web.seen]
    assert len(times_s) == 3
    assert min(b - a for a, b in itertools.pairwise(times_s)) >= 0.15  # of 0.25


def test_two_ports_of_one_host_are_one_host(web: Web, store: Store) -> None:
    """It has one pace and one connection, whatever the port; the rules are the port's."""
    with serving() as other:
        other.robots = b"User-agent: *\nDisallow: /secret/\n"
        urls = [f"{base}/good.mp4?{n}" for n in range(2) for base in (web.base, other.base)]
        urls += [f"{base}/secret/good.mp4" for base in (web.base, other.base)]
        outcomes = dict(crawl(urls, replace(POLICY, requests_per_s=4), store))
        times_s = sorted(at_s for _, _, at_s in [*web.seen, *other.seen])
    assert [type(outcome) for outcome in outcomes.values()].count(Fetched) == 5
    assert getattr(outcomes[urls[-1]], "reason", "") == "robots_txt"
    assert len(times_s) == 7
    assert min(b - a for a, b in itertools.pairwise(times_s)) >= 0.15  # of 0.25


def test_a_host_gets_one_connection_at_a_time(web: Web, store: Store) -> None:
    urls = [f"{web.base}/good.mp4?{n}" for n in range(12)]
    fetcher = Fetcher(POLICY, store)
    with ThreadPoolExecutor(6) as pool:
        assert all(
            isinstance(outcome, Fetched) for outcome in pool.map(partial(_fetch, fetcher), urls)
        )
    assert web.most_connections == 1


def test_a_host_that_is_down_is_given_up_and_does_not_stop_the_others(
    web: Web, store: Store
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        dead = [f"http://127.0.0.1:{taken.getsockname()[1]}/{n}.mp4" for n in range(9)]
        policy = replace(POLICY, attempts=1, give_up_host_after=3)
        outcomes = dict(crawl([*dead, f"{web.base}/good.mp4"], policy, store))
    assert isinstance(outcomes[f"{web.base}/good.mp4"], Fetched)
    given_up = [str(outcomes[url]) for url in dead if "not asked" in str(outcomes[url])]
    assert len(given_up) == 6
    assert all(isinstance(outcomes[url], FetchOutageError) for url in dead)


@pytest.mark.parametrize("wrong", ["signer", "name"])
def test_a_certificate_of_another_signer_or_name_is_refused(
    web: Web, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("skipped: no openssl, which makes the certificate")
    certificate = str(tmp_path / "certificate.pem")
    name = "elsewhere.example" if wrong == "name" else "localhost"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(tmp_path / "key.pem"),
         "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    if wrong == "name":
        monkeypatch.setenv("SSL_CERT_FILE", certificate)  # its signer is trusted
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    handler = type("Bound", (Handler,), {"web": web})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"https://localhost:{server.server_address[1]}/good.mp4"
        drop = _fetch(Fetcher(replace(POLICY, attempts=1), store), url)
        server.shutdown()
    assert isinstance(drop, Drop)
    assert drop.reason == "bad_certificate"
    assert web.seen == []


def test_a_server_that_never_answers_is_an_outage(store: Store) -> None:
    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            time.sleep(3)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/a.mp4"
        with pytest.raises(FetchOutageError, match="broke off"):
            _fetch(Fetcher(replace(POLICY, attempts=1), store), url)
        server.shutdown()


def test_backoff_doubles_within_its_bound_and_is_drawn_from_all_of_it() -> None:
    drawn = [backoff_s(n, 1, 10, random.Random(seed)) for n in range(1, 8) for seed in range(200)]
    assert max(drawn) <= 10
    assert min(drawn) < 0.05
    assert max(backoff_s(1, 1, 10, random.Random(s)) for s in range(200)) <= 1


def test_retry_after_is_a_number_or_a_date_or_nothing() -> None:
    assert retry_after_s("7") == 7
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert retry_after_s("Fri, 01 Jan 2100 00:00:00 GMT") > 0
    assert retry_after_s(None) == retry_after_s("soon") == 0


def test_who_waits_is_told_when_the_crawl_stops() -> None:
    stop = threading.Event()
    pace = Pace(60, stop)
    pace.wait()
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(FetchOutageError, match="stopped"):
        pace.wait()


def test_a_crawl_says_who_it_is() -> None:
    with pytest.raises(SourceError, match="is not an address"):
        FetchPolicy(contact="nobody")
