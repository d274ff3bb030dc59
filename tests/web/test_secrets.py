"""Rule 19: no response, log line or repr of `web/` contains a secret."""

from __future__ import annotations

import base64
import inspect
import logging
from urllib.parse import quote

import pytest

from hls_handler.settings.effective import RepositoryTable
from hls_handler.web import callers, webhook
from hls_handler.web.webhook import WebhookSecrets
from tests.web.fakes import Headers, Response, WebSetup, ask, headers, payload, settings

WEBHOOK, OWN, API_KEY = (
    "marker/webhook+secret/0001",
    "marker/own+secret/of/one/2",
    "marker/api+key/00000003",
)
GIVEN = settings(
    github={"webhook_secret": WEBHOOK, "token": "marker/github+token/4"},
    claude={"api_key": "marker/claude+key/005"},
    server={"api_key": API_KEY, "max_body_bytes": 5000},
    repositories=[{"name": "owner/repo"}, {"name": "owner/private", "webhook_secret": OWN}],
)
KEY: Headers = [(b"x-api-key", API_KEY.encode())]


def test_rule_19_responses_and_log_lines_contain_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def spellings(secret: str) -> list[str]:
        return [
            secret,
            base64.b64encode(secret.encode()).decode().rstrip("="),
            quote(secret, safe=""),
            "marker",
        ]

    def everything_that_can_happen(setup: WebSetup) -> list[Response]:
        app, body = setup.app(), payload()
        good, foreign = headers(body, secret=WEBHOOK), headers(body, secret=OWN)
        answers = [
            ask(app, headers=sent, chunks=[chunk])
            for sent, chunk in [
                (good, body),
                (good, body + b" "),
                (foreign, body),
                (headers(b"{}", secret=WEBHOOK), b"{}"),
                (headers(b"[", secret=WEBHOOK), b"["),
                (headers(body, event="ping", secret=WEBHOOK), body),
                (headers(body, event="star", secret=WEBHOOK), body),
                (good, body * 100),
            ]
        ]
        setup.store.broken = "disk full"
        answers += [ask(app, headers=headers(body, secret=WEBHOOK), chunks=[body])]
        answers += [
            ask(app, path, method="GET", headers=sent)
            for path in ("/health", "/stats", "/x")
            for sent in ([], KEY)
        ]
        setup.store.broken = None
        return [*answers, ask(app, "/stats", method="GET", headers=KEY)]

    caplog.set_level(logging.DEBUG)
    answers = everything_that_can_happen(WebSetup(GIVEN))
    assert {answer.status for answer in answers} == {200, 202, 400, 401, 404, 413, 503}
    shown = [f"{answer.headers} {answer.body!r}" for answer in answers]
    shown += [str(record.__dict__) + record.getMessage() for record in caplog.records]
    assert any("the secret that matched is not valid for owner/repo" in text for text in shown)
    for secret in (WEBHOOK, OWN, API_KEY):
        for spelling in spellings(secret):
            assert [text for text in shown if spelling in text] == []


def test_rule_19_webhook_secrets_are_not_in_their_repr() -> None:
    secrets = WebhookSecrets(GIVEN, RepositoryTable(GIVEN))
    assert "marker" not in f"{secrets!r} {secrets}"


def test_rules_2_and_6_secrets_are_compared_in_constant_time() -> None:
    """Time cannot be measured reliably, so the test reads the code."""
    for module in (webhook, callers):
        assert inspect.getsource(module).count("hmac.compare_digest(") == 1
