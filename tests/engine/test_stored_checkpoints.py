"""Checkpoints of an earlier version: what was written stays readable, and facts are read anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from hls_handler.actions import Outcome
from hls_handler.batches.undo import UNDO_PLAN, UndoPlan
from hls_handler.deliveries import Checkpoint
from hls_handler.engine.codecs import OUTCOME, PROBLEMS_REPORTED, Codec, facts_codec
from hls_handler.engine.posting import COMMENT_WRITE_BEGUN, LABELS_BEFORE, CommentWriteBegun
from hls_handler.engine.shown_check import TITLE_CHECKED

STORED_OUTCOME = (
    '{"action":"review","kind":"created","detail":"posted 1 comment","added":["bug"],'
    '"removed":["question"],"comment_id":7,"url":"https://github.com/o/r/issues/1","body":"Hello.",'
    '"comment_ids":{"key":8},"rejected":["other"],"target":"review"}'
)
REVIEW = Outcome(
    "review",
    "created",
    "posted 1 comment",
    added=("bug",),
    removed=("question",),
    comment_id=7,
    url="https://github.com/o/r/issues/1",
    body="Hello.",
    comment_ids={"key": 8},
    rejected=("other",),
    target="review",
)


@pytest.mark.parametrize(
    ("codec", "name", "version", "stored", "value"),
    [
        (OUTCOME, "post", 1, STORED_OUTCOME, REVIEW),
        (TITLE_CHECKED, "title_check", 1, STORED_OUTCOME, REVIEW),
        (PROBLEMS_REPORTED, "settings_reported", 1, STORED_OUTCOME, REVIEW),
        (
            COMMENT_WRITE_BEGUN,
            "writing",
            1,
            '{"family":"issues","how":"created"}',
            CommentWriteBegun("issues", "created"),
        ),
        (LABELS_BEFORE, "before", 1, '{"bug":"intended"}', {"bug": "intended"}),
        (
            UNDO_PLAN,
            "undo",
            1,
            '{"labels":["bug"],"has_type":true,"has_comment":true,"left":["ui stays"]}',
            UndoPlan(("bug",), True, True, ("ui stays",)),
        ),
    ],
)
def test_checkpoint_of_a_write_of_1_0_0_is_decoded_completely(
    codec: Codec[Any], name: str, version: int, stored: str, value: object
) -> None:
    step = Checkpoint(name, 0, version, stored)
    assert (codec.name, codec.decode(step)) == (name, value)
    assert codec.decode(replace(step, version=version + 1)) is None


@pytest.mark.parametrize(
    "value", ["[]", "null", "{", '{"action": "delete", "kind": "changed", "detail": ""}']
)
def test_invalid_value_of_a_checkpoint_is_not_decoded(value: str) -> None:
    assert OUTCOME.decode(Checkpoint("post", 0, OUTCOME.version, value)) is None


def test_facts_with_other_fields_are_not_decoded() -> None:
    @dataclass(frozen=True, slots=True)
    class Facts:
        title: str

    @dataclass(frozen=True, slots=True)
    class LaterFacts:
        title: str
        labels: tuple[str, ...] = ()

    step = facts_codec(Facts).encode(Facts("Crash"))
    assert facts_codec(Facts).decode(step) == Facts("Crash")
    assert facts_codec(LaterFacts).decode(step) is None
