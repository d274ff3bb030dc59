"""A new issue that repeats an older one, from both webhooks to the comment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.claude import Asked
from hls_handler.sandbox.objects import Conversation
from tests.e2e.conftest import MakeService, violations
from tests.e2e.service import Service
from tests.github_fake.server import Sandbox
from tests.handlers.world import issue_analysis

REPOSITORY = "Codertocat/Hello-World"
OLDER, NEW = 5, 40
QUOTE = "the cart is empty after login"
QUOTE_THERE = "Sign in, and the cart is empty."
REPLY = issue_analysis(worth_saying=False, component="none").model_dump(mode="json")


class ComparingClaude:
    """Takes every older issue that it is shown for the same, and quotes it with `quote_there`."""

    def __init__(self) -> None:
        self.quote_there, self.tasks = QUOTE_THERE, list[str]()

    def __call__(self, asked: Asked) -> dict[str, Any]:
        self.tasks.append(asked.user)
        if f"Issue {OLDER}: " not in asked.user:
            return REPLY
        return REPLY | {
            "same_as": {"number": OLDER, "quote": QUOTE, "quote_there": self.quote_there}
        }


@pytest.fixture
def claude() -> ComparingClaude:
    return ComparingClaude()


@pytest.fixture
def sandbox(claude: ComparingClaude) -> Iterator[Sandbox]:
    with Sandbox(answer=claude) as running:
        yield running
    assert violations(request.document() for request in running.requests.all()) == []


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service(more="similar: {enabled: true}").start()


def open_issue(
    service: Service, sandbox: Sandbox, number: int, title: str, body: str
) -> Conversation:
    """Open an issue, and return it as it is after HLS has processed it."""
    payload: dict[str, Any] = dict(recorded.load("demo/bug").payload)
    url = f"https://github.com/{REPOSITORY}/issues/{number}"
    changes = {
        "id": number,
        "number": number,
        "title": title,
        "body": body,
        "html_url": url,
        "labels": [],
    }
    payload["issue"] = {**payload["issue"], **changes}
    sandbox.state.seed("issues", payload)
    service.deliver("issues", json.dumps(payload).encode())
    service.until_idle()
    return find(sandbox, number)


def find(sandbox: Sandbox, number: int) -> Conversation:
    found = sandbox.state.conversation(REPOSITORY, number)
    assert found is not None
    return found


def test_comment_names_the_older_issue_and_nothing_else_happens(
    service: Service, sandbox: Sandbox, claude: ComparingClaude
) -> None:
    older = open_issue(service, sandbox, OLDER, "Lost cart", QUOTE_THERE)
    new = open_issue(service, sandbox, NEW, "[Bug]: Cart", f"In 2.4 {QUOTE}.")
    assert older.comments == ()
    (comment,) = new.comments
    link = f"[#{OLDER}]({sandbox.page_url}{REPOSITORY}/issues/{OLDER})"
    assert comment.body.startswith(
        f"This may be about the same as {link}: Lost cart\n\n> `{QUOTE_THERE}`\n"
    )
    assert set(new.labels) == set(older.labels) == {"bug", "priority-high", "difficulty-easy"}
    assert new.state == "open"
    assert find(sandbox, OLDER) == older
    assert QUOTE_THERE not in claude.tasks[0].partition("Older open issues")[2]
    assert QUOTE_THERE in claude.tasks[1].partition("Older open issues")[2]
