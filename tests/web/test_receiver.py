"""Responses of the webhook receiver, and the deliveries that it stores."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from hls_handler.deliveries import Accepted, NewDelivery
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.yaml_parser import Sources
from tests.web.fakes import (
    GUID,
    OWN_SECRET,
    SECRET,
    FakeStore,
    Headers,
    Response,
    WebSetup,
    ask,
    headers,
    payload,
    settings,
)

BODY = payload()
NOT_VERIFIED = "the request could not be verified: check the webhook's secret"
IDS = {"request_id": "request-0815", "delivery": GUID}
WITH_ID: dict[str, Any] = {"x_request_id": "request-0815"}


@pytest.fixture
def setup() -> WebSetup:
    return WebSetup(settings())


@pytest.mark.parametrize(("is_stored", "author"), [(True, "octocat"), (False, None)])
def test_author_of_the_issue_is_stored_only_if_settings_say_so(
    is_stored: bool, author: str | None
) -> None:
    setup = WebSetup(settings(metrics={"authors": is_stored}))
    setup.deliver(payload(sender={"login": "hubot"}))
    assert (setup.store.deliveries[0].author, setup.store.deliveries[0].sender) == (author, "hubot")


def test_a_form_is_verified_as_sent_and_stored_as_json(setup: WebSetup) -> None:
    body = payload(title="1 + 1 & ü")
    form = urlencode({"payload": body.decode()}).encode()
    assert setup.deliver(form, content_type="application/x-www-form-urlencoded").status == 202
    assert setup.store.deliveries[0].body == body


LARGE = payload(filler="x" * 2000)


@pytest.mark.parametrize(
    ("sent", "body", "status", "detail"),
    [
        (
            headers(LARGE, content_length=str(len(LARGE))),
            LARGE,
            413,
            "the body is over 2000 bytes (server.max_body_bytes)",
        ),
        (headers(b"{"), b"{", 400, "the body is not valid JSON"),
        (
            headers(b'{"x": "\xff"}'),
            b'{"x": "\xff"}',
            400,
            "the body is not valid JSON: it is not UTF-8",
        ),
        (headers(b"{}"), b"{}", 400, "the payload does not fit the event issues: it has no issue"),
        (headers(BODY, secret="somebody-elses-secret"), BODY, 401, NOT_VERIFIED),
    ],
    ids=["too large", "torn JSON", "not UTF-8", "another event", "unknown secret"],
)
def test_rule_4_invalid_requests_get_one_sentence_and_store_nothing(
    sent: Headers, body: bytes, status: int, detail: str
) -> None:
    setup = WebSetup(settings(server={"max_body_bytes": 2000}))
    response = ask(setup.app(), headers=[*sent, (b"x-request-id", b"request-0815")], chunks=[body])
    assert (response.status, response.json) == (status, {"detail": detail})
    assert response.headers["x-request-id"] == "request-0815"
    assert setup.store.deliveries == []


def test_rule_2_a_ping_with_the_secret_of_another_repository_is_rejected(setup: WebSetup) -> None:
    assert setup.deliver(event="ping", secret=OWN_SECRET).status == 401
    assert setup.store.pongs == 0


def test_rule_2_an_invalid_repository_name_matches_no_repository() -> None:
    setup = WebSetup(
        settings(repositories=[{"name": "evil/*", "webhook_secret": OWN_SECRET}, {"name": "*/*"}])
    )
    body = payload(repository={"id": 2, "full_name": "evil/../owner/repo"})
    response = setup.deliver(body, secret=OWN_SECRET)
    assert (response.status, setup.store.deliveries) == (400, [])
    assert response.json == {
        "detail": "invalid payload: repository.full_name must have the form owner/repo"
    }


def test_rule_3_the_connection_is_closed_when_the_body_was_not_read(setup: WebSetup) -> None:
    assert setup.deliver(content_type="text/plain").headers["connection"] == "close"
    assert "connection" not in setup.deliver(secret="somebody-elses-secret").headers


@pytest.fixture
def trusting() -> WebSetup:
    """A service that accepts unsigned webhooks of this machine."""
    return WebSetup(settings(features={"signature_validation": False}))


def send_unsigned(setup: WebSetup, sent: Mapping[str, str | None], **scope: Any) -> Response:
    """Send a valid request of this machine without a signature, in which `sent` are headers."""
    own: dict[str, Any] = {"x_hub_signature_256": None, "host": "127.0.0.1:8000"}
    body = payload(repository={"id": 2, "full_name": "owner/private"})
    return ask(setup.app(), headers=headers(body, **{**own, **sent}), chunks=[body], **scope)


def test_an_unsigned_event_is_accepted_if_validation_is_disabled(trusting: WebSetup) -> None:
    assert send_unsigned(trusting, {}).status == 202


OF_OTHER_SITE = "a web page of another site has sent the request"
LINK = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


@pytest.mark.parametrize(
    ("scope", "sent", "why"),
    [
        ({"client": ("192.0.2.1", 4711)}, {}, "the client is not on this machine"),
        ({"client": None}, {}, "the client is not on this machine"),  # as of a socket with a path
        ({}, {"x_forwarded_for": "127.0.0.1"}, "the request has the header X-Forwarded-For"),
        ({}, {"forwarded": "for=127.0.0.1"}, "the request has the header Forwarded"),
        ({"http_version": "1.0"}, {}, "the request is of HTTP/1.0"),
        ({}, {"host": "rebound.example:8000"}, "the header Host is not a name of this machine"),
        ({}, {"host": None}, "the header Host is not a name of this machine"),
        ({}, {"origin": "https://evil.example"}, OF_OTHER_SITE),
        ({}, {"origin": "null"}, OF_OTHER_SITE),
        ({}, {"sec_fetch_site": "cross-site"}, OF_OTHER_SITE),
        ({}, {"sec_fetch_site": "same-site", **LINK}, OF_OTHER_SITE),  # another port
    ],
)
def test_rule_1_an_unsigned_event_that_others_may_have_sent_is_rejected(
    trusting: WebSetup,
    scope: dict[str, Any],
    sent: dict[str, str | None],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    response = send_unsigned(trusting, sent, **scope)
    assert (response.status, response.json) == (401, {"detail": NOT_VERIFIED})
    assert trusting.store.deliveries == []
    (line,) = (record for record in caplog.records if record.message == "webhook received")
    expected = f"unsigned webhooks are accepted from this machine only: {why}"
    assert vars(line)["reason"] == expected


@pytest.mark.parametrize("client", ["::1", "::ffff:127.0.0.1", "127.8.8.8"])
@pytest.mark.parametrize("host", ["localhost:8000", "[::1]:8000"])
def test_an_unsigned_event_of_this_machine_is_accepted_over_ipv6_too(
    trusting: WebSetup, client: str, host: str
) -> None:
    sent = {"host": host, "origin": f"http://{host}"}
    assert send_unsigned(trusting, sent, client=(client, 4711)).status == 202


def test_a_store_failure_is_503_and_reported_in_health(setup: WebSetup) -> None:
    setup.store.broken = "disk full"
    response = setup.deliver()
    assert (response.status, response.headers["retry-after"]) == (503, "30")
    assert response.json == {"detail": "the delivery could not be stored; redeliver it later"}
    store = setup.health.snapshot().components["store"]
    assert (store.state, store.message) == ("unhealthy", "disk full")
    setup.store.broken = None
    assert setup.deliver().status == 202
    assert setup.health.snapshot().components["store"].state == "healthy"


def test_paths_in_the_response_lack_the_folders_of_the_machine() -> None:
    configured = settings(
        features={"async_processing": False}, prompts={"directory": "/srv/hls/lib/prompts"}
    )
    configured._sources = Sources("/home/ann/hls/settings.yaml")
    setup = WebSetup(configured)
    setup.workers.state = "dead"
    setup.workers.reason = (
        "see /home/ann/hls/settings.yaml:4 (labels) and /srv/hls/lib/prompts/issues/mine.j2:6"
    )
    reason = "see settings.yaml:4 (labels) and prompts/issues/mine.j2:6"
    assert setup.deliver().json["reason"] == reason


def test_folders_of_the_machine_are_found_once_for_a_version_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding them needs the working directory, which does not exist any more at the second
    webhook.
    """
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    app = WebSetup(settings(prompts={"directory": "prompts"})).app()
    statuses = []
    for guid in ("first", "second"):
        body = payload(action="closed")
        response = ask(app, headers=headers(body, x_github_delivery=guid), chunks=[body])
        statuses.append((response.status, response.json["status"]))
        working.rmdir()
        working.mkdir()  # another folder
    assert statuses == [(200, "ignored"), (200, "ignored")]


