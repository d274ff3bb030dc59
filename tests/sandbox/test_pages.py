"""Web pages of the sandbox: the texts of events and of strangers are escaped."""

from __future__ import annotations

from typing import Any

from hls_handler.prompting import recorded
from tests.github_fake.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, Answer, ask, seed_story

EVIL = '"><script>alert(1)</script>'
HEAD = "18415b19a3c86b781ea9027b3367f3630b7aa675"


def page(sandbox: Sandbox, path: str) -> Answer:
    return ask(sandbox.page_url, "GET", path)


def test_untrusted_text_of_a_pull_request_and_its_reviews_is_escaped(sandbox: Sandbox) -> None:
    def assert_escaped(sandbox: Sandbox, *paths: str) -> None:
        for path in paths:
            answer = page(sandbox, path)
            assert answer.status == 200
            assert "HLS sandbox: canned answers, not Claude</title>" in answer.text
            assert answer.text.count("<script") == 1
            assert '<script src="/_sandbox/htmx.min.js" defer></script>' in answer.text
            assert (
                answer.headers["content-security-policy"]
                == "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self';"
                " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
            )

    payload: dict[str, Any] = recorded.load("demo/feature").payload
    who = {**payload["sender"], "login": EVIL}
    pull = {**payload["pull_request"], "title": EVIL, "body": EVIL, "user": who}
    pull["labels"] = [{"name": EVIL, "color": EVIL}]
    pull["head"] = {**pull["head"], "label": EVIL}
    patch = f"@@ -0,0 +1 @@\n+{EVIL}"
    named = {
        "filename": EVIL,
        "status": EVIL,
        "additions": 1,
        "deletions": 1,
        "patch": EVIL,
        "previous_filename": EVIL,
    }
    files = [
        named,
        {"filename": "a.py", "status": "added", "additions": 1, "deletions": 0, "patch": patch},
    ]
    sandbox.state.seed(
        "pull_request", {**payload, "pull_request": pull, "sender": who}, files=files
    )
    review = {"id": 5, "user": who, "state": EVIL, "body": EVIL, "commit_id": EVIL}
    sandbox.state.seed("pull_request_review", {**payload, "review": review})
    comment = {
        "id": 6,
        "pull_request_review_id": 5,
        "side": EVIL,
        "path": EVIL,
        "body": EVIL,
        "diff_hunk": EVIL,
    }
    sandbox.state.seed("pull_request_review_comment", {**payload, "comment": comment})
    conversation = sandbox.conversation(13)
    sandbox.state.edit_comment(
        conversation, sandbox.state.create_comment(conversation, EVIL), EVIL * 2
    )
    assert_escaped(sandbox, "/", f"/{REPOSITORY}/pull/13")
    assert (
        page(sandbox, f"/{REPOSITORY}/blob/{HEAD}/a.py").headers["location"]
        == f"/{REPOSITORY}/pull/13"
    )
    assert "alert(1)" in page(sandbox, f"/{REPOSITORY}/pull/13").text


def test_box_offers_commands_only_on_a_pull_request(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/bug", "demo/feature")
    assert "such as /help" not in page(sandbox, f"/{REPOSITORY}/issues/11").text
    assert "such as /help" in page(sandbox, f"/{REPOSITORY}/pull/13").text


def test_script_of_the_pages_is_served(sandbox: Sandbox) -> None:
    answer = page(sandbox, "/_sandbox/htmx.min.js")
    assert (answer.status, answer.text[:9]) == (200, "var htmx=")
