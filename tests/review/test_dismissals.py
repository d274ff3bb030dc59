"""Replies that dismiss a finding or take that back, and the dismissals of a thread."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.github.values import ReviewThread, ThreadReply
from hls_handler.review.dismissals import classify_reply, find_dismissals

DISMISSALS = (
    "Won't fix.",
    "This is intentional.",
    "By design, see the README.",
    "Not a bug: the caller validates it.",
    "False positive",
    "No change needed, `x` is never None here.",
    "I will not change this, other clients rely on it.",
    "This can't happen, the list is checked two lines above.",
    "Out of scope for this PR.",
    "It's fine, only tests call this.",
    "Works as intended.",
    "Deliberate: the timeout is short on purpose.",
    "Leaving it as is.",
    "We accept this risk.",
    "That's how it's supposed to work.",
    "This isn't an issue because the lock is held.",
    "This change is intentional, the old name was wrong.",
    "Thanks, but this is a false positive.",
    "I don't think this is a problem, the queue is bounded.",
    "That is the expected behaviour.",
    "Good point, but out of scope for this PR.",
    "We removed the lock on purpose",
)

CHANGES = (
    "Good catch, will fix.",
    "Fixed in abc1234.",
    "Not an issue any more, fixed in abc1234.",
    "That's fine, I'll change it.",
    "Done.",
    "You're right, I'll change it.",
    "Updated.",
    "Thanks! Pushed a fix.",
    "I've added a check.",
    "Fixed, this is fine now.",
    "Changed it to use a lock.",
    "On it",
    "I will address this in a follow-up.",
    "OK, updating the query.",
    "This is intentional for now, I'll rework it tomorrow.",
    "No longer an issue",
    "Makes sense, renamed.",
    "It's by design but I will add a comment.",
    "Should be fixed now.",
    "Removed the call altogether.",
    "Reverted.",
    "Won't fix it here, I'll do it in another PR.",
    "Agreed, fixing.",
    "not a problem anymore",
    "Won't be a problem after the next commit.",
    "I'll take care of it",
    "Fair point, changing",
    "handled in 3fa9c21",
    "See the latest commit.",
    "Wrapped it in a transaction, so this can't happen",
)

OTHERS = (
    "Can you explain why?",
    "Is this a false positive?",
    "Hm.",
    "@bob what do you think",
    "I am not sure this is an issue",
    "This isn't intentional",
    "Not a false positive, I think.",
    "Maybe this is by design",
    "LGTM",
    "If this is intentional, please say so",
    "Why is this a problem?",
    "This is not by design.",
    "We might need to look at this.",
    "Could be out of scope",
    "Which input breaks it?",
    "By design. Should I change it?",
)


@pytest.mark.parametrize("text", DISMISSALS)
def test_reply_that_says_that_a_finding_is_not_to_be_fixed_dismisses_it(text: str) -> None:
    assert classify_reply(text) == "dismissal"


@pytest.mark.parametrize("text", CHANGES)
def test_reply_that_promises_or_reports_a_change_never_dismisses(text: str) -> None:
    assert classify_reply(text) == "change"


@pytest.mark.parametrize("text", OTHERS)
def test_reply_that_says_neither_changes_nothing(text: str) -> None:
    assert classify_reply(text) == "other"


@pytest.mark.parametrize(
    "text",
    [
        "It\u2019s a false positive",
        "@hls-bot out of scope for this PR",
        "> You log a secret, fixed?\n\nNot a bug, it is a test key.",
        "@hls[bot] out of scope for this PR",
        "/dismiss",
        "/Dismiss \r\nbecause the tests cover it",
        "Won't fix, see https://example.org/why?id=3",
        "Not an issue. Who would call it with None?",
        "This isn't an issue: `parse` rejects it before (`value?.length`).",
    ],
)
def test_quotes_code_and_links_do_not_count(text: str) -> None:
    assert classify_reply(text) == "dismissal"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "> won't fix\n\nWhy not",
        "```\nby design\n```",
        "/dismiss 3",
        "/dismissed",
        "Please write\n/dismiss",
        "/dismiss\u200b",
    ],
)
def test_only_own_words_and_the_command_alone_dismiss(text: str) -> None:
    assert classify_reply(text) == "other"


def thread(*replies: tuple[str, str], **known: Any) -> ReviewThread:
    plain = {"resolved_by": None, "own_replies": (), "thumbs_up": (), "thumbs_down": ()}
    said = tuple(ThreadReply(author, body) for author, body in replies)
    return ReviewThread(
        comment_id=5,
        key="k",
        replies=said,
        **{**plain, "is_resolved": "resolved_by" in known, **known},
    )


def test_dismissals_have_keys_that_name_what_was_done() -> None:
    given = thread(
        *(("zoe", "by design"), ("ann", "thanks"), ("bob", "Why?"), ("bob", "Out of scope")),
        resolved_by="mona",
        thumbs_down=("zoe", "mona"),
    )
    assert find_dismissals(given) == {
        "resolved by mona": "mona",
        "thumbs down by zoe": "zoe",
        "thumbs down by mona": "mona",
        "reply 1 by zoe": "zoe",
        "reply 2 by bob": "bob",
    }


def test_newest_dismissal_or_promise_of_a_person_counts() -> None:
    said = (
        ("mona", "Won't fix."),
        ("zoe", "By design."),
        ("mona", "OK, I will fix it"),
        ("zoe", "will you"),
    )
    assert list(find_dismissals(thread(*said))) == ["reply 1 by zoe"]
    assert list(find_dismissals(thread(*said[::-1]))) == ["reply 2 by zoe", "reply 2 by mona"]


@pytest.mark.parametrize(
    "given",
    [
        thread(resolved_by="mona", own_replies=("fixed",)),
        thread(resolved_by=""),
        thread(("ci[bot]", "won't fix"), thumbs_down=("ci[bot]",), resolved_by="ci[bot]"),
    ],
    ids=["resolved after the fix", "resolved by a deleted account", "by bots"],
)
def test_thread_that_dismisses_nothing(given: ReviewThread) -> None:
    assert find_dismissals(given) == {}
