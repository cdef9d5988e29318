"""The manners of the crawl when nothing else is asked for: what the guide tells site owners."""

from __future__ import annotations

from importlib.metadata import version

from aa_curation.crawl.policy import FetchPolicy


def test_the_guides_numbers_are_the_defaults() -> None:
    policy = FetchPolicy("you@example.org")
    assert policy.requests_per_s == 1, "--requests-per-s (1)"
    assert policy.wait_at_most_s == 120, "more than two minutes are left to the next run"
    assert policy.total_s == 1800, "an URL that takes half an hour with all its attempts"
    assert policy.give_up_host_after == 5, "five outages in a row end a turn"
    assert policy.max_redirects == 5
    assert not policy.allow_loopback


def test_the_user_agent_names_product_version_and_contact() -> None:
    agent = FetchPolicy("you@example.org").user_agent
    assert agent == f"aa-curate/{version('animate-anyone-toolkit')} (+you@example.org)"
