"""Types of template variables: their documentation, and sample values for rendering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_origin

import pytest

from hls_handler.analysis import REPLY_TYPES
from hls_handler.prompting.render import RuleView
from hls_handler.prompting.variables import Trust, document_variables, sample_values


@dataclass(frozen=True)
class Part:
    name: str
    kind: Literal["big", "small"]


@dataclass(frozen=True)
class Thing:
    title: str
    parts: tuple[Part, ...]
    owner: Part | None


TRUSTS = get_args(Trust)
EMPTY = Thing("", (), None)


def test_trust_is_known_without_a_recorded_example() -> None:
    def rows(hint: object, *values: object) -> list[tuple[str, str, str, str | None]]:
        found = document_variables({"it": hint}, [{"it": value} for value in values])
        return [(offer.name, offer.kind, offer.trust, offer.example) for offer in found]

    assert [
        row
        for row in rows(Thing, EMPTY)
        if row[0] in ("it.title", "it.parts[].kind", "it.owner.kind")
    ] == [
        ("it.title", "text", "untrusted", ""),
        ("it.parts[].kind", "one of big, small", "trusted", None),
        ("it.owner.kind", "one of big, small", "trusted", None),
    ]
    names = {
        trust: {row[0].removeprefix("it.") for row in rows(RuleView) if row[2] == trust}
        for trust in TRUSTS
    }
    assert names["trusted"] == {
        *("event", "prompt", "language", "tone", "length", "summary", "layout"),
        *("source", "labels.allow[]", "labels.assess[]", "categories[]"),
    }
    assert names["untrusted"] == {
        *(
            "labels.deny[]",
            "labels.repository_allow",
            "paths.ignore[]",
            "source_url",
        ),
    }


@pytest.mark.parametrize("name", REPLY_TYPES)
def test_sample_replies_are_valid_and_have_every_value_of_an_enum(name: str) -> None:
    samples = sample_values(REPLY_TYPES[name])
    assert [type(one).model_validate_json(one.model_dump_json()) for one in samples] == [*samples]
    for field in REPLY_TYPES[name].model_fields.values():
        values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        assert {*values} <= {
            value for one in samples for value in vars(one).values() if isinstance(value, str)
        }
