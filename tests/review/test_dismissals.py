"""Replies that dismiss a finding or take that back, and the dismissals of a thread."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.github.values import ReviewThread, ThreadReply
from hls_handler.review.dismissals import find_dismissals, read_reply

DISMISSALS = (
    "Won't fix.",
    "wontfix",
    "won't fix: sanitized upstream",
    "Won\u2019t fix \u2014 the old name was wrong",
    "Will not fix this in this PR, other clients rely on it.",
    "won't fix for now because we drop it in May",
    "False positive (see #12)",
    "By design.",
    "By design: see the README.",
    "won't fix : c'est voulu",
    "Intended because the timeout is short on purpose",
    "Intended behaviour.\nSee the README",
    "As intended, yes",
    "works as intended - it is a test key",
    "out of scope for this PR!",
    "Not applicable",
    "**Accepted risk**: I'll fix it in May",
    "Agreed, out of scope.",
    "You're right. Won't fix here.",
    "OK, won't fix",
    "> You log a secret, fixed?\n\nNot a bug, it is a test key.",
    "won't fix \N{SHRUG}",
    "Not a bug \N{SLIGHTLY SMILING FACE} the list is sorted above",
    "This is intentional: the list is sorted above.",
    "Agreed, this is a false positive.",
    "It's out of scope for this PR.",
    "@hls false positive",
    "@hls[bot], won't fix: sanitized upstream",
    "Won't fix. Do you see a case that needs it?",
)

OBJECTIONS = (
    "please fix",
    "No, please fix.",
    "No, please fix this, it is exported.",
    "Please don't dismiss this: it is exported.",
    "No, please fix this before we merge.",
    "Please fix the quoting.",
    "please fix this first",
    "@hls please fix this",
)

UNCLEAR = (
    "Not a bug in the caller, it's a bug here.",
    "Won't fix as is",
    "won't fix since it is a test key",
    "Won't fix?",
    "False positive!?",
    "Intended, I guess",
    "Not an issue any more, fixed in abc1234.",
    "Intended for now, I guess",
    "By design we check it here",
    "Out of scope creep",
    "I disagree.",
    "I disagree, the caller checks it",
    "this is not an issue for me",
    "Not a bug: the caller validates it?",
    "Not an issue here; who would call it with None?",
    "Works as intended, I guess? @octocat",
    "False positive\nActually no, I take that back. Please fix.",
    "That isn't a bug because the lock is held",
    "It's by design, see the README.",
    "This is wrong",
)

OTHERS = (
    "",
    "I accept this suggestion.",
    "The linter says it's fine but I don't trust it.",
    "No need to shout :)",
    "No problem",
    "Good catch, will fix.",
    "Fixed in abc1234.",
    "Not fixed yet",
    "I'll take care of it",
    "Which input breaks it?",
    "Is this a false positive?",
    "I disagree with the linter, not with you",
    "this is a bug",
    "Thanks!",
    "\N{THUMBS UP SIGN}",
    "Das ist Absicht.",
    "Could you please fix the test, too",
    "@octocat how do I dismiss this?",
    "That won't fix it.",
    "> won't fix\n\nWhy not",
    "```\nby design\n```",
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *((text, "dismissal") for text in DISMISSALS),
        *((text, "objection") for text in OBJECTIONS),
        *((text, "unclear") for text in UNCLEAR),
        *((text, None) for text in OTHERS),
    ],
)
def test_only_fixed_first_words_of_a_reply_decide_about_a_finding(
    text: str, kind: str | None
) -> None:
    assert read_reply(text) == kind


def test_only_the_beginning_of_a_long_reply_is_read() -> None:
    assert read_reply("won't fix." + " x" * 1_900 + " Please fix.") == "unclear"
    assert read_reply("won't fix." + " x" * 2_000 + " Please fix.") == "dismissal"


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
        "words 1 by zoe": "zoe",
        "words 2 by bob": "bob",
    }


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
