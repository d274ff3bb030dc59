"""What Claude said, in the one line that `hls why` has for it."""

from __future__ import annotations

from hls_handler.analysis import Answered, IssueAnalysis, Usage
from hls_handler.cli.why import said
from hls_handler.prompting.fields import any_version
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
