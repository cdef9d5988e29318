"""What a response says of its body: how long it is, where it begins, of which version."""

from __future__ import annotations

import re

from aa_curation.crawl.http_get import Response
from aa_curation.crawl.robots import MAX_ROBOTS_BYTES
from aa_curation.errors import FetchOutageError


def whole_text(response: Response) -> bytes:
    """A robots.txt as it is to be read, up to the size that must be.

    Raises:
        FetchOutageError: it was cut off, or comes compressed: what it forbids cannot be known.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise FetchOutageError(f"{response.url.text} comes as {encoding}, not asked for")
    content = b""
    for chunk in response.iter_body():
        content += chunk
        if len(content) >= MAX_ROBOTS_BYTES:
            return content
    total = total_bytes(response)
    if total is not None and len(content) < total:
        raise FetchOutageError(f"{response.url.text} broke off at byte {len(content)} of {total}")
    return content


def total_bytes(response: Response) -> int | None:
    """The size of the whole file, as the headers say; None if they do not."""
    if response.status == 206:
        match = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return _number(match[1]) if match else None
    length = response.headers.get("Content-Length", "")
    return _number(length) if re.fullmatch(r"[0-9]+", length) else None


def range_start(response: Response) -> int:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return _number(match[1]) if match else -1


def _number(digits: str) -> int:
    """Of thousands of digits Python makes an error; a file has no more than these bytes."""
    return int(digits) if len(digits) <= 18 else 10**18


def validator_of(response: Response) -> str:
    """What If-Range may carry: a strong ETag. Dates are too coarse, weak tags name no bytes."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else ""
