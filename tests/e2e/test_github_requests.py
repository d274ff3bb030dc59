"""Requests to GitHub for each event. The table in docs/cost.md has the same numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hls_handler.prompting import recorded
from tests.e2e.conftest import MakeService
from tests.github_fake.server import Sandbox

Deliver = Callable[..., list[str]]

REPOSITORY = "/repos/Codertocat/Hello-World"
TIMES = re.compile(rb'"updated_at": ?"[^"]*"')
CREATE_LABEL = f"POST {REPOSITORY}/labels"


@pytest.fixture
def deliver(make_service: MakeService, sandbox: Sandbox) -> Deliver:
    """Return a function that delivers an event and returns the requests to GitHub, without the
    creation of labels.
    """
    service = make_service(limits="concurrency: 1").start()

    def requests(
        name: str, *, recent: bool = True, change: Callable[[bytes], bytes] = bytes
    ) -> list[str]:
        payload = recorded.load(name)
        body = change(recorded.unique(payload.body))
        if recent:
            body = TIMES.sub(
                f'"updated_at":"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"'.encode(), body
            )
        sandbox.state.seed(payload.event, json.loads(body))
        before = len(sandbox.requests.all("github"))
        assert service.deliver(payload.event, body).status == 202
        service.until_idle()
        sent = [f"{one.method} {one.path}" for one in sandbox.requests.all("github")[before:]]
        return [one for one in sent if one != CREATE_LABEL]

    return requests


def documented() -> list[tuple[str, int, int]]:
    """Return the event, the requests and the writes of each row of the table in docs/cost.md."""
    section = Path("docs/cost.md").read_text(encoding="utf-8").split("## Requests to GitHub\n")[1]
    rows = re.findall(r"^\| ([a-z ]+)[:,][^|]*\| ([0-9]+) \| ([0-9]+) \|", section, re.MULTILINE)
    return [(event, int(requests), int(writes)) for event, requests, writes in rows]


def counted(event: str, requests: list[str]) -> tuple[str, int, int]:
    return (
        event,
        len(requests),
        sum(not request.startswith(("GET ", "POST /graphql")) for request in requests),
    )


def test_an_issue_takes_three_requests_and_four_if_its_payload_is_old(deliver: Deliver) -> None:
    def edited(body: bytes) -> bytes:
        payload = json.loads(body) | {"action": "edited", "changes": {"title": {"from": "A title"}}}
        return json.dumps(payload).encode()

    def second_issue(body: bytes) -> bytes:
        return body.replace(b'"number":11,', b'"number":111,').replace(
            b"/issues/11", b"/issues/111"
        )

    deliver("demo/bug")  # the first one of the repository reads its settings and lists its labels
    writes = [f"POST {REPOSITORY}/issues/111/labels", f"POST {REPOSITORY}/issues/111/comments"]
    opened = deliver("demo/bug", change=second_issue)
    assert opened == [f"GET {REPOSITORY}/issues/111", *writes]
    # an edit that changes nothing: the state before writing is read, and then there is nothing to
    # write
    same = deliver("demo/bug", change=lambda body: edited(second_issue(body)))
    assert same == [f"GET {REPOSITORY}/issues/111"]
    assert documented()[:2] == [counted("issue opened", opened), counted("issue edited", same)]
    assert deliver("demo/bug", change=edited, recent=False) == [f"GET {REPOSITORY}/issues/11"] * 2


def test_requests_of_a_pull_request_its_push_review_and_failed_workflow(deliver: Deliver) -> None:
    def without_commits(requests: list[str]) -> list[str]:
        return [re.sub(r"/statuses/[0-9a-f]{40}$", "/statuses/", request) for request in requests]

    def without_numbers(requests: list[str]) -> list[str]:
        return [re.sub(r"/comments/[0-9]+", "/comments/", request) for request in requests]

    deliver("demo/bug")
    pull, issue = f"{REPOSITORY}/pulls/13", f"{REPOSITORY}/issues/13"
    files, state = f"GET {pull}/files", f"GET {pull}"
    labels, comment = f"POST {issue}/labels", f"POST {issue}/comments"
    opened = deliver("demo/feature")
    check = f"POST {REPOSITORY}/statuses/"
    renamed = "POST /graphql"  # whether shop/money.py is what shop/price_utils.py was
    context, inline = ["POST /graphql"] * 2, f"GET {pull}/comments"
    review = [inline, f"POST {pull}/reviews", inline]
    assert without_commits(opened) == [
        files,
        renamed,
        *context,
        check,
        state,
        labels,
        *review,
        comment,
        check,
    ]
    edit_comment = [f"{verb} {REPOSITORY}/issues/comments/3000000000" for verb in ("GET", "PATCH")]
    pushed = deliver("demo/feature-push")
    threads = "POST /graphql"
    gone = f"{REPOSITORY}/pulls/comments/1"  # its comment no longer says how to dismiss it
    replies = [f"GET {gone}", f"PATCH {gone}", f"POST {pull}/comments//replies"]
    assert without_commits(without_numbers(pushed)) == without_numbers(
        [files, threads, renamed, *context, check, state, *replies, *edit_comment, check]
    )
    review = [f"GET {pull}/reviews", f"GET {pull}/reviews/2304417713/comments"]
    reviewed = deliver("demo/review")
    assert reviewed == [state, *review, state, labels, comment]
    run = f"{REPOSITORY}/actions/runs/19041222731/attempts/1/jobs"
    log = f"{REPOSITORY}/actions/jobs/54110020701/logs"
    found = deliver("demo/tests-failed")
    assert found == [f"GET {REPOSITORY}/pulls", f"GET {run}", f"GET {log}", files, state, comment]
    events = ("pull request opened", "push", "review", "failed workflow")
    assert documented()[2:] == [
        counted(*one) for one in zip(events, (opened, pushed, reviewed, found), strict=True)
    ]
