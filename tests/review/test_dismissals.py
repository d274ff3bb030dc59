"""Replies that dismiss a finding or take that back, and the dismissals of a thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hls_handler.review.dismissals import PHRASES, find_dismissals, is_dismissal, is_promise
from hls_handler.review.record import ReviewThread, ThreadReply


@pytest.mark.parametrize(
    "text",
    [
        "Won't fix.",
        "This is fine.",
        "This isn't an issue: `parse` rejects it before (`value?.length`).",
        "No, by design",
        "It\u2019s a false positive",
        "@hls out of scope for this PR",
        "@hls[bot] out of scope for this PR",
        "> You log a secret.\n\nNot a bug, it is a test key.",
        "/dismiss",
        "/Dismiss \r\nbecause the tests cover it",
        "Won't fix, see https://example.org/why?id=3",
        "Not an issue. Who would call it with None?",
    ],
)
def test_reply_that_dismisses_a_finding(text: str) -> None:
    assert is_dismissal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hm, is this intentional?",
        "Intentional or not, I'll fix it",
        "That was not intentional, I will change it",
        "No false positive, well spotted",
        "> won't fix\n\nWhy not",
        "```\nby design\n```",
        "/dismiss 3",
        "/dismissed",
        "Please write\n/dismiss",
        "/dismiss\u200b",
    ],
)
def test_reply_that_does_not_dismiss_a_finding(text: str) -> None:
    assert not is_dismissal(text)


@pytest.mark.parametrize(
    ("text", "is_promised"),
    [
        ("You are right, I will fix it", True),
        ("Won't fix", False),
        ("> I will fix it\n\nWhen", False),
    ],
)
def test_reply_that_takes_a_dismissal_back(text: str, is_promised: bool) -> None:
    assert is_promise(text) is is_promised


def test_phrases_are_documented() -> None:
    shown = Path("docs/comments.md").read_text(encoding="utf-8")
    assert ", ".join(PHRASES) in shown


def thread(*replies: tuple[str, str], **known: Any) -> ReviewThread:
    plain = {"resolved_by": None, "own_replies": (), "thumbs_up": (), "thumbs_down": ()}
    said = tuple(ThreadReply(author, body) for author, body in replies)
    return ReviewThread(
        comment_id=5, key="k", replies=said, **{**plain, "is_resolved": "resolved_by" in known, **known}
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
    said = (("mona", "Won't fix."), ("zoe", "By design."), ("mona", "OK, I will fix it"), ("zoe", "will you"))
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
