"""Sample values for rendering templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from hls_handler.analysis import REPLY_TYPES, IssueAnalysis
from hls_handler.prompting.variables import SAMPLE_TEXT, sample_values


@dataclass(frozen=True)
class Thing:
    name: str
    parts: tuple[int, ...]


@pytest.mark.parametrize(
    ("hint", "full", "minimal"),
    [
        (str, SAMPLE_TEXT, ""),
        (int, 7, 0),
        (float, 0.8, 0.0),
        (bool, True, False),
        (str | None, SAMPLE_TEXT, None),
        (int | str, 7, 0),
        (list[str], [SAMPLE_TEXT, SAMPLE_TEXT], []),
        (Mapping[str, str], {}, {}),
        (Literal["a", "b", "c"], "a", "c"),
        (Annotated[int, "of something"], 7, 0),
        (Thing, Thing(SAMPLE_TEXT, [7, 7]), Thing("", [])),  # type: ignore[arg-type]
    ],
)
def test_type_has_a_full_and_a_minimal_value(hint: object, full: object, minimal: object) -> None:
    assert sample_values(hint) == (full, minimal)


def test_every_value_of_an_enum_is_sampled() -> None:
    replies = sample_values(IssueAnalysis)
    assert {reply.kind for reply in replies} == {"bug", "enhancement", "question", "documentation", "maintenance"}
    assert {reply.component for reply in replies} == {"frontend", "backend", "database", "none"}
    assert {reply.worth_saying for reply in replies} == {True, False}


@pytest.mark.parametrize("name", REPLY_TYPES)
def test_sample_replies_are_valid(name: str) -> None:
    for reply in sample_values(REPLY_TYPES[name]):
        assert REPLY_TYPES[name].model_validate_json(reply.model_dump_json()) == reply
