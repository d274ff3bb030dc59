"""Documentation of template variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from hls_handler.prompting.render import RuleView
from hls_handler.prompting.variables import describe_type, document_variables
from hls_handler.untrusted.placeholders import Trusted


@dataclass(frozen=True)
class Part:
    name: str
    kind: Literal["big", "small"]


@dataclass(frozen=True)
class Thing:
    title: str
    count: int
    share: float
    closed: bool
    parts: tuple[Part, ...]
    words: list[str]
    owner: Part | None
    note: str | None


FULL = Thing("A title", 7, 0.5, False, (Part("bolt", "small"),), ["one"], Part("nut", "big"), None)
EMPTY = Thing("", 0, 0.0, False, (), [], None, None)


def rows(hint: object, *values: object) -> list[tuple[str, str, str, str | None]]:
    found = document_variables({"it": hint}, [{"it": value} for value in values])
    return [(offer.name, offer.kind, offer.trust, offer.example) for offer in found]


def test_each_member_is_documented_with_type_trust_and_example() -> None:
    assert rows(Thing, EMPTY, FULL) == [
        ("it", "object", "", None),
        ("it.title", "text", "untrusted", "A title"),
        ("it.count", "whole number", "", "0"),
        ("it.share", "number", "", "0.0"),
        ("it.closed", "true or false", "", "false"),
        ("it.parts", "list of objects", "", None),
        ("it.parts[].name", "text", "untrusted", "bolt"),
        ("it.parts[].kind", "one of big, small", "trusted", "small"),
        ("it.words[]", "text", "untrusted", "one"),
        ("it.owner", "object or none", "", None),
        ("it.owner.name", "text", "untrusted", "nut"),
        ("it.owner.kind", "one of big, small", "trusted", "big"),
        ("it.note", "text or none", "untrusted", None),
    ]


def test_trust_is_known_without_a_recorded_example() -> None:
    assert [row for row in rows(Thing, EMPTY) if row[0] in ("it.title", "it.parts[].kind", "it.owner.kind")] == [
        ("it.title", "text", "untrusted", ""),
        ("it.parts[].kind", "one of big, small", "trusted", None),
        ("it.owner.kind", "one of big, small", "trusted", None),
    ]
    assert rows(str) == [("it", "text", "untrusted", None)]


def test_strings_marked_as_trusted_are_trusted() -> None:
    assert rows(str, Trusted("issues/analyze@3f9c2a")) == [("it", "text", "trusted", "issues/analyze@3f9c2a")]
    rule = RuleView(event="issues.opened", prompt="issues/analyze", dry_run=False)
    for documented in (rows(RuleView, rule), rows(RuleView)):
        assert {row[0] for row in documented if row[2] == "trusted"} == {
            *(
                "it.event",
                "it.prompt",
                "it.language",
                "it.tone",
                "it.length",
                "it.summary",
                "it.layout",
                "it.about_url",
            ),
            *("it.source", "it.labels.allow[]", "it.labels.assess[]", "it.categories[]"),
        }
        assert {row[0] for row in documented if row[2] == "untrusted"} == {
            *("it.labels.repository_allow[]", "it.paths.ignore[]", "it.source_url")
        }


def test_payload_is_untrusted() -> None:
    assert rows(Mapping[str, object], {"action": "opened", "issue": {}}) == [
        ("it", "the payload, as GitHub sent it", "untrusted", "its keys are action, issue")
    ]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Annotated[str, "about"], "text"),
        (str | None, "text or none"),
        (int | str, "whole number or text"),
        (Literal["LEFT", "RIGHT"] | None, "one of LEFT, RIGHT or none"),
        (list[str], "list: text"),
        (tuple[Part, ...], "list of objects"),
        (object, "anything"),
    ],
    ids=str,
)
def test_description_of_types(hint: object, words: str) -> None:
    assert describe_type(hint) == words
