"""Sections of the documentation in prompts, and answers that quote them."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.analysis import CommentReply, ReplyFields
from hls_handler.handlers.handler import (
    DocumentSection,
    QuotedSection,
    describe_sections,
    keep_proved_answers,
    list_quoted,
    view_sections,
)
from hls_handler.handlers.job import Replies
from hls_handler.handlers.reader import StoredSection
from tests.handlers.world import (
    analysis,
    finding,
    issue_analysis,
    issue_response,
    pull_request_analysis,
)

BLOB = "https://github.com/o/r/blob/c0ffee"
PROXY = DocumentSection(
    "docs/proxy.md",
    "Setup > Proxy",
    "## Proxy\n\nThe service runs behind nginx\nand listens on *port 8000*.",
    f"{BLOB}/docs/proxy.md?plain=1#L3-L6",
)
START = DocumentSection("start.txt", "", "Run `make run`.", f"{BLOB}/start.txt#L1")
PROVED = {"number": 1, "quote": "listens on *port 8000*"}
INVENTED = {"number": 1, "quote": "listens on *port 9000*"}


def comment_reply(**known: Any) -> CommentReply:
    return CommentReply.model_validate(
        {"worth_saying": True, "sources": [], "answer": "42", "certain": True, **known}
    )


def keep(reply: ReplyFields) -> Any:
    asked = Replies(analysis(reply).replies, ("issues/analyze",), (True,))
    return keep_proved_answers(asked, (PROXY, START)).all[0].fields


def test_sections_link_to_their_lines_at_the_commit() -> None:
    found = (
        StoredSection("docs/a b.md", "Setup", 3, 6, "Text.", "c0ffee"),
        StoredSection("one.RST", "", 1, 1, "Text.", "c0ffee"),
        StoredSection("one.txt", "", 2, 4, "Text.", "c0ffee"),
        StoredSection("one.txt", "", 2, 4, "Text.", ""),
    )
    shown = view_sections(found, "https://github.com/o/r/pull/7")
    assert [one.url for one in shown] == [
        f"{BLOB}/docs/a%20b.md?plain=1#L3-L6",
        f"{BLOB}/one.RST?plain=1#L1",
        f"{BLOB}/one.txt#L2-L4",
        "",
    ]
    assert (shown[0].path, shown[0].title, shown[0].text) == ("docs/a b.md", "Setup", "Text.")


def test_sections_are_described_by_file_for_hls_why() -> None:
    assert (
        describe_sections((PROXY, START, PROXY))
        == "3 sections of docs/proxy.md and start.txt (about 45 tokens)"
    )
    assert describe_sections(()) == ""


@pytest.mark.parametrize(
    "quote",
    [
        "and listens on *port 8000*.",
        "behind nginx and   listens\n",
        "\tbehind nginx\r\n and listens",
        "behind\u200b nginx <!-- hidden -->",
    ],
)
def test_answer_whose_quote_is_in_its_section_stays_whatever_the_white_space(quote: str) -> None:
    reply = comment_reply(sources=[{"number": 1, "quote": quote}])
    assert keep(reply) == reply
    assert list_quoted(reply, (PROXY, START)) == (
        QuotedSection(quote, PROXY.path, PROXY.title, PROXY.url),
    )


@pytest.mark.parametrize(
    ("make", "answer", "source"),
    [
        (comment_reply, "answer", INVENTED),
        (comment_reply, "answer", {"number": 1, "quote": "Listens on *port 8000*"}),
        (comment_reply, "answer", {"number": 2, "quote": PROVED["quote"]}),
        (comment_reply, "answer", {"number": 0, "quote": START.text}),
        (comment_reply, "answer", {"number": 3, "quote": START.text}),
        (comment_reply, "answer", {"number": 1, "quote": ""}),
        (comment_reply, "answer", {"number": 1, "quote": " \n<!-- behind nginx -->"}),
        (issue_response, "answer", INVENTED),
        (issue_analysis, "recommended_response", INVENTED),
    ],
)
def test_answer_without_a_proved_quote_is_withheld(
    make: Any, answer: str, source: dict[str, Any]
) -> None:
    reply = make(sources=[source], **{answer: "Use port 9000."})
    assert list_quoted(reply, (PROXY, START)) == ()
    assert keep(reply) == reply.model_copy(
        update={"sources": [], answer: "", "worth_saying": False}
    )


def test_answer_stays_with_the_quotes_that_are_proved() -> None:
    reply = comment_reply(sources=[INVENTED, PROVED, {"number": 2, "quote": "Run `make run`."}])
    kept = keep(reply)
    assert ([one.number for one in kept.sources], kept.answer, kept.worth_saying) == (
        [1, 2],
        "42",
        True,
    )
    assert [one.path for one in list_quoted(reply, (PROXY, START))] == [
        "docs/proxy.md",
        "start.txt",
    ]


@pytest.mark.parametrize(("missing", "worth_saying"), [(["The version"], True), ([], False)])
def test_checklist_is_posted_without_the_answer(missing: list[str], worth_saying: bool) -> None:
    kept = keep(
        issue_analysis(sources=[INVENTED], recommended_response="Use port 9000.", missing=missing)
    )
    assert (kept.recommended_response, kept.missing, kept.worth_saying) == (
        "",
        missing,
        worth_saying,
    )
    silent = issue_analysis(sources=[INVENTED], missing=["The version"], worth_saying=False)
    assert not keep(silent).worth_saying


@pytest.mark.parametrize(
    "reply",
    [
        comment_reply(),
        issue_analysis(recommended_response="42"),
        pull_request_analysis(findings=[finding()]),
    ],
)
def test_reply_that_rests_on_no_section_is_not_changed(reply: ReplyFields) -> None:
    assert keep(reply) == reply
    assert list_quoted(reply, (PROXY, START)) == ()
