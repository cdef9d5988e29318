"""What `--set` takes, and which decisions a new bound touches."""

from __future__ import annotations

import pytest

from aa_curation.errors import LedgerError
from aa_curation.ledger.redecide import parse_setting


def test_a_setting_is_a_reason_and_a_number() -> None:
    assert parse_setting("small_person=0.05") == ("small_person", 0.05)
    assert parse_setting(" dark = -inf") == ("dark", float("-inf"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("small_person", "'small_person' is not NAME=VALUE"),
        ("=0.05", "is not NAME=VALUE"),
        ("small_person=much", "'much' in 'small_person=much' is not a number"),
        ("small_person=", "'' in 'small_person=' is not a number"),
    ],
)
def test_any_other_form_is_refused(text: str, why: str) -> None:
    with pytest.raises(LedgerError, match=why):
        parse_setting(text)
