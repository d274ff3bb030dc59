"""What Claude said, in the one line that `hls why` has for it."""

from __future__ import annotations

from hls_handler.analysis import Answered, Usage
from hls_handler.cli.why import said
from tests.handlers.world import request, review_analysis


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
