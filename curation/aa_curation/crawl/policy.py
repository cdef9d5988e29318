"""Crawl limits: rate, timeouts, retries, size."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from aa_curation.crawl.robots import PRODUCT
from aa_curation.errors import SourceError

MAX_BYTES = 4 << 30  # of one source


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Limits of a crawl. robots.txt and opt-outs are always honoured.

    Attributes:
        contact: an e-mail or web address at which the crawler's owner is reached; sent with every
            request.
        requests_per_s: to one host, over all its ports; redirects and robots.txt count. There is
            one connection per host.
        connect_s: for a connection and its TLS handshake.
        stall_s: the window over which a server must send `min_bytes_per_s` on average, headers too.
        min_bytes_per_s: slower servers are given up (at 1 kB/s, 1 GB takes 12 days).
        total_s: for one body, and for one URL with all its attempts.
        max_bytes: of one body.
        attempts: for outages (408, 429, 5xx, a connection that breaks off).
        backoff_s, backoff_at_most_s: of the wait between attempts, doubled each time, with jitter.
        wait_at_most_s: a host that asks for a longer pause, or for a longer interval between two
            requests, is left to the next run.
        max_redirects: of one request.
        give_up_host_after: this many outages or slow answers of a host in a row end its crawl.
        hosts_at_once: crawled in parallel.
        allow_loopback: for tests against a server on this machine.
    """

    contact: str
    requests_per_s: float = 1.0
    connect_s: float = 10.0
    stall_s: float = 20.0
    min_bytes_per_s: float = 1000.0
    total_s: float = 1800.0
    max_bytes: int = MAX_BYTES
    attempts: int = 4
    backoff_s: float = 1.0
    backoff_at_most_s: float = 60.0
    wait_at_most_s: float = 120.0
    max_redirects: int = 5
    give_up_host_after: int = 5
    hosts_at_once: int = 16
    allow_loopback: bool = False

    def __post_init__(self) -> None:
        if not self.contact.isprintable() or not ("@" in self.contact or "://" in self.contact):
            raise SourceError(
                f"the contact {self.contact!r} is not an address: give an e-mail or an URL at "
                "which the owner of a site can reach you"
            )

    @property
    def user_agent(self) -> str:
        """The User-Agent header: product, version and contact."""
        return f"{PRODUCT}/{version('animate-anyone-toolkit')} (+{self.contact})"
