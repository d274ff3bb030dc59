"""Made-up values for trying templates out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from hls_handler.analysis import REPLY_TYPES, IssueAnalysis
from hls_handler.prompting.plausible import WORDS, plausible


@dataclass(frozen=True)
class Thing:
    name: str
    parts: tuple[int, ...]


@pytest.mark.parametrize(
    ("hint", "full", "bare"),
    [
        (str, WORDS, ""),
        (int, 7, 0),
        (float, 0.8, 0.0),
        (bool, True, False),
        (str | None, WORDS, None),
        (int | str, 7, 0),
        (list[str], [WORDS, WORDS], []),
        (Mapping[str, str], {}, {}),
        (Literal["a", "b", "c"], "a", "c"),
        (Annotated[int, "of something"], 7, 0),
        (Thing, Thing(WORDS, [7, 7]), Thing("", [])),  # type: ignore[arg-type]
    ],
)
def test_a_type_has_a_full_and_a_bare_value(hint: object, full: object, bare: object) -> None:
    assert plausible(hint) == (full, bare)


def test_every_value_of_a_closed_set_is_tried() -> None:
    replies = plausible(IssueAnalysis)
    assert {reply.kind for reply in replies} == {"bug", "enhancement", "question", "documentation", "maintenance"}
    assert {reply.component for reply in replies} == {"frontend", "backend", "database", "none"}
    assert {reply.worth_saying for reply in replies} == {True, False}


@pytest.mark.parametrize("name", REPLY_TYPES)
def test_replies_validate_apart_from_their_bounds(name: str) -> None:
    for reply in plausible(REPLY_TYPES[name]):
        assert REPLY_TYPES[name].model_validate_json(reply.model_dump_json()) == reply
