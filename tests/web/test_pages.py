"""`/health` and `/stats` over HTTP, and unknown paths."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hls_handler import __version__
from hls_handler.github.api import RateLimit
from hls_handler.settings.shipped import find_commit
from tests.web.fakes import Headers, WebSetup, ask, headers, payload, settings

NOON = "2026-11-20T12:00:00+00:00"
KEY = "schlüssel-zum-dashboard"
GOOD_KEY: Headers = [(b"x-api-key", KEY.encode())]


@pytest.fixture
def setup() -> WebSetup:
    return WebSetup(settings())


@pytest.fixture
def locked() -> WebSetup:
    return WebSetup(settings(server={"api_key": KEY}))


def test_health_has_time_and_remedy_of_each_component(setup: WebSetup) -> None:
    app = setup.app()
    setup.clock.now += 12.3456
    setup.health.ok("store")
    setup.health.set_metrics("store", {"database_bytes": 81920})
    setup.health.report_problem("claude", "401: invalid key", "set claude.api_key")
    response = ask(app, "/health", method="GET")
    components = response.json.pop("components")
    assert response.status == 200
    document = {name: value for name, value in response.json.items() if name != "components"}
    assert document == {
        "status": "degraded",
        "service": "github-webhook-handler",
        "version": __version__,
        "commit": find_commit(),
        "uptime_seconds": 12.346,
    }
    unknown = {"state": "unknown", "since": NOON, "message": None, "remedy": None}
    assert components == {
        **dict.fromkeys(
            ("queue", "github", "prompts", "settings", "webhooks", "catch_up", "mirror"), unknown
        ),
        "store": {**unknown, "state": "healthy", "database_bytes": 81920},
        "claude": {
            **unknown,
            "state": "degraded",
            "message": "401: invalid key",
            "remedy": "set claude.api_key",
        },
    }


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [(b"x-api-key", b"\xff\xfe\x00")],
        [*GOOD_KEY, *GOOD_KEY],
    ],
    ids=["none", "not ASCII", "twice"],
)
def test_rule_6_repositories_and_components_need_the_key(locked: WebSetup, sent: Headers) -> None:
    locked.health.report_problem("github", "owner/secret is gone", "look")
    locked.store.counted = {("event", "issues.opened", "owner/secret"): 3}
    health = ask(locked.app(), "/health", method="GET", headers=sent)
    assert (health.status, health.json) == (
        200,
        {"status": "degraded", "service": "github-webhook-handler"},
    )
    stats = ask(locked.app(), "/stats", method="GET", headers=sent)
    assert (stats.status, stats.json) == (
        401,
        {"detail": "send the service's key (server.api_key) in the header X-API-Key"},
    )
    assert locked.store.reads == 0


def test_rule_6_users_of_the_trusted_proxy_need_no_key_and_their_header_opens_no_webhook() -> None:
    proxy = {"networks": ("10.0.0.0/8",), "user_header": "X-User"}
    app, user = WebSetup(settings(server={"trusted_proxy": proxy})).app(), [(b"x-user", b"mona")]
    for path, status, given, client in (
        ("/stats", 200, user, "10.0.0.1"),
        ("/stats", 401, user, "192.0.2.1"),
        ("/stats", 401, [], "10.0.0.1"),
        ("/stats", 401, [(b"x-api-key", b"")], "10.0.0.1"),
    ):
        assert ask(app, path, method="GET", headers=given, client=(client, 1)).status == status
    assert (
        "components" in ask(app, "/health", method="GET", headers=user, client=("10.0.0.1", 1)).json
    )
    assert "components" not in ask(app, "/health", method="GET", headers=user).json
    body = payload()
    unsigned = [*headers(body, x_hub_signature_256=None), *user]
    assert ask(app, headers=unsigned, chunks=[body], client=("10.0.0.1", 1)).status == 401
    signed = [*headers(body), *user]
    assert ask(app, headers=signed, chunks=[body], client=("192.0.2.1", 1)).status == 202


def test_rule_6_the_key_is_accepted_in_the_header_and_not_in_the_query_string(
    locked: WebSetup,
) -> None:
    query = f"api_key={KEY}&X-API-Key={KEY}".encode()
    assert ask(locked.app(), "/stats", method="GET", query=query).status == 401
    assert ask(locked.app(), "/stats", method="GET", headers=GOOD_KEY).status == 200
    assert "components" in ask(locked.app(), "/health", method="GET", headers=GOOD_KEY).json


def test_stats_contain_counters_of_the_store_and_of_the_process(setup: WebSetup) -> None:
    setup.store.counted = {("webhooks", "", ""): 5, ("github_requests", "", ""): 9}
    setup.rate_limit = RateLimit(5000, 4991, datetime(2026, 11, 20, 13, 0, tzinfo=UTC))
    app = setup.app()
    setup.clock.now += 60
    page = ask(app, "/stats", method="GET").json
    assert (page["uptime_seconds"], page["total_webhooks"], page["queue"]) == (
        60.0,
        5,
        {"queued": 0},
    )
    assert page["github_api"] == {
        "requests_made": 9,
        "rate_limit": {"limit": 5000, "remaining": 4991, "reset_at": "2026-11-20T13:00:00+00:00"},
    }


def test_stats_without_a_store_are_503(setup: WebSetup) -> None:
    setup.store.broken = "disk full"
    response = ask(setup.app(), "/stats", method="GET")
    assert (response.status, response.json) == (
        503,
        {"detail": "the database cannot be read now; see /health"},
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/<b>\u202e", 404, "There is no page /&lt;b&gt;\\u202e."),
        ("GET", "/webhook", 405, "Webhooks are sent with POST."),
    ],
)
def test_browser_gets_a_page_about_an_error(
    setup: WebSetup, method: str, path: str, status: int, text: str
) -> None:
    accept = (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")
    response = ask(setup.app(), path, method=method, headers=[accept])
    assert (response.status, response.headers["content-type"]) == (
        status,
        "text/html; charset=utf-8",
    )
    assert f'<p role="alert" class="banner danger">{text}</p>' in response.text
    assert '<a href="/">Overview</a>' in response.text
    assert ("allow" in response.headers) == (status == 405)
    assert (
        ask(setup.app(), f"/api{path}", method="GET", headers=[accept]).headers["content-type"]
        == "application/problem+json"
    )


def test_webhook_to_another_path_is_logged(
    setup: WebSetup, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert ask(setup.app(), "/webhooks", headers=[(b"x-github-event", b"issues")]).status == 404
        assert ask(setup.app(), "/favicon.ico", method="GET").status == 404
    (record,) = caplog.records
    assert (record.message, record.__dict__["reason"]) == (
        "webhook received",
        "the path is /webhooks, and not server.webhook_path",
    )


@pytest.mark.parametrize("path", ["/health", "/stats", "/webhook", "/nowhere"])
def test_rule_6_responses_forbid_caching_and_sniffing_and_have_a_strict_policy(
    setup: WebSetup, path: str
) -> None:
    response = ask(setup.app(), path, method="GET")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    if path in ("/health", "/stats"):
        policy = response.headers["content-security-policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"
