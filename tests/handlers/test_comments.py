"""Conversations about questions and commands in comments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.handlers.conftest import OpenHome
from tests.handlers.conversation import REPOSITORY, Home, Talk, person
from tests.handlers.events import ANSWER
from tests.handlers.world import HLS, finding

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
    pull = home.review(finding(title="Division", body="`n` may be 0."))
    home.says(ANSWER)
    return pull


def reply(
    pull: Talk, body: str = "@hls why is that?", *, by: str = "zoe", thread: int | None = None
) -> str:
    """Reply in a review thread, by default in that of HLS."""
    review = next(one for one in pull.now.reviews if one.author.login == HLS.login)
    first = review.comments[0]
    stored = {key: first[key] for key in ("path", "diff_hunk", "line", "side")}
    number = pull.home.state.world.next_id
    added: dict[str, Any] = {
        **stored, "id": number, "user": person(by), "body": body,
        "pull_request_review_id": number + 500, "created_at": "2030-01-01T00:00:00Z",
        "in_reply_to_id": first["id"] if thread is None else thread,
    }  # fmt: skip
    return pull.home.send(
        "pull_request_review_comment", "created", by,
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


# Commands


def test_reply_of_a_person_with_write_permission_changes_the_check_at_once(
    opened: OpenHome,
) -> None:
    home = opened(review={"fail_on": "high", "verify": False})
    pull = home.review(finding())
    assert pull.check.startswith("failure: ")
    for login, body, conclusion in (
        ("otto", "Not an issue, the caller checks it.", "failure"),
        ("zoe", "Not an issue, the caller checks it.", "success"),
        ("otto", "Please fix this.", "success"),
        ("mona", "Please fix this.", "failure"),
    ):
        home.state.set_permission(REPOSITORY, login, "read" if login == "otto" else "write")
        if not reply(pull, body, by=login).startswith("ignored: "):
            home.process()
        assert pull.check.partition(":")[0] == conclusion
    assert len(home.questions) == 1


@pytest.mark.parametrize(
    ("body", "user", "action"),
    [
        ("> /review full\n\nI would not do that", person("mona"), "created"),
        ("```\n/review full\n```", person("mona"), "created"),
        ("<!--\n/review full\n-->", person("mona"), "created"),
        ("Hello\n/review full", person("mona"), "created"),
        ("/review full", person("mona"), "edited"),
        ("/review full", person("otto"), "created"),
        ("/review full", person("nobody"), "created"),
        ("/review full", person("ci[bot]"), "created"),
        ("/review full", {**person("ci-machine"), "type": "Bot"}, "created"),
        ("\n    /review full", person("mona"), "created"),
        ("\n> /review full", person("mona"), "created"),
        ("@otto /review full", person("mona"), "created"),
        ("@otto /deploy", person("mona"), "created"),
        ("/lgtm", person("mona"), "created"),
        ("\u200b/review full", person("mona"), "created"),
        ("/re\u200bview full", person("mona"), "created"),
        ("/review full\u2060", person("mona"), "created"),
        ("/review full\U000e0070\U000e006c\U000e0073", person("mona"), "created"),
        ("/review full\n\n<!-- hls:pull_requests -->", person("hls[bot]"), "created"),
    ],
)
def test_red_team_nothing_is_written_or_asked_for_what_is_no_command_of_a_maintainer(
    home: Home, body: str, user: dict[str, Any], action: str
) -> None:
    """SECURITY.md rules 17 and 18. `author_association` claims more than the permission."""
    pull = home.open_pull_request()
    home.state.set_permission(REPOSITORY, "mona", "write")
    home.state.set_permission(REPOSITORY, "otto", "read")
    comment = {"id": 80, "body": body, "user": user, "author_association": "OWNER"}
    objects: dict[str, Any] = {"issue": pull.document, "comment": comment, "sender": user}
    ended = home.send("issue_comment", action, changes={"body": {"from": "/review"}}, **objects)
    assert ended.startswith("ignored: ")
    assert [call for call in home.client.calls if not call.startswith("GET ")] == []
    assert home.questions == []
