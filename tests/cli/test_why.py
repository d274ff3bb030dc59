"""Claude's replies and shadow results in `hls why`, in one line each."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.actions import RequestedLabel
from hls_handler.analysis import REPLY_TYPES, Usage, ValidReply
from hls_handler.engine.shadow import PromptResult, ShadowResult
from hls_handler.prompting.reply_fields import permissive_reply_model
from hls_handler.reports.delivery_report import describe_shadow
from hls_handler.reports.reply_text import describe_reply
from tests.handlers.world import issue_analysis, request, review_analysis

REPLIES: list[tuple[str, dict[str, Any], str]] = [
    (
        "issue_analysis",
        issue_analysis(
            missing=["The version", "The log"],
            recommended_response="Try\n\n2.1.",
            suggested_labels=[{"name": "area/cart", "confidence": 0.9}, {"name": "v2", "confidence": 0.35}],
        ).model_dump()
        | {"affected_version": "x" * 400, "areas": ["api", "docs"], "regression": True, "owner": ""},
        (
            "kind: bug; priority: high; difficulty: easy; component: backend; summary: It crashes; missing: The "
            "version, The log; recommended_response: Try 2.1; suggested_labels: area/cart 0.9, v2 0.35; "
            f"affected_version: {'x' * 299}…; areas: api, docs; regression: true."
        ),
    ),
    (
        "review_analysis",
        review_analysis(request("a"), request("b", blocking=False), worth_saying=False).model_dump(),
        "worth_saying: false; summary: Square it; requests: 2.",
    ),
    (
        "workflow_analysis",
        {
            "cause": "A test fails.",
            "quote": "E assert 1 == 2",
            "where": [{"path": "a.py", "line": 3, "why": "x"}, {"path": "b.py", "line": None, "why": "y"}],
            "advice": "",
        },
        "cause: A test fails; quote: E assert 1 == 2; where: a.py 3 x, b.py y.",
    ),
    ("comment_reply", {"answer": "", "certain": True}, "certain: true."),
]


@pytest.mark.parametrize(("kind", "fields", "sentence"), REPLIES, ids=[kind for kind, _, _ in REPLIES])
def test_reply_is_one_sentence_with_the_fields_that_are_not_empty(
    kind: str, fields: dict[str, Any], sentence: str
) -> None:
    reply = permissive_reply_model(REPLY_TYPES[kind]).model_validate({"worth_saying": True, **fields})
    assert describe_reply(ValidReply("p@1", kind, reply, Usage("claude"))) == sentence


def test_a_shadow_is_described_by_what_it_would_have_done() -> None:
    posted = PromptResult("issues/analyze@1", (RequestedLabel("bug", "kind"),), speaks=True)
    silent = PromptResult("issues/strict@2", (), speaks=False)
    assert describe_shadow(ShadowResult("issues/strict", "done", None, silent, posted)) == (
        "Shadow prompt issues/strict@2 would have set no labels, without a comment; none of this was posted."
    )
    failed = ShadowResult("issues/strict", "failed", "Claude answered 400", None, posted)
    assert describe_shadow(failed) == "Shadow prompt issues/strict failed: Claude answered 400"
