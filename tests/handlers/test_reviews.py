"""Handler for reviews: facts, the checklist, and the status label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import ReviewAnalysis
from hls_handler.errors import Permanent, Superseded
from hls_handler.events import Account, Review
from hls_handler.github.values import ReviewComment
from hls_handler.handlers import reviews
from hls_handler.handlers.handler import SkipReason
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.handlers.reviews import ReviewFacts, ReviewHandler, ShownComment, Todo
from tests.handlers.world import (
    analysis,
    fake_reader,
    pull_request,
    request,
    review,
    review_analysis,
    review_comment,
    review_event,
)

HANDLER = ReviewHandler()
BUDGET = PromptLimits(input_tokens=10_000)
NEEDS_CHANGES = EnsureLabels((RequestedLabel("status/needs-changes", "status"),), ("status",))
NEEDS_REVIEW = EnsureLabels((RequestedLabel("status/needs-review", "status"),), ("status",))
NO_STATUS = EnsureLabels((), ("status",))
OTHER, BOT = Account("otto", 3, "User"), Account("copilot[bot]", 4, "Bot")


def gather(
    submitted: Review,
    *comments: ReviewComment,
    others: tuple[Review, ...] = (),
    budget: PromptLimits = BUDGET,
) -> ReviewFacts:
    reader = fake_reader(pull_request(), reviews=(*others, submitted), review_comments=comments)
    return reviews.gather(
        Source(
            review_event(review(state="commented", body="As it was")), reader, EMPTY_HISTORY, budget
        )
    )


def plan(
    facts: ReviewFacts, *replies: ReviewAnalysis, comment: str | None = "List."
) -> tuple[Action, ...]:
    return reviews.plan(facts, analysis(*replies, comment=comment))


def todos(facts: ReviewFacts, reply: ReviewAnalysis) -> Any:
    return reviews.list_comment_variables(facts, reply)["todos"]


# --- facts
# -----------------------------------------------------------------------------


def test_the_current_review_is_read_with_numbered_comments() -> None:
    facts = gather(review(), review_comment(), review_comment("Why?"))
    assert facts.review == review()
    assert facts.comments == (
        ShownComment(
            1, "area.py", "RIGHT", 2, "@@ -1,2 +1,2 @@\nR    1   def area(side):\n"
            "L    2 -     return side * 2\nR    2 +     return side ** 2", "This must be tested."
        ),
        ShownComment(2, "area.py", "RIGHT", 2, facts.comments[0].code, "Why?"),
    )  # fmt: skip
    assert (facts.omitted, facts.only_replies, facts.objections) == (0, False, True)


@pytest.mark.parametrize(
    ("comment", "side", "line"),
    [
        (review_comment(line=None), "RIGHT", 2),  # GitHub omits it; the hunk ends with it
        (
            review_comment(
                line=None, side=None, hunk="@@ -1,2 +1,1 @@\n def area(side):\n-    return side * 2"
            ),
            "LEFT",
            2,
        ),
        (review_comment(line=40), "RIGHT", 40),
        (review_comment(line=None, hunk=""), "RIGHT", None),  # a comment on the whole file
    ],
    ids=["from the hunk", "removed", "named", "whole file"],
)
def test_line_and_side_of_a_comment_come_from_the_comment_or_its_hunk(
    comment: ReviewComment, side: str, line: int | None
) -> None:
    shown = gather(review(), comment).comments[0]
    assert (shown.side, shown.line) == (side, line)


def test_rule_10_hunk_is_redacted_as_code_before_it_is_cut() -> None:
    key = [
        "-----BEGIN PRIVATE KEY-----",
        *["MIIEpAIBAAKCAQEA" * 4] * 9,
        "-----END PRIVATE KEY-----",
    ]
    added = [*key, 'password = "hunter2"']
    hunk = f"@@ -1,0 +1,{len(added)} @@\n" + "\n".join(f"+{line}" for line in added)
    (comment,) = gather(review(), review_comment(hunk=hunk, line=None)).comments
    assert "MIIEpAI" not in comment.code
    assert comment.code.endswith(
        '\nR   11 + [redacted: private-key]\nR   12 + password = "hunter2"'
    )
    assert comment.line == 12


def test_comments_beyond_the_budget_are_counted_and_not_shown() -> None:
    facts = gather(
        review(), *[review_comment("x" * 350)] * 100, budget=PromptLimits(input_tokens=2_000)
    )
    assert len(facts.comments) == 10
    assert facts.omitted == 90
    assert (
        reviews.describe_omissions(facts)
        == "90 of 100 comments on lines were not shown: over the token budget"
    )
    assert reviews.describe_omissions(gather(review(), review_comment())) == ""
    only = gather(review(), review_comment("x" * 350), budget=PromptLimits(input_tokens=1))
    assert (
        reviews.describe_omissions(only)
        == "1 of 1 comment on lines was not shown: over the token budget"
    )


def test_a_deleted_or_dismissed_review_is_not_processed() -> None:
    with pytest.raises(Superseded, match="the review was dismissed meanwhile"):
        gather(review(state="dismissed"))
    with pytest.raises(
        Permanent, match="the review 501 does not exist or is not among the first 0 reviews"
    ):
        reviews.gather(
            Source(review_event(review()), fake_reader(pull_request()), EMPTY_HISTORY, BUDGET)
        )


@pytest.mark.parametrize(
    ("later", "superseded"),
    [
        (review(id=502, state="approved", body=""), True),
        (review(id=502, state="commented", body="Thanks, talk tomorrow."), False),
        (review(id=502, state="approved", user=OTHER), False),
    ],
    ids=["verdict", "a comment", "another person"],
)
def test_an_edited_review_is_superseded_by_a_newer_verdict_of_the_same_person(
    later: Review, superseded: bool
) -> None:
    reader = fake_reader(pull_request(), reviews=(review(), later))
    if not superseded:
        assert (
            reviews.gather(Source(review_event(review()), reader, EMPTY_HISTORY, BUDGET)).review
            == review()
        )
        return
    with pytest.raises(Superseded, match="the same person has reviewed again since"):
        reviews.gather(Source(review_event(review()), reader, EMPTY_HISTORY, BUDGET))


# --- reasons not to ask Claude
# -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "replies", "reason"),
    [
        (
            "",
            (True, True),
            "the review only replies in existing review threads, so Claude was not asked",
        ),
        ("", (True, False), None),
        ("And please rename it.", (True,), None),
    ],
    ids=["replies", "one more", "with a text"],
)
def test_claude_is_not_asked_about_replies_in_review_threads(
    body: str, replies: tuple[bool, ...], reason: str | None
) -> None:
    comments = [
        review_comment("Thanks, that is better.", is_reply=is_reply) for is_reply in replies
    ]
    skipped = reviews.find_skip_reason(gather(review(state="commented", body=body), *comments))
    assert skipped == (SkipReason(reason) if reason else None)


# --- the checklist
# -----------------------------------------------------------------------------


BLOB = "https://github.com/o/r/blob/abcdef0123456789"


def test_a_request_is_located_by_its_quote_and_blocking_requests_come_first() -> None:
    facts = gather(
        review(),
        review_comment("Nit: a\n  blank line."),
        review_comment("Test it.", path="b.py", line=7),
    )
    reply = review_analysis(
        request("Nit: a blank line.", comment=1, blocking=False, todo="Add a line."),
        request("square the side", todo="Square it."),
        request("Test it.", comment=1, todo="Test it."),  # the quote is in the other comment
    )
    assert todos(facts, reply) == (
        Todo("Square it.", "square the side", None, None, "RIGHT", blocking=True),
        Todo("Test it.", "Test it.", "b.py", 7, "RIGHT", blocking=True, url=f"{BLOB}/b.py#L7"),
        Todo(
            "Add a line.",
            "Nit: a blank line.",
            "area.py",
            2,
            "RIGHT",
            blocking=False,
            url=f"{BLOB}/area.py#L2",
        ),
    )


def test_a_request_on_a_removed_line_links_to_the_base_commit() -> None:
    facts = gather(review(), review_comment("Why?", path="a b.md", line=3, side="LEFT"))
    facts = replace(facts, pull_request=replace(facts.pull_request, base_sha="ba5e"))
    (todo,) = todos(facts, review_analysis(request("Why?", comment=1)))
    assert todo.url == "https://github.com/o/r/blob/ba5e/a%20b.md?plain=1#L3"


@pytest.mark.parametrize("quote", ["Rewrite it in Rust.", "", "  "])
def test_a_request_whose_quote_is_not_in_the_review_is_dropped_and_counted(quote: str) -> None:
    facts, reply = gather(review(), review_comment()), review_analysis(request(quote))
    variables = reviews.list_comment_variables(facts, reply)
    assert variables == {"commit": "abcdef0123", "todos": (), "dropped": 1}
    assert plan(facts, reply) == (NEEDS_CHANGES,)


# --- actions
# -----------------------------------------------------------------------------


def test_each_reviewer_has_a_section() -> None:
    facts = gather(review())
    assert plan(facts, review_analysis(request("square the side"))) == (
        NEEDS_CHANGES,
        EnsureComment("reviews", "List.", create=True, section="reviewer-2"),
    )


@pytest.mark.parametrize(
    ("one", "requests", "others", "labels"),
    [
        (review(state="commented"), [request("square the side")], (), NEEDS_CHANGES),
        (review(state="commented"), [request("square the side", blocking=False)], (), NEEDS_REVIEW),
        (review(state="approved"), [], (), NO_STATUS),
        (review(state="approved"), [], (review(id=1, user=OTHER),), NEEDS_CHANGES),
        # the reviewer's own earlier verdict
        (review(state="approved"), [], (review(id=1),), NO_STATUS),
        (
            review(state="approved"), [],
            (review(id=1, user=OTHER), review(id=2, user=OTHER, state="approved")), NO_STATUS,
        ),
        (review(state="approved"), [], (review(id=1, user=OTHER, state="dismissed"),), NO_STATUS),
        (review(state="approved"), [], (review(id=1, user=BOT),), NO_STATUS),
    ],
    ids=["blocking request", "other request", "approved",
         "another objects", "changed their verdict",
         "another approved later", "dismissed", "a bot objects"],
)  # fmt: skip
def test_status_label(
    one: Review, requests: list[Any], others: tuple[Review, ...], labels: EnsureLabels
) -> None:
    assert plan(gather(one, others=others), review_analysis(*requests))[0] == labels


# --- incomplete input
# -----------------------------------------------------------------------------


def test_nothing_is_cleared_if_the_review_was_not_read_completely() -> None:
    approved = review(state="approved", body="Fine, but see below.")
    unread = gather(
        approved, *[review_comment("x" * 4000)] * 9, budget=PromptLimits(input_tokens=2_000)
    )
    assert unread.omitted == 8
    assert plan(unread, review_analysis()) == ()
    assert plan(gather(approved), review_analysis(request("not there"))) == ()
    assert (
        reviews.find_skip_reason(
            gather(review(body=""), review_comment(), budget=PromptLimits(input_tokens=10))
        )
        is None
    )


@pytest.mark.parametrize(
    ("written", "quoted"),
    [
        ("Please <!-- aside --> rename it.", "Please rename it."),
        ("Set password=hunter2secret here.", "Set password=[redacted: password] here."),
        ("> one\n> two words", "one two words"),
        ("\u1112\u1161\u11ab rename", "\ud55c rename"),
    ],
    ids=["comment", "redacted", "quote", "korean"],
)
def test_quotes_are_found_in_the_text_as_the_prompt_showed_it(written: str, quoted: str) -> None:
    assert len(todos(gather(review(body=written)), review_analysis(request(quoted)))) == 1
