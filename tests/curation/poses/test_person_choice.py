"""Whom a tracker follows where there are several people."""

from __future__ import annotations

from aa_curation.poses.person_choice import PersonChoice, the_first

MIDDLES = [(10.0, 50.0), (80.0, 50.0), (40.0, 50.0)]  # by area


def test_the_first_is_always_the_largest() -> None:
    choice = PersonChoice(0, was_at=(80.0, 50.0))
    assert choice(MIDDLES) == the_first(MIDDLES) == 0


def test_another_is_taken_by_size_at_first_and_by_place_when_lost() -> None:
    choice = PersonChoice(2)
    assert choice(MIDDLES) == 2
    assert choice(MIDDLES[:2]) == 1  # fewer than asked for: the smallest
    choice.was_at = (75.0, 55.0)
    assert choice(MIDDLES) == 1
    assert choice(MIDDLES[:1]) == 0
