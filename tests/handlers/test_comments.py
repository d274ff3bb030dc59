"""Conversations about questions in comments, and where they are answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.handlers.conversation import Home, Talk, person
from tests.handlers.events import ANSWER
from tests.handlers.world import HLS, finding, pull_request_analysis

ANSWERED = "> `zoe` asked: @\u200bhls why is that?\nRead the guide."


def test_each_question_has_its_own_comment_and_newcomers_get_one(home: Home) -> None:
    issue = Talk(home, home.fallback.number)
    home.says(ANSWER)
    assert issue.comment("How can I start?", by="zoe") == "done: commented"
    assert "\nThe kind: how to start\n" in home.question
    assert issue.comment("How do I start?", by="otto") == (
        "done: this conversation already has our reply to newcomers"
    )
    assert issue.comment("@hls why is that?", by="zoe") == "done: commented"
    assert "\nThe kind: a question\n" in home.question
    assert "\nThe comment, by zoe:\n@hls why is that?\n" in home.question
    assert issue.shown() == f"\n--\nRead the guide.\n--\n{ANSWERED}"
    for reply in ({"worth_saying": False}, {"answer": ""}):
        home.says(ANSWER.model_copy(update=reply))
        ended = issue.comment(f"@HLS[bot] and {reply}?", by="zoe")
        assert ended == "done: nothing worth saying, and no existing comment to update"


def test_question_on_a_pull_request_is_answered_there(home: Home) -> None:
    pull = home.open_pull_request()
    home.says(ANSWER)
    pull.comment("@hls why is that?", by="zoe")
    assert "\nThe thread: pull request 8, by mona\n" in home.question
    assert pull.shown() == f"\n--\n{ANSWERED}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "the comment was deleted meanwhile, or is not among the newest 30 comments"),
        ("Never mind.", "the comment was edited meanwhile and no longer asks HLS anything"),
    ],
    ids=["deleted", "edited"],
)
def test_a_deleted_or_edited_question_is_superseded(
    home: Home, body: str | None, reason: str
) -> None:
    def change() -> None:
        *others, asked = home.fallback.now.comments
        edited = () if body is None else (replace(asked, body=body),)
        now = replace(home.fallback.now, comments=(*others, *edited))
        home.state.change(lambda world: world.with_conversation(now))

    home.meanwhile = change
    assert home.fallback.comment("@hls why is that?") == f"superseded: {reason}"


def test_the_newest_earlier_comments_that_fit_are_read_and_no_later_ones(home: Home) -> None:
    issue = home.fallback
    otto = home.state.add_person("otto")
    for number in range(40):
        home.state.create_comment(issue.now, f"{number} {'x' * 3_900}", by=otto)
    home.meanwhile = lambda: home.state.create_comment(issue.now, "Later.", by=otto)
    home.says(ANSWER)
    issue.comment("@hls why is that?")
    before = [line.split()[0] for line in home.question.split("\n") if "xxx" in line]
    assert before == [str(number) for number in range(40 - len(before), 40)]
    assert 0 < len(before) < 40
    assert "Later." not in home.question


# Review threads


@pytest.fixture
def pull(home: Home) -> Talk:
    """A pull request in which HLS has opened a review thread."""
    home.says(pull_request_analysis(findings=[finding(title="Division", body="`n` may be 0.")]))
    pull = home.open_pull_request()
    pull.act("opened")
    home.says(ANSWER)
    return pull


def reply(pull: Talk, body: str = "@hls why is that?", *, thread: int | None = None) -> str:
    """Reply in a review thread, by default in that of HLS."""
    review = next(one for one in pull.now.reviews if one.author.login == HLS.login)
    first = review.comments[0]
    stored = {key: first[key] for key in ("path", "diff_hunk", "line", "side")}
    number = pull.home.state.world.next_id
    added: dict[str, Any] = {
        **stored, "id": number, "user": person("zoe"), "body": body,
        "pull_request_review_id": number + 500, "created_at": "2030-01-01T00:00:00Z",
        "in_reply_to_id": first["id"] if thread is None else thread,
    }  # fmt: skip
    return pull.home.send(
        "pull_request_review_comment", "created", "zoe",
        pull_request=pull.document, comment=added,
    )  # fmt: skip


def test_question_in_a_thread_of_hls_is_answered_there_with_finding_and_code(pull: Talk) -> None:
    assert reply(pull, "I will look at it.").startswith("ignored: ")
    assert reply(pull) == "done: replied in a review thread"
    assert pull.home.question.partition("\n\nThe question is about ")[2] == (
        "a finding of yours, on line 2 of area.py:\n"
        "Division\n"
        "`n` may be 0.\n"
        "\n"
        "Its lines in the pull request; the last one is meant:\n"
        "@@ -1,2 +1,2 @@\n"
        "R    1   def area(side):\n"
        "L    2 -     return side * 2\n"
        "R    2 +     return side ** 2\n"
        "\n"
        "Comment before, by zoe:\n"
        "I will look at it.\n"
        "\n"
        "The comment, by zoe:\n"
        "@hls why is that?\n"
        "\n"
        "That is all there is. Answer the comment, or leave it to a person."
    )
    answer = pull.now.reviews[-1].comments[0]
    assert answer["body"].startswith("Read the guide.\n")
    pull.home.says(ANSWER.model_copy(update={"worth_saying": False}))
    assert reply(pull, "@hls and then?") == "done: analysed; nothing to post"


def test_question_in_another_thread_is_ignored(pull: Talk) -> None:
    ended = reply(pull, thread=800)
    assert ended == "ignored: HLS did not open the review thread, and answers only in its own"
