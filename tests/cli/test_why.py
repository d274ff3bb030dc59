"""What Claude said, in the one line that `hls why` has for it."""

from __future__ import annotations

import pytest

from hls_handler.actions import LabelWish
from hls_handler.analysis import Answered, IssueAnalysis, Usage
from hls_handler.cli.why import said, shadow_told
from hls_handler.prompting.fields import any_version
from hls_handler.work.shadow import Ran, Shadowed
from tests.handlers.world import issue_analysis, request, review_analysis


def test_a_checklist_is_told_by_its_length_and_its_weight() -> None:
    reply = review_analysis(request("a"), request("b", blocking=False))
    assert said(Answered("reviews/analyze@1", "review_analysis", reply, Usage("claude"))) == (
        "2 requests, 1 of them blocking: Square it."
    )


def test_what_is_not_worth_a_comment_is_said_to_be_so() -> None:
    reply = review_analysis(worth_saying=False, summary="")
    assert said(Answered("reviews/analyze@1", "review_analysis", reply, Usage("claude"))) == (
        "0 requests, 0 of them blocking: nothing (not worth a comment)"
    )


def test_fields_of_the_prompts_author_are_told_at_the_end() -> None:
    own = {"affected_version": "2.1", "areas": ["api", "docs"], "regression": True}
    reply = any_version(IssueAnalysis).model_validate({**issue_analysis().model_dump(), **own})
    assert said(Answered("issues/analyze@1", "issue_analysis", reply, Usage("claude"))) == (
        "bug, priority high, easy, component backend: It crashes.; affected_version: 2.1; areas: api, docs; "
        "regression: True"
    )


POSTED = Ran("issues/analyze@1", (LabelWish("bug", "kind"),), speaks=True)


@pytest.mark.parametrize(
    ("shadow", "told"),
    [
        (
            Shadowed("issues/strict", "done", None, Ran("issues/strict@2", (), speaks=False), POSTED),
            "In its shadow issues/strict@2 would have set no labels, without a comment; nothing of it was posted.",
        ),
        (
            Shadowed(
                "issues/strict",
                "done",
                None,
                Ran("issues/strict@2", (LabelWish("bug", "kind"), LabelWish("priority-low", "priority")), speaks=True),
                POSTED,
            ),
            "In its shadow issues/strict@2 would have set bug, priority-low, with a comment; nothing of it was posted.",
        ),
        (
            Shadowed("issues/strict", "failed", "Claude answered 400", None, POSTED),
            "In its shadow issues/strict failed: Claude answered 400",
        ),
        (
            Shadowed("issues/strict", "skipped", "waits for its turn", None, POSTED),
            "In its shadow issues/strict was not asked: waits for its turn",
        ),
    ],
    ids=["silent", "speaking", "failed", "skipped"],
)
def test_a_shadow_is_told_by_what_it_would_have_done(shadow: Shadowed, told: str) -> None:
    assert shadow_told(shadow) == told
