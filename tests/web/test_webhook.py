"""Headers, signatures and secrets of webhook requests, and the conversion of a request to a new
delivery.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from hls_handler.deliveries import NewDelivery
from hls_handler.errors import PayloadError
from hls_handler.routing import Ignored, Rule, parse_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.web.webhook import (
    Rejected,
    WebhookHeaders,
    WebhookSecrets,
    check_payload,
    new_delivery,
    parse_headers,
    sign,
)
from tests.web.fakes import OWN_SECRET, SECRET, payload, settings, signature

SIGNATURE = b"sha256=" + b"0" * 64
GOOD = (
    (b"host", b"hls.example"),
    (b"content-type", b"application/json"),
    (b"content-length", b"12"),
    (b"x-github-event", b"issues"),
    (b"x-github-delivery", b"72d3162e-cc78-11e3-81ab-4c9367dc0958"),
    (b"x-hub-signature-256", SIGNATURE),
)


def having(name: bytes, *values: bytes) -> list[tuple[bytes, bytes]]:
    return [header for header in GOOD if header[0] != name] + [(name, value) for value in values]


NOT_VERIFIED = "the request could not be verified: check the webhook's secret"


@pytest.mark.parametrize(
    ("name", "values", "status"),
    [
        (b"x-github-event", (b"Issues",), 400),
        (b"x-github-delivery", (b"\xff\xfe",), 400),
        (b"x-github-delivery", (b"batch-3-7-0",), 400),
        (b"x-hub-signature-256", (SIGNATURE, SIGNATURE), 401),
        (b"x-hub-signature-256", (b"sha1=" + b"0" * 40,), 401),
        (b"content-type", (), 415),
        (b"content-type", (b"application/json; " + b"x" * 300,), 400),
        (b"content-length", (b"1" * 5000,), 400),
    ],
)
def test_rule_4_invalid_headers_are_rejected_with_one_sentence(
    name: bytes, values: tuple[bytes, ...], status: int
) -> None:
    with pytest.raises(Rejected) as rejected:
        parse_headers(having(name, *values), signed=True)
    assert rejected.value.status == status
    assert "\n" not in rejected.value.detail
    assert (rejected.value.detail == NOT_VERIFIED) == (status == 401)


@pytest.mark.parametrize(
    ("content_type", "is_form"),
    [
        (b"application/json", False),
        (b"Application/JSON; charset=utf-8", False),
        (b"application/x-www-form-urlencoded;charset=UTF-8", True),
    ],
)
def test_both_content_types_of_github_are_accepted(content_type: bytes, is_form: bool) -> None:
    assert parse_headers(having(b"content-type", content_type), signed=True).is_form is is_form


def secrets(**github: object) -> WebhookSecrets:
    given = settings(github=github)
    return WebhookSecrets(given, RepositoryTable(given))


def test_rule_2_test_vector_of_github_is_valid() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation"""
    assert (
        sign(b"It's a Secret to Everybody", b"Hello, World!")
        == b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


@pytest.mark.parametrize("secret", ["the-old-secret-0123", "the-new-secret-0123"])
def test_rule_2_several_secrets_are_valid_during_rotation(secret: str) -> None:
    rotating = secrets(webhook_secret=["the-old-secret-0123", "the-new-secret-0123"])
    assert rotating.find_matching(b"{}", signature(b"{}", secret)) == secret.encode()
    assert rotating.is_allowed(secret.encode(), "owner/repo")


@pytest.mark.parametrize(
    ("secret", "repository", "allowed"),
    [
        (SECRET, "owner/repo", True),
        (OWN_SECRET, "owner/private", True),
        (OWN_SECRET, "Owner/Private", True),
        (OWN_SECRET, "owner/repo", False),
        (SECRET, "owner/private", False),
        (SECRET, "", True),
        (OWN_SECRET, "", False),
    ],
)
def test_rule_2_a_secret_is_valid_only_for_its_repositories(
    secret: str, repository: str, allowed: bool
) -> None:
    assert secrets().is_allowed(secret.encode(), repository) is allowed


# --- the delivery
# -----------------------------------------------------------------------------

NO = Ignored("event not enabled", "add issues to config/settings.yaml:14 (repositories[0].events)")


def rule() -> Rule:
    effective = RepositoryTable(settings()).find("owner/repo")
    assert effective is not None
    return Rule("issues.opened", "issues/analyze", effective, "prompts/issues/analyze.j2")


def arrived(
    body: bytes, routed: Rule | Ignored, *, event: str = "issues", settle_s: float = 0.0
) -> NewDelivery:
    head = WebhookHeaders(event, "guid-1", b"", is_form=False, content_length=None)
    given = settings(limits={"settle_s": settle_s})
    return new_delivery(head, parse_envelope(body), routed, body, given, request_id="request-1")


def test_a_queued_delivery_has_all_fields_and_the_body() -> None:
    body = payload()
    assert arrived(body, rule()) == NewDelivery(
        guid="guid-1",
        event="issues",
        action="opened",
        request_id="request-1",
        state="queued",
        repository_id=186853002,
        repository="owner/repo",
        number=7,
        sender="octocat",
        title="Crash",
        digest=(186853002).to_bytes(8, "big")
        + (7).to_bytes(8, "big")
        + hashlib.sha256(body).digest(),
        body=body,
    )


def test_rule_5_an_ignored_delivery_has_neither_body_nor_digest() -> None:
    new = arrived(payload(), NO)
    assert (new.state, new.reason, new.reason_kind) == ("ignored", NO.reason, "event not enabled")
    assert (new.body, new.digest) == (b"", None)


def test_an_ignored_delivery_that_may_outdate_a_check_is_queued_with_its_body() -> None:
    new = arrived(
        payload(), Ignored("asked to skip", "[skip hls] in the title", is_for_worker=True)
    )
    assert (new.state, new.reason, new.body) == ("queued", None, payload())


QUEUED = rule()


@pytest.mark.parametrize(
    ("event", "action", "routed", "supersedes", "priority", "settle_s"),
    [
        ("pull_request", "synchronize", QUEUED, "older_commits", 1, 5.0),
        ("pull_request", "synchronize", NO, "nothing", 1, 0.0),
        ("pull_request", "closed", NO, "all", 1, 0.0),
        ("pull_request", "review_requested", QUEUED, "nothing", 2, 0.0),
        ("issues", "closed", NO, "all", 0, 0.0),
        ("issues", "deleted", NO, "all", 0, 0.0),
        ("issues", "synchronize", QUEUED, "nothing", 0, 0.0),
        ("issue_comment", "created", QUEUED, "nothing", 2, 0.0),
        ("milestone", "closed", NO, "nothing", 0, 0.0),
    ],
)
def test_event_decides_what_it_supersedes_its_priority_and_whether_it_waits_for_a_newer_push(
    event: str, action: str, routed: Rule | Ignored, supersedes: str, priority: int, settle_s: float
) -> None:
    body = json.dumps(
        {"action": action, "pull_request": {"number": 7, "head": {"sha": "c0ffee"}}}
    ).encode()
    new = arrived(body, routed, event=event, settle_s=5.0)
    assert (new.supersedes, new.priority, new.settle_s) == (supersedes, priority, settle_s)
    assert (new.head_sha, new.number) == ("c0ffee", 7)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"issue": None}, "the payload does not fit the event issues: it has no issue"),
        ({"action": "a\x00b"}, "invalid payload: action has invisible characters"),
        ({"sender": {"login": "a\nb"}}, "invalid payload: sender.login has invisible characters"),
        (
            {"repository": {"id": 1, "full_name": "a\x00/b"}},
            "invalid payload: repository.full_name must have the form owner/repo",
        ),
        ({"issue": {"number": 0}}, "invalid payload: Expected `int` >= 1 - at `$.issue.number`"),
        (
            {"pull_request": {"number": 1, "head": {"sha": "\x7f"}}},
            "invalid payload: pull_request.head.sha has invisible characters",
        ),
    ],
)
def test_rule_5_a_body_that_does_not_match_its_event_is_rejected(
    fields: dict[str, object], sentence: str
) -> None:
    with pytest.raises(PayloadError) as error:
        check_payload("issues", parse_envelope(payload(**fields)))
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("title", "stored"),
    [
        ("Crash\non \u202estart", "Crash on start"),
        ("ghp_0123456789abcdefghij0123456789abcdef leaked", "[redacted: github-token] leaked"),
    ],
)
def test_title_is_stored_in_one_line_redacted_and_cut(title: str, stored: str | None) -> None:
    assert arrived(payload(issue={"number": 7, "title": title}), NO).title == stored


@pytest.mark.parametrize(
    ("event", "body", "title"),
    [
        (
            "workflow_run",
            {"workflow_run": {"head_sha": "a1", "name": "CI", "head_branch": "main"}},
            "CI on main",
        ),
        ("check_run", {"check_run": {"head_sha": "a1", "name": "lint"}}, "lint"),
        (
            "push",
            {"ref": "refs/heads/fix", "commits": [{"id": "a"}, {"id": "b"}]},
            "fix: 2 commits",
        ),
        ("push", {"ref": "refs/tags/v1.2.0", "commits": []}, "tags/v1.2.0: 0 commits"),
        ("release", {"release": {"tag_name": "v1.2.0"}}, "v1.2.0"),
        ("star", {"action": "created"}, None),
    ],
)
def test_runs_pushes_and_releases_have_titles(
    event: str, body: dict[str, object], title: str | None
) -> None:
    assert arrived(payload(issue=None, **body), NO, event=event).title == title
