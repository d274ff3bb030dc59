"""Conversations about reviews: the checklist of each reviewer, and the status label."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.analysis import ReviewRequest
from tests.handlers.conversation import Home, person
from tests.handlers.world import PATCH, request, review_analysis

BLOB = "https://github.com/octo/hello/blob"
REMOVED = "@@ -1,2 +1,1 @@\n def area(side):\n-    return side * 2"


def line(body: str = "This must be tested.", **known: Any) -> dict[str, Any]:
    """Return a comment on a line of a review."""
    place = {"path": "area.py", "side": "RIGHT", "line": 2, "diff_hunk": PATCH}
    return {**place, "body": body, **known}


def review_of(number: int, by: str, state: str) -> dict[str, Any]:
    return {
        "id": number, "user": person(by), "state": state, "body": "", "commit_id": "c" * 40,
        "submitted_at": f"2026-11-19T09:00:{number % 60:02}Z",
    }  # fmt: skip


def test_checklist_locates_each_request_by_its_quote_and_begins_with_the_blocking_ones(
    home: Home,
) -> None:
    pull = home.open_pull_request(base={"ref": "main", "sha": "ba5e"})
    home.says(
        review_analysis(
            request("Nit: a blank line.", comment=1, blocking=False, todo="Add a line."),
            request("square the side", todo="Square it."),
            request("Test it.", comment=1, todo="Test it."),  # the quote is in the other comment
            request("Why?", comment=3, todo="Explain it."),
            request("Rewrite it in Rust."),
            request("  "),
        )
    )
    pull.review(
        "Please square the side.",
        line("Nit: a\n  blank line.", line=None),
        line("Test it.", path="b.py", line=7),
        line("Why?", path="a b.md", side=None, line=None, diff_hunk=REMOVED),
        line("Rename it.", line=None, diff_hunk=""),
    )
    assert home.question.partition("\n\nComment 1, on ")[2] == (
        "line 2 of area.py\n"
        "@@ -1,2 +1,2 @@\n"
        "R    1   def area(side):\n"
        "L    2 -     return side * 2\n"
        "R    2 +     return side ** 2\n"
        "Nit: a\n"
        "  blank line.\n"
        "\n"
        "Comment 2, on line 7 of b.py\n"
        "@@ -1,2 +1,2 @@\n"
        "R    1   def area(side):\n"
        "L    2 -     return side * 2\n"
        "R    2 +     return side ** 2\n"
        "Test it.\n"
        "\n"
        "Comment 3, on line 2 of a b.md\n"
        "@@ -1,2 +1,1 @@\n"
        "R    1   def area(side):\n"
        "L    2 -     return side * 2\n"
        "Why?\n"
        "\n"
        "Comment 4, on area.py\n"
        "Rename it.\n"
        "\n"
        "That is all there is. Make the checklist."
    )
    assert pull.shown() == (
        "status/needs-changes\n"
        "--\n"
        "**Review by `zoe`**, of commit abcdef0123\n"
        "Square it.\n"
        "- [ ] **Needed:** Square it.\n"
        "  > square the side\n"
        f"- [ ] **Needed:** Test it. ([`b.py`, line 7]({BLOB}/abcdef0123456789/b.py#L7))\n"
        "  > Test it.\n"
        f"- [ ] **Needed:** Explain it. ([`a b.md`, removed line 2]({BLOB}/ba5e/a%20b.md?plain=1"
        "#L2))\n"
        "  > Why?\n"
        f"- [ ] Add a line. ([`area.py`, line 2]({BLOB}/abcdef0123456789/area.py#L2))\n"
        "  > Nit: a blank line.\n"
        "Left out: 2 requests whose words are not in the review."
    )


def test_each_reviewer_has_a_section(home: Home) -> None:
    pull = home.open_pull_request()
    home.says(review_analysis(request("square the side")))
    pull.review()
    pull.review(id=502, by="otto")
    assert pull.shown().count("**Review by ") == 2
    home.says(review_analysis())
    assert pull.review("Fine.", id=503, state="approved") == (
        "done: the labels are as they should be; edited our comment"
    )
    assert pull.shown().startswith("status/needs-changes\n--\n**Review by `otto`**")


def test_rule_10_hunk_is_redacted_as_code_before_it_is_cut(home: Home) -> None:
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    key = [begin, *["MIIEpAIBAAKCAQEA" * 4] * 9, end, 'password = "hunter2"']
    hunk = f"@@ -1,0 +1,{len(key)} @@\n" + "\n".join(f"+{one}" for one in key)
    home.says(review_analysis())
    home.open_pull_request().review("Look.", line(diff_hunk=hunk, line=None))
    assert "MIIEpAI" not in home.question
    assert "Comment 1, on line 12 of area.py\n" in home.question
    shown = '\nR   11 + [redacted: private-key]\nR   12 + password = "hunter2"\nThis must'
    assert shown in home.question


def test_rule_10_lines_like_a_key_at_the_begin_of_a_hunk_are_redacted(home: Home) -> None:
    data = ["MIIEpAIBAAKCAQEA" * 4] * 3
    hunk = "@@ -7,3 +7,4 @@\n" + "\n".join(f" {one}" for one in data) + "\n+COUNT = 1"
    home.says(review_analysis())
    home.open_pull_request().review("Look.", line(diff_hunk=hunk, line=None))
    assert "MIIEpAI" not in home.question
    assert "\nR    9   [redacted: private-key]\nR   10 + COUNT = 1\n" in home.question


def test_comments_beyond_the_budget_are_counted_and_nothing_is_cleared(home: Home) -> None:
    pull = home.open_pull_request()
    home.says(review_analysis(request("square the side")))
    pull.review()
    home.says(review_analysis())
    ended = pull.review("Fine.", *[line("x" * 4_000)] * 40, id=502, state="approved")
    assert ended == "done: analysed; nothing to post"
    assert "\n  Not shown to Claude: 16 of 40 comments on lines were not shown" in home.why
    home.says(review_analysis(request("not there")))
    assert pull.review("Fine.", id=503, state="approved") == "done: analysed; nothing to post"
    assert pull.shown().startswith("status/needs-changes\n")


@pytest.mark.parametrize(
    ("later", "ended"),
    [
        ((501, "zoe", "dismissed"), "superseded: the review was dismissed meanwhile"),
        ((502, "zoe", "approved"), "superseded: the same person has reviewed again since"),
        ((502, "zoe", "commented"), "done: added status/needs-changes; commented"),
        ((502, "otto", "approved"), "done: added status/needs-changes; commented"),
    ],
    ids=["dismissed", "verdict", "a comment", "another person"],
)
def test_review_is_superseded_by_a_newer_verdict_of_the_same_person(
    home: Home, later: tuple[int, str, str], ended: str
) -> None:
    pull = home.open_pull_request()
    home.says(review_analysis(request("square the side")))
    home.meanwhile = lambda: pull.add_review(review_of(*later))
    assert pull.review() == ended


@pytest.mark.parametrize(
    ("body", "replies", "is_asked"),
    [("", (True, True), False), ("", (True, False), True), ("And rename it.", (True,), True)],
    ids=["replies", "one more", "with a text"],
)
def test_claude_is_not_asked_about_replies_in_review_threads(
    home: Home, body: str, replies: tuple[bool, ...], is_asked: bool
) -> None:
    home.says(review_analysis())
    comments = [line("Better.", in_reply_to_id=7 if is_reply else None) for is_reply in replies]
    ended = home.open_pull_request().review(body, *comments, state="commented")
    assert bool(home.questions) is is_asked
    reason = "the review only replies in existing review threads, so Claude was not asked"
    assert is_asked or ended == f"done: {reason}"


def test_claude_is_not_asked_about_a_review_by_the_author_of_the_pull_request(home: Home) -> None:
    ended = home.open_pull_request().review("I will square the side.", by="mona", state="commented")
    reason = "the review is by the author of the pull request, so Claude was not asked"
    assert (ended, home.questions) == (f"done: {reason}", [])


SQUARE, OPTIONAL = request("square the side"), request("square the side", blocking=False)


@pytest.mark.parametrize(
    ("state", "requests", "others", "label"),
    [
        ("commented", [SQUARE], [], "status/needs-changes"),
        ("commented", [OPTIONAL], [], "status/needs-review"),
        ("approved", [], [], ""),
        ("approved", [], [(1, "otto", "changes_requested")], "status/needs-changes"),
        ("approved", [], [(1, "zoe", "changes_requested")], ""),
        ("approved", [], [(1, "otto", "changes_requested"), (2, "otto", "approved")], ""),
        ("approved", [], [(1, "otto", "dismissed")], ""),
        ("approved", [], [(1, "copilot[bot]", "changes_requested")], ""),
    ],
    ids=[
        "blocking request", "other request", "approved", "another objects",
        "changed their verdict", "another approved later", "dismissed", "a bot objects",
    ],
)  # fmt: skip
def test_status_label(
    home: Home,
    state: str,
    requests: list[ReviewRequest],
    others: list[tuple[int, str, str]],
    label: str,
) -> None:
    pull = home.open_pull_request()
    for one in others:
        pull.add_review(review_of(*one))
    home.says(review_analysis(*requests))
    pull.review(state=state)
    assert pull.shown().partition("\n")[0] == label


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
def test_quotes_are_found_in_the_text_as_the_prompt_showed_it(
    home: Home, written: str, quoted: str
) -> None:
    pull = home.open_pull_request()
    home.says(review_analysis(request(quoted, todo="This.")))
    pull.review(written)
    assert "- [ ] **Needed:** This.\n" in pull.shown()
