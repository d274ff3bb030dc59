"""Webhooks of the stand-in GitHub, as its API and HLS's client show them."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hls_handler.clients.api import GithubApi
from hls_handler.clients.hooks import GithubHooks
from hls_handler.errors import Permanent
from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.clients.conftest import github_settings
from tests.contracts import github as github_contract
from tests.sandbox.conftest import REPOSITORY, ask, ask_github

SECRET = "the-secret-of-the-hook"
OPENED = recorded.load("issues.opened")


@contextmanager
def receiver(status: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A server that answers every webhook with `status`; yields its URL and the requests."""
    received: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((dict(self.headers.items()), body))
            self.send_response(status)
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


@contextmanager
def client(sandbox: Sandbox) -> Iterator[GithubHooks]:
    settings = github_settings(sandbox.github_url, sandbox.token)
    with closing(GithubApi(settings, observe=lambda _: None, now=lambda: datetime.now(UTC))) as api:
        yield GithubHooks(api)


def add_hook(sandbox: Sandbox, owner: str, url: str) -> int:
    answer = ask(sandbox.page_url, "POST", "/_sandbox/hooks", {"owner": owner, "url": url, "secret": SECRET})
    return int(answer.document["id"])


def signature(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_new_hook_receives_a_signed_ping_about_its_repository(sandbox: Sandbox) -> None:
    sandbox.state.seed(OPENED.event, OPENED.payload)
    with receiver(200) as (url, received):
        hook = add_hook(sandbox, REPOSITORY, url)
    ((headers, body),) = received
    assert (headers["X-GitHub-Event"], headers["X-Hub-Signature-256"]) == ("ping", signature(body, SECRET))
    ping = json.loads(body)
    assert (ping["hook_id"], ping["hook"]["type"], ping["hook"]["config"]["url"]) == (hook, "Repository", url)
    assert ping["repository"]["full_name"] == REPOSITORY


def test_new_app_receives_a_ping_and_the_event_of_its_installation(sandbox: Sandbox) -> None:
    sandbox.state.seed(OPENED.event, OPENED.payload)
    owner = sandbox.apps.owner_named(None)
    with receiver(200) as (url, received):
        app = sandbox.apps.add("My HLS", owner=owner, public_key="-", permissions={"issues": "write"}, webhook_url=url)
        installation = sandbox.apps.install(app, owner, (REPOSITORY,))
        sandbox.apps.install(app, owner, None)  # changes the repositories
    assert [headers["X-GitHub-Event"] for headers, _ in received] == ["ping", "installation"]
    assert all(headers["X-Hub-Signature-256"] == signature(body, app.webhook_secret) for headers, body in received)
    ping, created = (json.loads(body) for _, body in received)
    assert (ping["hook_id"], ping["hook"]["type"]) == (app.id, "App")
    assert (created["action"], created["installation"]["id"]) == ("created", installation.id)
    assert created["installation"]["account"]["login"] == owner.login
    assert [one["full_name"] for one in created["repositories"]] == [REPOSITORY]


@pytest.mark.parametrize(("status", "is_received"), [(202, True), (503, False)])
def test_sent_webhook_is_signed_and_recorded_with_the_status(sandbox: Sandbox, status: int, is_received: bool) -> None:
    event, payload = OPENED.event, OPENED.payload
    with receiver(status) as (url, received):
        hook = add_hook(sandbox, REPOSITORY, url)
        ask(sandbox.page_url, "POST", "/_sandbox/send", {"event": event, "payload": payload})
    _, (headers, body) = received
    assert headers["X-Hub-Signature-256"] == signature(body, SECRET)
    with client(sandbox) as github:
        (found,) = github.hooks(f"/repos/{REPOSITORY}")
        assert (found.id, found.url, found.active) == (hook, url, True)
        log = github.deliveries(f"/repos/{REPOSITORY}", hook)
        (attempt, _), following = log.page(None)
        assert (attempt.status_code, attempt.is_received, following) == (status, is_received, None)
        assert (attempt.event, attempt.action, attempt.guid) == ("issues", "opened", headers["X-GitHub-Delivery"])
        assert attempt.repository_id == payload["repository"]["id"]
        stored = log.find_payload(attempt.id)
        assert stored is not None
        assert json.loads(stored)["issue"]["title"] == payload["issue"]["title"]
    assert github_contract.violations(request.document() for request in sandbox.requests.all()) == []


@pytest.mark.parametrize("url", ["https://hls.invalid/webhook", "http://example.com/webhook", "http://127.0.0.1:1/"])
def test_webhook_to_a_host_that_does_not_respond_is_recorded_as_failed(sandbox: Sandbox, url: str) -> None:
    event, payload = OPENED.event, OPENED.payload
    hook = sandbox.state.hooks.add(REPOSITORY, url, SECRET)
    assert [attempt.status_code for attempt in sandbox.state.hooks.send(event, payload)] == [502]
    assert sandbox.state.hooks.attempts(hook)[0].payload == payload


def test_deliveries_are_listed_newest_first_in_pages(sandbox: Sandbox) -> None:
    event, payload = OPENED.event, OPENED.payload
    sandbox.state.seed(event, payload)
    hook = sandbox.state.hooks.find(REPOSITORY, add_hook(sandbox, REPOSITORY, "https://hls.invalid/webhook"))
    assert hook is not None
    for number in range(201):
        sandbox.state.hooks.record(hook, event, payload, guid=f"guid-{number}", status_code=502)
    with client(sandbox) as github:
        log, cursor, seen = github.deliveries(f"/repos/{REPOSITORY}", hook.id), None, list[str]()
        for size in (100, 100, 2):
            page, cursor = log.page(cursor)
            assert len(page) == size
            seen += [attempt.guid for attempt in page]
        assert cursor is None
        assert log.find_payload(10**9) is None
    assert seen[:-1] == [f"guid-{number}" for number in reversed(range(201))]  # the last one is the ping
    assert github_contract.violations(request.document() for request in sandbox.requests.all()) == []


def test_hooks_of_an_organisation_receive_the_events_of_its_repositories(sandbox: Sandbox) -> None:
    event, payload = OPENED.event, OPENED.payload
    owner = REPOSITORY.split("/")[0]
    hook = add_hook(sandbox, owner, "https://hls.invalid/webhook")
    sandbox.state.hooks.send(event, payload)
    with client(sandbox) as github:
        assert [found.id for found in github.hooks(f"/orgs/{owner}")] == [hook]
        assert [one.event for one in github.deliveries(f"/orgs/{owner}", hook).page(None)[0]] == ["issues", "ping"]


def test_only_an_administrator_lists_hooks(sandbox: Sandbox) -> None:
    sandbox.state.seed(OPENED.event, OPENED.payload)
    with client(sandbox) as github, pytest.raises(Permanent, match="404 Not Found"):
        github.hooks(f"/repos/{REPOSITORY}")
    assert ask_github(sandbox, "GET", "/orgs/nobody/hooks").status == 404


def test_label_changes_of_a_person_are_sent_as_webhooks(sandbox: Sandbox) -> None:
    opened = recorded.load("issues.opened")
    sandbox.state.seed(opened.event, opened.payload)
    with receiver(202) as (url, received):
        ask(sandbox.page_url, "POST", "/_sandbox/hooks", {"owner": REPOSITORY, "url": url, "secret": SECRET})
        for change in ({"add": ["urgent"]}, {"remove": ["urgent"], "add": ["later"]}):
            body = {"repository": REPOSITORY, "number": 1, "author": "mona", **change}
            assert ask(sandbox.page_url, "POST", "/_sandbox/labels", body).status == 201
    sent = [json.loads(body) for _, body in received[1:]]  # without the ping
    names = [[label["name"] for label in one["issue"]["labels"] if label["name"] != "bug"] for one in sent]
    assert [(one["action"], one["label"]["name"], one["sender"]["login"]) for one in sent] == [
        ("labeled", "urgent", "mona"),
        ("unlabeled", "urgent", "mona"),
        ("labeled", "later", "mona"),
    ]
    assert names == [["urgent"], [], ["later"]]


def test_comment_of_a_person_with_a_permission_is_sent_as_a_webhook(sandbox: Sandbox) -> None:
    opened = recorded.load("pull_request.opened")
    sandbox.state.seed(opened.event, opened.payload)
    with receiver(202) as (url, received):
        ask(sandbox.page_url, "POST", "/_sandbox/hooks", {"owner": REPOSITORY, "url": url, "secret": SECRET})
        comment = {"repository": REPOSITORY, "number": 2, "author": "mona", "body": "/review", "permission": "write"}
        assert ask(sandbox.page_url, "POST", "/_sandbox/comments", comment).status == 201
    headers, body = received[-1]
    payload = json.loads(body)
    assert headers["X-GitHub-Event"] == "issue_comment"
    assert (payload["action"], payload["sender"]["login"], payload["comment"]["body"]) == ("created", "mona", "/review")
    assert payload["issue"]["pull_request"]["url"].endswith(f"/repos/{REPOSITORY}/pulls/2")
    permission = ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/collaborators/mona/permission").document
    assert permission["permission"] == "write"
