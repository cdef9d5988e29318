"""URLs before anything is asked: what is refused, and what a request line says."""

from __future__ import annotations

import pytest

from aa_curation.crawl.http_get import parse_url
from aa_curation.errors import FetchRefusedError


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("http://a.example", "http://a.example:80", "/"),
        ("https://a.example/v.mp4", "https://a.example:443", "/v.mp4"),
        ("https://a.example:80/", "https://a.example:80", "/"),
        ("HTTP://A.Example.:8080/b?x=1&y=2#part", "http://a.example:8080", "/b?x=1&y=2"),
        ("http://a.example?x", "http://a.example:80", "/?x"),
        ("http://[2606:4700::1111]/é c", "http://[2606:4700::1111]:80", "/%C3%A9%20c"),
        ("http://a.example/~u/%20!", "http://a.example:80", "/~u/%20!"),
    ],
)
def test_an_url_is_split_and_what_a_request_line_may_not_hold_is_encoded(
    text: str, origin: str, target: str
) -> None:
    url = parse_url(text)
    assert (url.origin, url.target) == (origin, target)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://a.example/x", "unsupported_scheme.*only http and https are crawled"),
        ("file:///etc/passwd", "unsupported_scheme"),
        ("//a.example/x", "unsupported_scheme"),
        ("http:///x", "bad_url.*names no host"),
        ("http://./x", "bad_url.*names no host"),
        ("http://a.example:port/", "bad_url.*port"),
        ("http://a.example:99999/", "bad_url.*out of range"),
        ("http://[::1/", "bad_url.*Invalid IPv6"),
        ("http://user@a.example/", "bad_url.*which the corpus would publish"),
        ("http://:secret@a.example/", "bad_url.*which the corpus would publish"),
    ],
)
def test_an_url_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(FetchRefusedError, match=why):
        parse_url(text)
