"""Web pages of issues, pull requests, runs and releases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, Answer, ask, seed_story

EVIL = '"><script>alert(1)</script>'


class Clock:
    """A clock that changes only when a test sets it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(clock=clock) as running:
        yield running


def page(sandbox: Sandbox, path: str) -> Answer:
    return ask(sandbox.page_url, "GET", path)


def test_every_page_says_that_answers_are_canned(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    for path in ("/", f"/{REPOSITORY}/issues/11"):
        assert "HLS sandbox: canned answers, not Claude</title>" in page(sandbox, path).text


def test_untrusted_text_is_escaped(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/feature").payload
    who = {**payload["sender"], "login": EVIL}
    pull = {**payload["pull_request"], "title": EVIL, "body": EVIL, "user": who}
    pull["labels"] = [{"name": EVIL, "color": EVIL}]
    pull["head"] = {**pull["head"], "label": EVIL, "sha": EVIL}
    files = [
        {"filename": EVIL, "status": EVIL, "additions": 1, "deletions": 1, "patch": EVIL, "previous_filename": EVIL}
    ]
    sandbox.state.seed("pull_request", {**payload, "pull_request": pull, "sender": who}, files=files)
    conversation = sandbox.state.conversation(REPOSITORY, 13)
    assert conversation is not None
    sandbox.state.edit_comment(conversation, sandbox.state.create_comment(conversation, EVIL), EVIL * 2)
    paths = ("/", f"/{REPOSITORY}/pull/13", "/_sandbox/pages.css")
    for path in paths:
        assert "<script>" not in page(sandbox, path).text
    changed = {**payload, "action": "edited", "sender": who, "pull_request": {**pull, "title": "new"}}
    sandbox.state.seed("pull_request", changed)
    for path in paths:
        assert "<script>" not in page(sandbox, path).text


def test_untrusted_text_of_reviews_is_escaped(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/review").payload
    who = {**payload["sender"], "login": EVIL}
    review = {"id": 5, "user": who, "state": EVIL, "body": EVIL, "commit_id": EVIL}
    sandbox.state.seed("pull_request_review", {**payload, "review": review})
    comment = {"id": 6, "pull_request_review_id": 5, "side": EVIL, "path": EVIL, "body": EVIL, "diff_hunk": EVIL}
    sandbox.state.seed("pull_request_review_comment", {**payload, "comment": comment})
    text = page(sandbox, f"/{REPOSITORY}/pull/13").text
    assert "alert(1)" in text
    assert "<script>" not in text


def test_pages_load_only_their_style_sheet(sandbox: Sandbox) -> None:
    answer = page(sandbox, "/")
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "style=" not in answer.text


RUN = f"/{REPOSITORY}/actions/runs/19041222731"


def test_untrusted_text_of_runs_and_releases_is_escaped(sandbox: Sandbox) -> None:
    for name, part in (("demo/tests-failed", "workflow_run"), ("demo/release", "release")):
        one = recorded.load(name)
        payload: Any = one.payload
        evil = {
            "name": EVIL,
            "display_title": EVIL,
            "head_branch": EVIL,
            "body": EVIL,
            "event": EVIL,
            "tag_name": "v1/x#",
        }
        sandbox.state.seed(one.event, {**payload, part: {**payload[part], **evil, "conclusion": "x" + EVIL}})
    sandbox.state.set_log(REPOSITORY, 1904122273101, EVIL)
    for path in ("/", RUN, f"/{REPOSITORY}/releases/tag/v1/x%23"):
        answer = page(sandbox, path)
        assert answer.status == 200
        assert "<script" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


HEAD, EARLIER_HEAD, BASE = (
    "d7a6e5f7fd70fc6d19584fbe682e1590fbeae450",
    "18415b19a3c86b781ea9027b3367f3630b7aa675",
    "755d7a41942446a30937c968b371b29da8af7dfa",
)


def test_code_in_a_patch_is_escaped(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/feature").payload
    file = {"filename": "a.py", "status": "added", "additions": 1, "deletions": 0, "patch": f"@@ -0,0 +1 @@\n+{EVIL}"}
    sandbox.state.seed("pull_request", payload, files=[file])
    text = page(sandbox, f"/{REPOSITORY}/blob/{EARLIER_HEAD}/a.py").text
    assert 'id="L1">   1 +&quot;&gt;&lt;script&gt;alert(1)' in text
    assert "<script>" not in text
