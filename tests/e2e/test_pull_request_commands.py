"""Commands in comments, from the webhook of the stand-in GitHub to reactions and reviews
(SECURITY.md rules 17, 18).
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox import shapes
from hls_handler.sandbox.objects import Conversation
from tests.e2e.conftest import MakeService
from tests.e2e.service import SECRET, Service
from tests.github_fake.server import Sandbox
from tests.sandbox.conftest import ask

REPOSITORY = "Codertocat/Hello-World"
PULL = recorded.load("demo/feature")
NUMBER: int = PULL.payload["pull_request"]["number"]


def start(make_service: MakeService, sandbox: Sandbox, more: str = "") -> Service:
    """Start a service that gets the stand-in's webhooks about the pull request of `PULL`."""
    running = make_service(more=more).start()
    sandbox.state.seed(PULL.event, PULL.payload)
    hook = {
        "owner": REPOSITORY,
        "url": f"http://127.0.0.1:{running.port}/webhook",
        "secret": SECRET,
    }
    assert ask(sandbox.page_url, "POST", "/_sandbox/hooks", hook).status == 201
    return running


def comment(
    sandbox: Sandbox, service: Service, body: str, *, by: str = "mona", permission: str = "write"
) -> None:
    """Comment as a person, and wait until HLS has processed the webhook and what follows from
    it.
    """
    sent = {
        "repository": REPOSITORY,
        "number": NUMBER,
        "author": by,
        "body": body,
        "permission": permission,
    }
    (attempt,) = ask(sandbox.page_url, "POST", "/_sandbox/comments", sent).document
    assert attempt["status_code"] in (200, 202)
    service.until_idle()


def pull_request(sandbox: Sandbox) -> Conversation:
    found = sandbox.state.conversation(REPOSITORY, NUMBER)
    assert found is not None
    return found


def reactions(sandbox: Sandbox) -> list[tuple[str, str]]:
    """The commands and HLS's reactions to them."""
    pull = pull_request(sandbox)
    return [
        (one.body, made.content)
        for one in pull.comments
        for made in pull.reactions
        if made.comment == one.id
    ]


def reactions_in_threads(sandbox: Sandbox) -> list[tuple[int, str]]:
    """The ids of review comments, and HLS's reactions to them."""
    pull = pull_request(sandbox)
    ids = {comment["id"] for _, comment in pull.review_comments()}
    return [(made.comment, made.content) for made in pull.reactions if made.comment in ids]


def calls(sandbox: Sandbox) -> int:
    return sum(request.path.endswith("/messages") for request in sandbox.requests.all("claude"))


def payload(
    body: str, *, login: str = "mona", kind: str = "User", action: str = "created"
) -> dict[str, Any]:
    """The payload of a comment, whose `author_association` claims more than the permission."""
    author = {"login": login, "id": 4711, "type": kind}
    found = PULL.payload["pull_request"]
    return {
        "action": action,
        "repository": PULL.payload["repository"],
        "sender": author,
        "issue": {
            "number": NUMBER,
            "title": found["title"],
            "user": found["user"],
            "pull_request": {"url": "x"},
        },
        "comment": {"id": 80, "body": body, "user": author, "author_association": "OWNER"},
        "changes": {"body": {"from": "/review"}} if action == "edited" else {},
    }


