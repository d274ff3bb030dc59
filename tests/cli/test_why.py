"""Claude's replies and shadow results in `hls why`, in one line each."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.actions import RequestedLabel
from hls_handler.analysis import REPLY_TYPES, IssueAnalysis, Usage, ValidReply
from hls_handler.engine.shadow import PromptResult, ShadowResult
from hls_handler.prompting.reply_fields import permissive_reply_model
from hls_handler.reports.delivery_report import describe_shadow
from hls_handler.reports.reply_text import describe_reply
from tests.handlers.world import issue_analysis, request, review_analysis

REPLIES: dict[str, tuple[dict[str, Any], str]] = {
    "issue_analysis": (
        issue_analysis(
            missing=["The version", "The log"],
            recommended_response="Try 2.1.",
            suggested_labels=[{"name": "area/cart", "confidence": 0.9}, {"name": "v2", "confidence": 0.35}],
        ).model_dump(),
        (
            "bug, priority high, easy, component backend: It crashes; asks the author for: The version, The log; "
            "tells the author: Try 2.1; suggests the labels area/cart (confidence 0.9), v2 (confidence 0.35)."
        ),
    ),
    "issue_response": (
        {"answer": "Set\n\nDATABASE_URL.", "certain": False},
        "a guess: Set DATABASE_URL.",
    ),
    "pull_request_analysis": (
        {
            "type": "feature",
            "summary": "Adds paging.",
            "findings": [],
            "suggested_labels": [{"name": "area/users", "confidence": 1}],
        },
        "feature, 0 findings: Adds paging; suggests the labels area/users (confidence 1).",
    ),
    "finding_verdicts": (
        {"verdicts": [{"number": 1, "facts": [], "agrees": True}, {"number": 2, "facts": [], "agrees": False}]},
        "2 verdicts, 1 of them: proved.",
    ),
    "review_analysis": (
        review_analysis(request("a"), request("b", blocking=False)).model_dump(),
        "2 requests, 1 of them blocking: Square it.",
    ),
    "workflow_analysis": (
        {
            "cause": "A test fails.",
            "quote": "E assert 1 == 2",
            "where": [{"path": "a.py", "line": 3, "why": "x"}, {"path": "b.py", "line": None, "why": "y"}],
            "advice": "",
        },
        'A test fails; shown by "E assert 1 == 2"; places to look at: a.py:3, b.py.',
    ),
    "release_analysis": (
        {"headline": "Orders as CSV", "announcement": "x" * 400, "highlights": ["One.", "Two."]},
        f"2 highlights: Orders as CSV; announcement: {'x' * 299}…",
    ),
    "comment_reply": ({"answer": "", "certain": True}, "certain: no answer."),
    "generic_analysis": (
        {"summary": "A push.", "details": "Three commits."},
        "A push; details: Three commits.",
    ),
}


@pytest.mark.parametrize("name", REPLY_TYPES)
def test_reply_of_each_type_is_one_sentence(name: str) -> None:
    fields, sentence = REPLIES[name]
    reply = permissive_reply_model(REPLY_TYPES[name]).model_validate({**fields, "worth_saying": True})
    assert describe_reply(ValidReply("p@1", name, reply, Usage("claude"))) == sentence


def test_a_reply_that_is_not_worth_a_comment_is_marked() -> None:
    reply = review_analysis(worth_saying=False, summary="")
    assert describe_reply(ValidReply("reviews/analyze@1", "review_analysis", reply, Usage("claude"))) == (
        "0 requests, 0 of them blocking: no summary; not worth a comment."
    )


def test_custom_fields_come_last_and_are_no_json() -> None:
    custom = {
        "affected_version": "2.1",
        "areas": ["api", "docs"],
        "regression": True,
        "owner": "",
        "labels": [{"name": "api", "confidence": 0.9}],
    }
    reply = permissive_reply_model(IssueAnalysis).model_validate({**issue_analysis().model_dump(), **custom})
    assert describe_reply(ValidReply("issues/analyze@1", "issue_analysis", reply, Usage("claude"))) == (
        "bug, priority high, easy, component backend: It crashes; affected_version: 2.1; areas: api, docs; "
        "regression: true; owner: none; labels: name api, confidence 0.9."
    )


POSTED = PromptResult("issues/analyze@1", (RequestedLabel("bug", "kind"),), speaks=True)


@pytest.mark.parametrize(
    ("shadow", "description"),
    [
        (
            ShadowResult("issues/strict", "done", None, PromptResult("issues/strict@2", (), speaks=False), POSTED),
            "Shadow prompt issues/strict@2 would have set no labels, without a comment; none of this was posted.",
        ),
        (
            ShadowResult("issues/strict", "failed", "Claude answered 400", None, POSTED),
            "Shadow prompt issues/strict failed: Claude answered 400",
        ),
        (
            ShadowResult("issues/strict", "skipped", "waits for a slot to call Claude", None, POSTED),
            "Shadow prompt issues/strict was not asked: waits for a slot to call Claude",
        ),
    ],
    ids=["silent", "failed", "skipped"],
)
def test_a_shadow_is_described_by_what_it_would_have_done(shadow: ShadowResult, description: str) -> None:
    assert describe_shadow(shadow) == description
