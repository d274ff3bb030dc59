"""Counts in sentences."""

from __future__ import annotations

import pytest

from hls_handler.wording import count, inflect, is_or_are, was_or_were


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("delivery", "deliveries"), ("reply", "replies"), ("patch", "patches"), ("day", "days")],
)
def test_plural_follows_the_end_of_the_noun(noun: str, plural: str) -> None:
    assert (count(1, noun), count(3, noun)) == (f"1 {noun}", f"3 {plural}")
    assert (inflect(1, noun), inflect(3, noun)) == (noun, plural)


@pytest.mark.parametrize(
    ("number", "present", "past"), [(0, "are", "were"), (1, "is", "was"), (2, "are", "were")]
)
def test_verb_agrees_with_its_number(number: int, present: str, past: str) -> None:
    assert (is_or_are(number), was_or_were(number)) == (present, past)
