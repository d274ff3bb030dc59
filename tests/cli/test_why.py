"""Claude's replies and shadow results in `hls why`, in one line each."""

from __future__ import annotations

import pytest

from hls_handler.actions import RequestedLabel
from hls_handler.analysis import IssueAnalysis, Usage, ValidReply
from hls_handler.cli.deliveries import describe_reply, describe_shadow
from hls_handler.prompting.reply_fields import permissive_reply_model
from hls_handler.work.asking import PromptResult, ShadowResult
from tests.handlers.world import issue_analysis, request, review_analysis


def test_a_review_is_described_by_its_number_of_requests() -> None:
    reply = review_analysis(request("a"), request("b", blocking=False))
    assert describe_reply(ValidReply("reviews/analyze@1", "review_analysis", reply, Usage("claude"))) == (
        "2 requests, 1 of them blocking: Square it."
    )


def test_a_reply_that_is_not_worth_a_comment_is_marked() -> None:
    reply = review_analysis(worth_saying=False, summary="")
    assert describe_reply(ValidReply("reviews/analyze@1", "review_analysis", reply, Usage("claude"))) == (
        "0 requests, 0 of them blocking: no summary (not worth a comment)"
    )


def test_custom_fields_come_last() -> None:
    custom = {"affected_version": "2.1", "areas": ["api", "docs"], "regression": True}
    reply = permissive_reply_model(IssueAnalysis).model_validate({**issue_analysis().model_dump(), **custom})
    assert describe_reply(ValidReply("issues/analyze@1", "issue_analysis", reply, Usage("claude"))) == (
        "bug, priority high, easy, component backend: It crashes.; affected_version: 2.1; areas: api, docs; "
        "regression: True"
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
            ShadowResult(
                "issues/strict",
                "done",
                None,
                PromptResult(
                    "issues/strict@2",
                    (RequestedLabel("bug", "kind"), RequestedLabel("priority-low", "priority")),
                    speaks=True,
                ),
                POSTED,
            ),
            "Shadow prompt issues/strict@2 would have set bug, priority-low, with a comment; none of this was posted.",
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
    ids=["silent", "speaking", "failed", "skipped"],
)
def test_a_shadow_is_described_by_what_it_would_have_done(shadow: ShadowResult, description: str) -> None:
    assert describe_shadow(shadow) == description
