"""Reviews, replies and review threads of the stand-in GitHub: requests, web pages, webhooks, the control API."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from hls_handler.clients.review_threads import REVIEW_THREADS_QUERY
from hls_handler.events import Account, parse_event
from hls_handler.routing import Ignored, RoutingInput, from_event, route
from hls_handler.sandbox.server import GRAPHQL_PREFIX, Sandbox
from hls_handler.sandbox.state import State
from hls_handler.settings.effective import RepositoryTable
from tests.clients.review_world import COMMENTS, HEAD, NUMBER, REPOSITORY, REVIEWS, seed_pull_request
from tests.engine.world import library, settings
from tests.sandbox.conftest import Answer, ask, ask_github

TIMEOUT_S = 30.0
LINE_2 = {"path": "a.py", "side": "RIGHT", "line": 2, "body": "Wrong, @mona.\n<!-- hls:finding f2 -->"}


@pytest.fixture
def pull(sandbox: Sandbox) -> Sandbox:
    seed_pull_request(sandbox)
    return sandbox


def post_review(sandbox: Sandbox, *comments: dict[str, Any], **known: Any) -> Answer:
    body = {"commit_id": HEAD, "event": "COMMENT", "body": "1 comment.\n<!-- hls:review -->", "comments": [*comments]}
    return ask_github(sandbox, "POST", REVIEWS, {**body, **known})


def comment_ids(sandbox: Sandbox) -> list[int]:
    return [one["id"] for one in ask_github(sandbox, "GET", COMMENTS).document]


def ask_graphql(sandbox: Sandbox, body: object, **headers: str) -> Answer:
    named = {"Authorization": f"token {sandbox.token}", **headers}
    return ask(f"{sandbox.page_url[:-1]}{GRAPHQL_PREFIX}", "POST", "/graphql", body, named)


def test_review_and_its_comments_can_be_read(pull: Sandbox) -> None:
    made = post_review(pull, LINE_2, {**LINE_2, "line": 9, "start_line": 7, "body": "Both."})
    assert (made.status, made.document["state"], made.document["commit_id"]) == (200, "COMMENTED", HEAD)
    listed = ask_github(pull, "GET", f"{REVIEWS}/{made.document['id']}/comments").document
    assert [(one["line"], one.get("start_line"), one["user"]["login"]) for one in listed] == [
        (2, None, "hls-bot"),
        (9, 7, "hls-bot"),
    ]
    assert listed[0]["diff_hunk"] == "@@ -1,3 +1,10 @@\n import os\n-old\n+line 2"
    newest_first = ask_github(pull, "GET", f"{COMMENTS}?sort=created&direction=desc").document
    assert [one["id"] for one in newest_first] == [one["id"] for one in reversed(listed)]
    assert ask_github(pull, "GET", f"/repos/{REPOSITORY}/pulls/{NUMBER}").document["review_comments"] == 2


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"line": 11}, "Pull request review thread line must be part of the diff and"),
        ({"line": 2, "side": "LEFT"}, None),
        ({"line": 4, "side": "LEFT"}, "Pull request review thread line must be part of the diff and"),
        ({"line": 1}, None),  # an unchanged line
        ({"line": 21, "side": "LEFT"}, None),
        ({"path": "b.py"}, "Pull request review thread path is invalid"),
        ({"line": 28, "start_line": 9}, "start line must be part of the same hunk as the line."),
        ({"line": 5, "start_line": 5}, "Pull request review thread start line must precede the end line."),
        ({"line": 3, "start_line": 2, "start_side": "LEFT"}, None),
        ({"body": " "}, "Body can't be blank"),
    ],
)
def test_position_must_be_in_the_patch(pull: Sandbox, change: dict[str, Any], error: str | None) -> None:
    """One invalid comment rejects the review, and GitHub does not say which."""
    answer = post_review(pull, LINE_2, {**LINE_2, **change})
    if error is None:
        assert (answer.status, len(comment_ids(pull))) == (200, 2)
        return
    assert (answer.status, answer.document["message"], comment_ids(pull)) == (422, "Unprocessable Entity", [])
    (sentence,) = answer.document["errors"]
    assert error in sentence


@pytest.mark.parametrize(
    ("known", "status", "error"),
    [
        ({"event": "APPROVE"}, 422, "only reviews with the event COMMENT"),
        ({"commit_id": "a" * 40}, 422, "The commitOID is not part of the pull request"),
        ({"body": ""}, 422, "Body can't be blank"),
        ({"comments": [{**LINE_2, "position": 3}]}, 422, '"position\\" is not a permitted key'),
        ({"comments": [{"path": "a.py", "body": "x"}]}, 422, '"line\\" wasn\'t supplied'),
    ],
)
def test_invalid_review_is_rejected(pull: Sandbox, known: dict[str, Any], status: int, error: str) -> None:
    answer = post_review(pull, **known)
    assert (answer.status, error in answer.text) == (status, True), answer.text


def test_only_the_first_comment_of_a_thread_has_replies(pull: Sandbox) -> None:
    post_review(pull, LINE_2)
    (first,) = comment_ids(pull)
    reply = ask_github(pull, "POST", f"{COMMENTS}/{first}/replies", {"body": "Fixed."})
    assert (reply.status, reply.document["in_reply_to_id"], reply.document["line"]) == (201, first, 2)
    again = ask_github(pull, "POST", f"{COMMENTS}/{reply.document['id']}/replies", {"body": "Fixed."})
    assert (again.status, comment_ids(pull)) == (404, [first, reply.document["id"]])


def test_locked_pull_request_rejects_reviews_and_replies(pull: Sandbox) -> None:
    post_review(pull, LINE_2)
    (first,) = comment_ids(pull)
    found = pull.state.conversation(REPOSITORY, NUMBER)
    assert found is not None
    found.document["locked"] = True
    assert post_review(pull, LINE_2).status == 403
    assert ask_github(pull, "POST", f"{COMMENTS}/{first}/replies", {"body": "Fixed."}).status == 403


def test_effects_of_comments_on_lines_are_recorded(pull: Sandbox) -> None:
    post_review(pull, LINE_2)
    assert [one.effects.notifies for one in pull.state.effects] == [(), ("mona",)]


def test_pull_request_page_shows_the_comments_and_who_resolved_them(pull: Sandbox) -> None:
    post_review(pull, LINE_2)
    (first,) = comment_ids(pull)
    ask_github(pull, "POST", f"{COMMENTS}/{first}/replies", {"body": "Fixed by **hand**."})
    path = f"/{REPOSITORY}/pull/{NUMBER}"
    text = ask(pull.page_url, "GET", path).text
    assert '<code>a.py</code> <span class="quiet">line 2</span>' in text
    assert f'<a class="quiet" href="#discussion_r{first}">{first}</a></p>' in text
    assert "Fixed by <strong>hand</strong>." in text
    pull.state.set_resolved(REPOSITORY, NUMBER, first, "mona")
    assert '<span class="edited">resolved by mona</span>' in ask(pull.page_url, "GET", path).text


# --- the control API -------------------------------------------------------------------------------------------------


def test_threads_are_resolved_and_reactions_added_by_the_control_api(pull: Sandbox) -> None:
    post_review(pull, LINE_2)
    (first,) = comment_ids(pull)
    place = {"repository": REPOSITORY, "number": NUMBER, "comment": first}
    resolve, react = "/_sandbox/threads", "/_sandbox/reactions"
    assert ask(pull.page_url, "POST", resolve, {**place, "resolved_by": "mona"}).status == 201
    assert ask(pull.page_url, "POST", react, {**place, "login": "zoe", "content": "-1"}).status == 204
    variables = {"owner": "Codertocat", "name": "Hello-World", "number": NUMBER, "after": None}
    shown = ask_graphql(pull, {"query": REVIEW_THREADS_QUERY, "variables": variables}).document
    (node,) = shown["data"]["repository"]["pullRequest"]["reviewThreads"]["nodes"]
    assert (node["isResolved"], node["resolvedBy"]) == (True, {"login": "mona"})
    assert node["first"]["nodes"] == [
        {"fullDatabaseId": str(first), "up": {"nodes": []}, "down": {"nodes": [{"user": {"login": "zoe"}}]}}
    ]
    assert ask(pull.page_url, "POST", resolve, {**place, "resolved_by": None}).status == 201
    unknown = ask(pull.page_url, "POST", resolve, {**place, "comment": 5, "resolved_by": None})
    message = f"comment: {REPOSITORY}#2 has no review comment 5 in the sandbox"
    assert (unknown.status, unknown.document) == (400, {"detail": message})
    assert ask(pull.page_url, "POST", react, {**place, "login": "zoe", "content": "heart"}).status == 400


def test_resolution_and_reactions_are_in_the_state_file(pull: Sandbox, tmp_path: Path) -> None:
    post_review(pull, LINE_2)
    (first,) = comment_ids(pull)
    state = State(tmp_path / "state.json", begin=pull.state.world)
    state.set_resolved(REPOSITORY, NUMBER, first, "mona")
    state.react_to_line(REPOSITORY, NUMBER, first, "zoe", "+1")
    again = State(tmp_path / "state.json").conversation(REPOSITORY, NUMBER)
    assert again is not None
    assert again.resolved == {first: "mona"}
    assert [(one.comment, one.login, one.content) for one in again.reactions] == [(first, "zoe", "+1")]


# --- GraphQL ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["{ viewer { login } }", "mutation { x }", ""])
def test_other_queries_are_errors_with_the_status_200(pull: Sandbox, query: str) -> None:
    answer = ask_graphql(pull, {"query": query, "variables": {}})
    assert (answer.status, answer.document["data"]) == (200, None)
    assert answer.document["errors"][0]["type"] == "UNKNOWN_QUERY"


def test_graphql_needs_a_token_and_a_readable_repository(pull: Sandbox) -> None:
    variables = {"owner": "Codertocat", "name": "Hello-World", "number": NUMBER, "after": None}
    body = {"query": REVIEW_THREADS_QUERY, "variables": variables}
    assert ask_graphql(pull, body, Authorization="token wrong").status == 401
    pull.state.set_permission(REPOSITORY, "hls-bot", "none")
    assert ask_graphql(pull, body).document["errors"][0]["type"] == "NOT_FOUND"


# --- webhooks --------------------------------------------------------------------------------------------------------


@contextmanager
def receiver() -> Iterator[tuple[str, queue.Queue[tuple[str, bytes]]]]:
    """A server for webhooks; yields its URL, and the events with their bodies."""
    received: queue.Queue[tuple[str, bytes]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((self.headers["X-GitHub-Event"], body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/webhook", received
        finally:
            server.shutdown()
            thread.join()


def test_own_reviews_cause_webhooks_which_hls_ignores(pull: Sandbox) -> None:
    with receiver() as (url, received):
        hook = {"owner": REPOSITORY, "url": url, "secret": "the-secret-of-the-hook"}
        ask(pull.page_url, "POST", "/_sandbox/hooks", hook)
        assert received.get(timeout=TIMEOUT_S)[0] == "ping"
        post_review(pull, LINE_2)
        webhooks = [received.get(timeout=TIMEOUT_S) for _ in range(2)]
        (first,) = comment_ids(pull)
        ask_github(pull, "POST", f"{COMMENTS}/{first}/replies", {"body": "Fixed.\n<!-- hls:reply fixed -->"})
        webhooks += [received.get(timeout=TIMEOUT_S) for _ in range(2)]
    names = [(event, json.loads(body)["action"]) for event, body in webhooks]
    assert names == [("pull_request_review", "submitted"), ("pull_request_review_comment", "created")] * 2
    assert json.loads(webhooks[0][1])["review"]["state"] == "commented"
    inputs = [from_event(parse_event(event, "guid", body)) for event, body in webhooks]
    for kind in ("User", "Bot"):
        routed = [_kind(one, Account("hls-bot", 99_000_001, kind)) for one in inputs]
        # The review around the reply of a person's account has no text, so the worker skips it (handlers/reviews.py).
        not_enabled = "event not enabled"
        assert routed == ["own account", not_enabled, "admitted" if kind == "User" else "own account", not_enabled]


def test_reply_and_resolution_by_a_person_cause_webhooks(pull: Sandbox) -> None:
    post_review(pull, LINE_2)
    (first,) = comment_ids(pull)
    place = {"repository": REPOSITORY, "number": NUMBER}
    with receiver() as (url, received):
        ask(pull.page_url, "POST", "/_sandbox/hooks", {"owner": REPOSITORY, "url": url, "secret": "x" * 16})
        assert received.get(timeout=TIMEOUT_S)[0] == "ping"
        reply = {**place, "author": "mona", "body": "By design.", "thread": first}
        assert ask(pull.page_url, "POST", "/_sandbox/comments", reply).status == 201
        for by in ("zoe", "zoe", None, None):  # GitHub sends a webhook only for a change
            ask(pull.page_url, "POST", "/_sandbox/threads", {**place, "comment": first, "resolved_by": by})
        assert ask(pull.page_url, "POST", "/_sandbox/comments", {**reply, "thread": 5}).status == 400
    sent = [(event, json.loads(body)) for event, body in list(received.queue)]
    assert [(event, one["action"], one["sender"]["login"]) for event, one in sent] == [
        ("pull_request_review", "submitted", "mona"),
        ("pull_request_review_comment", "created", "mona"),
        ("pull_request_review_thread", "resolved", "zoe"),
        ("pull_request_review_thread", "unresolved", "zoe"),
    ]
    assert sent[1][1]["comment"]["in_reply_to_id"] == first
    assert [one["body"] for one in sent[2][1]["thread"]["comments"]] == [LINE_2["body"], "By design."]


def _kind(routing_input: RoutingInput, bot: Account) -> str:
    given = settings()
    table = RepositoryTable(given)
    routed = route(routing_input, settings=given, table=table, catalogue=library(), bot=bot)
    return routed.kind if isinstance(routed, Ignored) else "admitted"