def test_without_async_processing_work_that_takes_too_long_is_queued() -> None:
    setup = WebSetup(
        settings(features={"async_processing": False}, server={"sync_timeout_s": 0.01})
    )
    response = setup.deliver(**WITH_ID)
    assert (response.status, response.json) == (202, {"status": "queued", **IDS})
    assert len(setup.workers.waited) == 1


RECEIVED = {"event": "issues", "action": "opened", "repository": "owner/repo"}
REJECTED: dict[str, object] = {"action": None, "repository": None, "decision": "rejected"}
NOT_ENABLED = "add it to repositories[0].events"
DECISIONS: dict[
    str, tuple[dict[str, Any], Accepted | None, int, dict[str, str], dict[str, object]]
] = {
    "queued": (
        {},
        None,
        202,
        {"status": "queued", **IDS},
        {"decision": "queued", "reason": "prompts/issues/analyze.j2 is for issues.opened"},
    ),
    "ignored": (
        {"action": "closed"},
        None,
        200,
        {"status": "ignored", "reason": NOT_ENABLED, **IDS},
        {"action": "closed", "decision": "ignored", "reason": NOT_ENABLED},
    ),
    "duplicate": (
        {},
        Accepted("duplicate", "done", GUID),
        200,
        {"status": "duplicate", "state": "done", **IDS},
        {"decision": "duplicate", "reason": "this delivery is already done"},
    ),
    "replay": (
        {},
        Accepted("replay", "done", "first"),
        200,
        {"status": "ignored", "reason": "replay of first", **IDS},
        {"decision": "replay", "reason": "replay of first"},
    ),
    "ping": (
        {"event": "ping"},
        None,
        200,
        {"status": "pong", **IDS},
        {"event": "ping", "decision": "pong", "reason": None},
    ),
    "wrong secret": (
        {"secret": OWN_SECRET},
        None,
        401,
        {"detail": NOT_VERIFIED},
        REJECTED | {"reason": "the secret that matched is not valid for owner/repo"},
    ),
    "wrong header": (
        {"x_github_event": "?"},
        None,
        400,
        {"detail": "X-GitHub-Event must be the name of an event, such as issues"},
        REJECTED
        | {
            "event": None,
            "reason": "X-GitHub-Event must be the name of an event, such as issues",
        },
    ),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_each_webhook_is_answered_and_logged_once_with_the_decision(
    setup: WebSetup, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    sent, stored, status, answer, logged = DECISIONS[name]
    caplog.set_level(logging.INFO, logger="hls_handler.web.receiver")
    setup.store.answer = stored
    body = payload(action=sent.get("action", "opened"))
    given = {name: value for name, value in sent.items() if name != "action"}
    response = setup.deliver(body, **given, **WITH_ID)
    assert (response.status, response.json) == (status, answer)
    [record] = caplog.records
    assert (record.message, record.levelname) == ("webhook received", "INFO")
    wanted = RECEIVED | logged | {"status": status}
    assert {name: record.__dict__[name] for name in wanted} == wanted
    assert setup.store.rejections == ([status] if logged["decision"] == "rejected" else [])
    assert setup.store.pongs == (name == "ping")
    stored_guids = [one.guid for one in setup.store.deliveries]
    assert stored_guids == ([] if name in ("ping", "wrong secret", "wrong header") else [GUID])


def test_an_unexpected_exception_is_a_500_with_request_id_and_logged_traceback(
    setup: WebSetup, caplog: pytest.LogCaptureFixture
) -> None:
    class DefectiveStore(FakeStore):
        async def accept(self, new: NewDelivery) -> Accepted:
            raise ZeroDivisionError("at owner/secret")

    setup.store = DefectiveStore()
    response = setup.deliver(**WITH_ID)
    assert (response.status, response.headers["x-request-id"]) == (500, "request-0815")
    assert response.json == {"detail": "internal error; see the log under this request id"}
    assert "ZeroDivisionError: at owner/secret" in caplog.text


# --- events about the installation of a GitHub App
# ------------------------------------------------------------------

INSTALLATION = {"id": 5, "account": {"login": "octo", "type": "Organization"}}
REPOSITORIES = {
    "repositories_added": [{"id": 1, "full_name": "octo/a"}],
    "repositories_removed": [{"full_name": "octo/b"}],
}


def post_installation(
    setup: WebSetup, event: str, document: dict[str, Any], *, secret: str = SECRET
) -> Response:
    return setup.deliver(json.dumps(document).encode(), event=event, secret=secret)


def test_change_of_an_installation_is_applied_and_not_stored_as_work(setup: WebSetup) -> None:
    added = {"action": "added", "installation": INSTALLATION, **REPOSITORIES}
    response = post_installation(setup, "installation_repositories", added)
    assert (response.status, response.json["status"]) == (200, "ignored")
    (change,) = setup.installation_changes
    assert (change.action, change.installation_owner, change.installation_repositories) == (
        "added",
        "octo",
        ("octo/a", "octo/b"),
    )


def test_rule_2_secret_of_a_repository_is_not_valid_for_an_installation(setup: WebSetup) -> None:
    deleted = {"action": "deleted", "installation": INSTALLATION}
    assert post_installation(setup, "installation", deleted, secret=OWN_SECRET).status == 401
    assert setup.installation_changes == []


def test_payload_without_its_installation_is_rejected(setup: WebSetup) -> None:
    assert post_installation(setup, "installation", {"action": "deleted"}).status == 400
    assert setup.installation_changes == []


# --- changed settings
# -----------------------------------------------------------------------------


@pytest.mark.parametrize("webhook_path", ["/hooks", "/hooks/"])
def test_webhook_path_is_the_same_with_a_slash_at_its_end(
    setup: WebSetup, webhook_path: str
) -> None:
    setup.settings = settings(server={"webhook_path": webhook_path})
    app = setup.app()
    paths = ("/hooks", "/hooks/", "/webhooks/github/", "/hooks//")
    statuses = [ask(app, path, headers=headers(BODY), chunks=[BODY]).status for path in paths]
    assert statuses == [202, 200, 200, 404]


def test_changed_secrets_key_and_path_apply_to_the_next_request(setup: WebSetup) -> None:
    web, secret, key = setup.web(), "the-next-secret-of-all", "the-key-of-the-dashboard"
    after = settings(
        github={"webhook_secret": secret}, server={"api_key": key, "webhook_path": "/github"}
    )
    assert ask(web.app, headers=headers(BODY), chunks=[BODY]).status == 202
    assert ask(web.app, "/stats", method="GET").status == 200
    web.apply(after, RepositoryTable(after))
    assert ask(web.app, headers=headers(BODY, secret=secret), chunks=[BODY]).status == 404
    assert ask(web.app, "/github", headers=headers(BODY), chunks=[BODY]).status == 401
    again = ask(web.app, "/github", headers=headers(BODY, secret=secret), chunks=[BODY])
    assert again.json["status"] == "duplicate"
    assert ask(web.app, "/stats", method="GET").status == 401
    assert (
        ask(web.app, "/stats", method="GET", headers=[(b"x-api-key", key.encode())]).status == 200
    )
