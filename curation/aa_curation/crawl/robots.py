"""What a host lets a crawler read: robots.txt (RFC 9309) and the X-Robots-Tag header.

protego 0.7.0 would read robots.txt in fewer lines of ours, but allows what a host forbids: it takes
"aa-curate/2.0" for another robot, the rules of a robot "aa" for ours, and "Allow: /index.html" for
the permission to read "/".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PRODUCT = "aa-curate"  # the token that robots.txt may name
MAX_ROBOTS_BYTES = 500 << 10  # RFC 9309, Sec. 2.5: parse at least this much
# "noindex" speaks of search, yet who sets it on a video does not want it collected.
OPT_OUTS = frozenset({"noai", "noimageai", "noml", "noindex", "none"})
# Directives that take a value; what else stands before a colon is a robot, or a part of a date.
_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)
_ROBOT = re.compile(r"\*|[a-z][a-z0-9_./-]*")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class RobotRules:
    """The rules of one robots.txt that apply to us.

    Attributes:
        rules: (pattern, allowed) in the file's order.
        crawl_delay_s: 0 where none is asked for (no part of the RFC, but often set).
    """

    rules: tuple[tuple[str, bool], ...] = ()
    crawl_delay_s: float = 0.0

    def allows(self, target: str) -> bool:
        """Whether a path with its query may be read: the longest pattern decides."""
        target = normalised(target)
        if target == "/robots.txt":
            return True
        hits = [
            (len(pattern), allowed) for pattern, allowed in self.rules if matches(pattern, target)
        ]
        return max(hits)[1] if hits else True  # at a tie: allow


def read_robots(content: bytes, product: str = PRODUCT) -> RobotRules:
    """Parse a robots.txt: the groups that name `product`, else those for everybody (*)."""
    groups: list[tuple[set[str], list[tuple[str, str]]]] = []
    naming = False  # inside a run of user-agent lines
    text = content[:MAX_ROBOTS_BYTES].decode("utf-8", errors="replace").removeprefix("\ufeff")
    for line in re.split(r"\r\n|\r|\n", text):
        key, colon, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            if not naming:
                groups.append((set(), []))
            groups[-1][0].add(value.lower())
            naming = True
        elif key in {"allow", "disallow", "crawl-delay"} and groups:
            groups[-1][1].append((key, value))
            naming = False
    ours = [rows for names, rows in groups if any(_names(name, product) for name in names)]
    chosen = ours or [rows for names, rows in groups if "*" in names]
    rows = [row for group in chosen for row in group]
    delays = [float(v) for k, v in rows if k == "crawl-delay" and re.fullmatch(r"\d+(\.\d+)?", v)]
    return RobotRules(
        # An empty pattern matches nothing: "Disallow:" allows all.
        tuple((normalised(v), k == "allow") for k, v in rows if k != "crawl-delay" and v),
        max(delays, default=0.0),
    )


def _names(name: str, product: str) -> bool:
    """A robots.txt may write "AA-Curate/1.0": only the letters before the version count."""
    token = re.match(r"[a-z_-]*", name)
    return token is not None and token[0] == product.lower()


def matches(pattern: str, target: str) -> bool:
    """Whether a normalised pattern, with `*` and a final `$`, matches the start of a target.

    In one pass and without a regular expression, which a hostile pattern could make run for ever.
    """
    ends = pattern.endswith("$")
    first, *parts = (pattern[:-1] if ends else pattern).split("*")
    if not target.startswith(first):
        return False
    place = len(first)
    if not parts:
        return not ends or place == len(target)
    *middle, last = parts
    for part in middle:
        found = target.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    if ends:
        return len(target) - len(last) >= place and target.endswith(last)
    return target.find(last, place) >= 0


def normalised(target: str) -> str:
    """Percent-encoding in one form (RFC 9309, Sec. 2.2.2): `%7E` is `~`, `ü` is `%C3%BC`."""

    def decoded(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    ascii_only = "".join(
        c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in target
    )
    return re.sub(r"%([0-9A-Fa-f]{2})", decoded, ascii_only)


def opted_out(x_robots_tags: Iterable[str], product: str = PRODUCT) -> str | None:
    """The directive of X-Robots-Tag headers that forbids collecting, or None.

    A header is a list of directives, perhaps led by the name of the robot that it is for:
    `noai, noimageai` or `otherbot: noindex`.
    """
    for header in x_robots_tags:
        ours = True
        for part in header.lower().split(","):
            name, colon, value = part.strip().partition(":")
            name = name.strip()
            if colon and name not in _WITH_VALUE and _ROBOT.fullmatch(name):
                ours = name in {product, "*"}
                part = value
            if ours and part.strip() in OPT_OUTS:
                return part.strip()
    return None