def test_red_team_nothing_is_written_or_asked_for_what_is_no_command_of_a_maintainer(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    service = start(make_service, sandbox)
    sandbox.state.set_permission(REPOSITORY, "mona", "write")
    sandbox.state.set_permission(REPOSITORY, "rob", "read")
    attacks = [
        payload("> /review full\n\nI would not do that"),
        payload("```\n/review full\n```"),
        payload("<!--\n/review full\n-->"),
        payload("Hello\n/review full"),
        payload("/review full", action="edited"),
        payload("/review full", login="rob"),
        payload("/review full", login="nobody"),
        payload("/review full", login="ci[bot]", kind="Bot"),
        payload("/review full", login="ci-machine", kind="Bot"),
        payload("\n    /review full"),
        payload("\n> /review full"),
        payload("@rob /review full"),
        payload("@rob /deploy"),
        payload("/lgtm"),
        payload("\u200b/review full"),
        payload("/re\u200bview full"),
        payload("/review full\u2060"),
        payload("/review full" + "".join(chr(0xE0000 + ord(character)) for character in " please")),
        payload("/review full\n\n<!-- hls:pull_requests -->", login="hls-bot"),
    ]
    sandbox.requests.clear()
    for number, attack in enumerate(attacks):
        answer = service.deliver(
            "issue_comment", json.dumps(attack).encode(), guid=f"attack-{number}"
        )
        assert answer.status in (200, 202)
    service.until_idle()
    assert [request.path for request in sandbox.requests.all() if request.writes] == []
    assert calls(sandbox) == 0
    with closing(service.open_store()) as store:
        rows = [store.deliveries.find(f"attack-{number}") for number in range(len(attacks))]
    assert [row.state for row in rows if row is not None] == ["ignored"] * len(attacks)


@dataclass(frozen=True)
class ReviewedPull:
    """A pull request with one finding that fails the check, and what a person does about it, at a
    running service.
    """

    service: Service
    sandbox: Sandbox
    asked: int  # Claude's calls of the review
    thread: int  # id of HLS's comment about the finding

    def check(self) -> str:
        """Return the state of the check. Asserts that nothing after the review asked Claude."""
        assert calls(self.sandbox) == self.asked
        statuses = self.sandbox.state.world.statuses_on(
            REPOSITORY, pull_request(self.sandbox).head_sha
        )
        return str(statuses[-1]["state"])

    def reply(self, body: str, *, by: str = "mona") -> str:
        return self._act("comments", {"thread": self.thread, "author": by, "body": body})

    def resolve(self, by: str | None) -> str:
        return self._act("threads", {"comment": self.thread, "resolved_by": by})

    def replies(self) -> list[str]:
        """Return HLS's replies in the thread of the finding, without their markers."""
        comments = pull_request(self.sandbox).review_comments()
        bodies = [one["body"] for _, one in comments if one.get("in_reply_to_id") == self.thread]
        marked = [body.partition("<!-- hls:reply ") for body in bodies]
        return [text.strip() for text, marker, _ in marked if marker]

    def delete(self, by: str) -> str:
        """Send the webhook that GitHub sends when a person deletes HLS's comment."""
        pull = pull_request(self.sandbox)
        comments = pull.review_comments()
        comment = next(
            shapes.review_comment(pull, review, one)
            for review, one in comments
            if one["id"] == self.thread
        )
        deleted = {
            "action": "deleted",
            "comment": comment,
            "pull_request": PULL.payload["pull_request"],
            "repository": PULL.payload["repository"],
            "sender": {"login": by, "id": 4711, "type": "User"},
        }
        body = json.dumps(deleted).encode()
        answer = self.service.deliver("pull_request_review_comment", body, guid=f"deleted-{by}")
        assert answer.status in (200, 202)
        self.service.until_idle()
        return self.check()

    def command(self, body: str) -> str:
        return self._act("comments", {"author": "mona", "body": body})

    def _act(self, what: str, about: dict[str, Any]) -> str:
        sent = {"repository": REPOSITORY, "number": NUMBER, **about}
        answer = ask(self.sandbox.page_url, "POST", f"/_sandbox/{what}", sent)
        assert {attempt["status_code"] for attempt in answer.document} <= {200, 202}
        self.service.until_idle()
        return self.check()


@pytest.fixture
def reviewed(make_service: MakeService, sandbox: Sandbox) -> ReviewedPull:
    """A reviewed pull request of which one file is changed. mona may write."""
    running = start(make_service, sandbox, more="review: {fail_on: high}")
    files = [file for file in pull_request(sandbox).files if file["filename"] == "web/cart.js"]
    one_file = {**PULL.payload["pull_request"], "changed_files": 1}
    sandbox.state.seed(PULL.event, {**PULL.payload, "pull_request": one_file}, files=files)
    comment(sandbox, running, "/review")
    found = [
        one
        for _, one in pull_request(sandbox).review_comments()
        if "(finding 1, high, security" in one["body"]
    ]
    return ReviewedPull(running, sandbox, calls(sandbox), found[0]["id"])


def test_only_a_reply_that_may_be_a_dismissal_gets_a_hint_and_a_thread_one(
    reviewed: ReviewedPull,
) -> None:
    for reply in ("Thanks, I'll fix it.", "I disagree", "By design, I guess"):
        assert reviewed.reply(reply) == "failure"
    hint = (
        "HLS did not read this as a dismissal, so finding 1 stays as it is. If it is not to be"
        ' fixed, reply `/dismiss`, or begin a reply with "won\'t fix: ...".'
    )
    assert reviewed.replies() == [hint]


def test_writer_who_deletes_the_comment_of_a_finding_turns_the_check_green(
    reviewed: ReviewedPull,
) -> None:
    assert reviewed.delete("stranger") == "failure"
    assert reviewed.delete("mona") == "success"


def test_dismissal_of_a_person_with_write_permission_changes_the_check_at_once(
    reviewed: ReviewedPull,
) -> None:
    assert reviewed.check() == "failure"
    assert reviewed.reply("Not an issue, the caller checks it.", by="stranger") == "failure"
    assert reviewed.reply("Not an issue, the caller checks it.") == "success"
    reviewed.sandbox.state.set_permission(REPOSITORY, "anna", "write")
    assert reviewed.reply("No problem", by="anna") == "success"
    assert reviewed.reply("Please fix this.", by="stranger") == "success"
    assert reviewed.reply("Please fix this.", by="anna") == "failure"
    assert reviewed.replies() == ["Finding 1 is open again: anna took its dismissal back."]
    assert reviewed.resolve("stranger") == "failure"
    assert reviewed.resolve(None) == "failure"
    assert reviewed.resolve("mona") == "success"
    assert reviewed.resolve(None) == "failure"
    assert reviewed.command("/dismiss 1") == "success"
    contents = [content for _, content in reactions_in_threads(reviewed.sandbox)]
    assert contents == ["+1", "+1"]  # to the dismissal and to the objection
    assert reactions(reviewed.sandbox)[-1] == ("/dismiss 1", "+1")
