"""Counts in sentences."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hls_handler.wording import (
    count,
    describe_invalid,
    format_usd,
    inflect,
    is_or_are,
    was_or_were,
)


@pytest.mark.parametrize(
    ("noun", "plural"),
    [
        ("delivery", "deliveries"),
        ("reply", "replies"),
        ("patch", "patches"),
        ("day", "days"),
        ("key", "keys"),
        ("box", "boxes"),
        ("push", "pushes"),
        ("status", "statuses"),
    ],
)
def test_plural_follows_the_end_of_the_noun(noun: str, plural: str) -> None:
    assert (count(1, noun), count(3, noun)) == (f"1 {noun}", f"3 {plural}")
    assert (inflect(1, noun), inflect(3, noun)) == (noun, plural)


@pytest.mark.parametrize(
    ("number", "present", "past"), [(0, "are", "were"), (1, "is", "was"), (2, "are", "were")]
)
def test_verb_agrees_with_its_number(number: int, present: str, past: str) -> None:
    assert (is_or_are(number), was_or_were(number)) == (present, past)
    assert inflect(number, "is", "are") == present


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ('{"text": 1}', "text: expected text"),
        ('{"name": "foo"}', "name: 'foo' is not one of a and b"),
        ('{"kind": "foo"}', "kind: expected 'bug' or 'question'"),
        ('{"number": -1}', "number: expected at least 0"),
        ('{"number": 10}', "number: expected at most 9"),
        ('{"number": "x"}', "number: expected a whole number"),
        ('{"items": [1, 2, 3]}', "items: expected at most 2 items, found 3"),
        ('{"items": 1}', "items: expected a list"),
        ('{"is_open": "often"}', "is_open: expected true or false"),
        ('{"below": []}', "below: expected an object"),
        ('{"other": 1}', "other: is an unknown name"),
        ("[]", "the body: expected an object"),
        ("{", "the body: is not JSON"),
    ],
)
def test_phrases_of_pydantic_are_reworded(given: str, sentence: str) -> None:
    def reject(name: str) -> str:
        raise ValueError(f"{name!r} is not one of a and b")

    class Shape(BaseModel):
        model_config = ConfigDict(extra="forbid")
        text: str = "text"
        name: Annotated[str, AfterValidator(reject)] = "a"
        kind: Literal["bug", "question"] = "bug"
        number: int = Field(1, ge=0, le=9)
        items: list[int] = Field([], max_length=2)
        is_open: bool = True
        below: dict[str, str] = {}

    with pytest.raises(ValidationError) as caught:
        Shape.model_validate_json(given)
    assert describe_invalid(caught.value.errors()[0], whole="the body") == sentence


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (0.0000014, "$0.0000014"),
        (0.00058, "$0.00058"),
        (0.021, "$0.021"),
        (0.5, "$0.500"),
        (4.184, "$4.18"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money_has_as_many_digits_as_its_size_needs(usd: float | None, text: str) -> None:
    assert format_usd(usd) == text
