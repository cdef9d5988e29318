from __future__ import annotations

import re
import urllib.robotparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aa_curation.crawl.robots import matches, normalised, opted_out, read_robots

# RFC 9309, Sec. 5.1: the example of the standard.
SIMPLE = b"""
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


@pytest.mark.parametrize(
    ("product", "target", "allowed"),
    [
        ("other", "/a/b.gif", False),
        ("other", "/a/b.gifs", True),
        ("other", "/example/x", False),
        ("other", "/publications/x", True),
        ("foobot", "/anything", False),
        ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("barbot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False),
        ("bazbot", "/example/allowed.gif", True),
        ("quxbot", "/example/page.html", True),
        ("foobot", "/robots.txt", True),
    ],
)
def test_the_example_of_the_standard(product: str, target: str, allowed: bool) -> None:
    assert read_robots(SIMPLE, product).allows(target) is allowed


def test_the_longest_match_decides_and_allow_wins_a_tie() -> None:
    # RFC 9309, Sec. 5.2.
    longest = b"User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif"
    rules = read_robots(longest, "foobot")
    assert rules.allows("/example/page/")
    assert not rules.allows("/example/page/disallowed.gif")
    assert read_robots(b"user-agent: *\ndisallow: /a\nallow: /a").allows("/a")


def test_groups_of_one_robot_are_joined_and_a_version_is_no_part_of_a_name() -> None:
    text = (
        b"\xef\xbb\xbfUser-agent: AA-Curate/2.0 # us\r\nDisallow: /x\r\nSitemap: /s\r\n"
        b"User-agent: *\nDisallow: /\n\nUser-agent: aa-curate\rCrawl-delay: 2.5\rDisallow: /y"
    )
    rules = read_robots(text)
    assert [rules.allows(target) for target in ("/x", "/y", "/z")] == [False, False, True]
    assert rules.crawl_delay_s == 2.5
    twice = b"User-agent: aa-curate\nCrawl-delay: 9\n\nUser-agent: aa-curate\nCrawl-delay: 2"
    assert read_robots(twice).crawl_delay_s == 9, "of two that are for us the longer"
    assert not read_robots(text, "another").allows("/z")


def test_an_empty_or_senseless_file_forbids_nothing() -> None:
    for content in (b"", b"Disallow: /", b"User-agent: *\nDisallow:", b"<html>\x00\xff"):
        assert read_robots(content).allows("/a")


def test_percent_encoding_is_compared_in_one_form() -> None:
    assert normalised("/~a/\u00fc") == normalised("/%7Ea/%c3%bc") == "/~a/%C3%BC"
    assert normalised("/a%2fb") == "/a%2Fb" != "/a/b"


PATHS = st.text("ab/", max_size=8)


@given(pattern=st.text("ab/*$", max_size=8), path=PATHS)
def test_patterns_match_as_the_regular_expression_of_the_standard(pattern: str, path: str) -> None:
    ends = pattern.endswith("$")
    body = pattern[:-1] if ends else pattern
    as_regex = ".*".join(re.escape(part) for part in body.split("*"))
    assert matches(pattern, path) == bool(re.match(as_regex + (r"\Z" if ends else ""), path))


@given(
    disallowed=st.lists(st.text("ab", min_size=1, max_size=3), max_size=4),
    path=st.text("ab", max_size=5),
)
def test_plain_prefixes_agree_with_the_standard_library(disallowed: list[str], path: str) -> None:
    lines = ["User-agent: *", *(f"Disallow: /{prefix}" for prefix in disallowed)]
    theirs = urllib.robotparser.RobotFileParser()
    theirs.parse(lines)
    ours = read_robots("\n".join(lines).encode())
    assert ours.allows(f"/{path}") == theirs.can_fetch("aa-curate", f"http://h/{path}")


@pytest.mark.parametrize(
    ("headers", "forbidden"),
    [
        ([], None),
        (["nofollow, max-snippet:5"], None),
        (["NoAI, noimageai"], "noai"),
        (["otherbot: noai"], None),
        (["otherbot: noai, nofollow", "noimageai"], "noimageai"),
        (["aa-curate: noindex"], "noindex"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noml"], "noml"),
        (["unavailable_after: Wed, 03 Aug 2025 15:00:00 GMT, noai"], "noai"),
        (["unavailable_after: 2025-08-03T15:00:00+00:00, noai"], "noai"),
        (["max-image-preview:large, noai"], "noai"),
        (["max-video-preview:-1, noindex"], "noindex"),
        (["other/2.0: noai, max-image-preview:large, noindex"], None),
    ],
)
def test_x_robots_tag_speaks_to_us_or_to_another(headers: list[str], forbidden: str | None) -> None:
    assert opted_out(headers) == forbidden
