"""A small web server on 127.0.0.1 for the page of a review."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from aa_curation.errors import CurationError
from aa_curation.review.answers import Review
from aa_curation.review.marks import Marks
from aa_datasets.errors import DatasetError

_HOSTS = frozenset({"127.0.0.1", "localhost"})
_PAGE = {
    "/": ("review.html", "text/html; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
}
# Whatever a list of sources holds, nothing runs or loads but the page's own files.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_MOST_BYTES = 16 << 20  # of what the page may send
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Body:
    """What is sent; a path is read piece by piece, and any part of it may be asked for."""

    content: bytes | Path
    kind: str


def make_server(review: Review, port: int) -> ThreadingHTTPServer:
    """A server that answers this machine alone; `serve_forever` runs it.

    Args:
        port: 0 takes a free one.

    Raises:
        CurationError: the port is taken.
    """

    class Handler(_Handler):
        pass

    Handler.review = review
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise CurationError(
            f"port {port} cannot be used ({error.strerror}): give another --port"
        ) from None


class _Handler(BaseHTTPRequestHandler):
    review: Review
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self._is_ours():
            self._answer(self._get)

    def do_POST(self) -> None:
        # The type is one that a page of another origin may not send without being asked for.
        if self._is_ours() and self._is_from_here():
            self._answer(self._post)

    def _is_ours(self) -> bool:
        """Refuse other names of this machine: a page may have had its own name point here."""
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname in _HOSTS:
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "ask for 127.0.0.1 or localhost")
        return False

    def _is_from_here(self) -> bool:
        """Refuse what a page of another site sends."""
        origin = self.headers.get("Origin", "")
        if origin == f"http://{self.headers.get('Host', '')}":
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "only the page of this review may write")
        return False

    def handle_one_request(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().handle_one_request()
            return
        self.close_connection = True  # the browser has left, or seen enough of a video

    def _answer(self, answer: Callable[[], _Body | None]) -> None:
        try:
            body = answer()
        except (DatasetError, CurationError, msgspec.MsgspecError, ValueError, OSError) as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            return
        if body is None:
            self._refuse(HTTPStatus.NOT_FOUND, "not there")
        else:
            self._send(body)

    def _get(self) -> _Body | None:
        address = urlsplit(self.path)
        if address.path in _PAGE:
            name, kind = _PAGE[address.path]
            return _Body(files("aa_curation.review").joinpath(name).read_bytes(), kind)
        if address.path == "/clips":
            return _json(self.review.clips())
        if address.path == "/changes":
            bounds = {name: float(value) for name, value in parse_qsl(address.query)}
            return _json(self.review.changes(bounds))
        what, _, clip_id = unquote(address.path).lstrip("/").partition("/")
        found: bytes | Path | None = None
        if what == "picture":
            found, kind = self.review.picture(clip_id), "image/jpeg"
        elif what == "video":
            found, kind = self.review.video(clip_id), "video/mp4"
        elif what == "pose":
            found, kind = self.review.pose(clip_id), "application/octet-stream"
        return None if found is None else _Body(found, kind)

    def _post(self) -> _Body | None:
        if self.path != "/marks":
            return None
        length = int(self.headers.get("Content-Length", "0"))
        if not 0 <= length <= _MOST_BYTES:
            raise ValueError(f"{length} bytes are too many")
        self.review.write_marks(msgspec.json.decode(self.rfile.read(length), type=Marks))
        return _json(asdict(self.review.marks()))

    def _send(self, body: _Body) -> None:
        content = body.content
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        first, last = 0, size - 1
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and size and any(asked.groups()):
            begin, end = asked.groups()
            if begin:
                first, last = int(begin), min(int(end or last), last)
            else:
                first = max(0, size - int(end))
            if first > last:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"of {size} bytes")
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            self.send_response(HTTPStatus.OK)
        self._headers(body.kind, last - first + 1)
        self._write(content, first, last + 1)

    def _write(self, content: bytes | Path, first: int, end: int) -> None:
        if isinstance(content, bytes):
            self.wfile.write(content[first:end])
            return
        with content.open("rb") as file:
            file.seek(first)
            while first < end and (piece := file.read(min(_PIECE_BYTES, end - first))):
                self.wfile.write(piece)
                first += len(piece)

    def _headers(self, kind: str, size: int) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        content = why.encode()
        self.close_connection = True  # what was sent with it is not read
        self.send_response(status)
        self._headers("text/plain; charset=utf-8", len(content))
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's own name
        """Say nothing: a line for each picture would hide what the command says."""


def _json(content: object) -> _Body:
    return _Body(json.dumps(content).encode(), "application/json")
