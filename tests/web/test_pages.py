"""`/health` and `/stats` over HTTP, and all that is not served."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hls_handler.clients.api import RateLimit
from tests.web.fakes import FakeStore, Headers, Surroundings, ask, settings

NOON = "2026-11-20T12:00:00+00:00"
KEY = "schlüssel-zum-dashboard"
GOOD_KEY: Headers = [(b"x-api-key", KEY.encode())]


@pytest.fixture
def around() -> Surroundings:
    return Surroundings(settings())


@pytest.fixture
def locked() -> Surroundings:
    return Surroundings(settings(server={"api_key": KEY}))


def test_health_tells_each_component_since_when_and_what_to_do(around: Surroundings) -> None:
    app = around.app()
    around.clock.now += 12.3456
    around.health.ok("store")
    around.health.set_figures("store", {"database_bytes": 81920, "disk_free_bytes": 5_000_000})
    around.health.report_problem("claude", "401: invalid key", "set claude.api_key")
    unknown = {"state": "unknown", "since": NOON, "message": None, "remedy": None}
    response = ask(app, "/health", method="GET")
    assert (response.status, response.json) == (
        200,
        {
            "status": "degraded",
            "service": "github-webhook-handler",
            "uptime_seconds": 12.346,
            "components": {
                "store": {
                    **unknown,
                    "state": "healthy",
                    "database_bytes": 81920,
                    "disk_free_bytes": 5_000_000,
                },
                "queue": unknown,
                "github": unknown,
                "claude": {
                    "state": "degraded",
                    "since": NOON,
                    "message": "401: invalid key",
                    "remedy": "set claude.api_key",
                },
                "prompts": unknown,
                "settings": unknown,
                "webhooks": unknown,
            },
        },
    )


def test_a_service_that_was_not_used_yet_is_healthy(around: Surroundings) -> None:
    assert ask(around.app(), "/health", method="GET").json["status"] == "healthy"


def test_an_unhealthy_service_answers_503(around: Surroundings) -> None:
    around.health.report_problem("store", "disk full", "make room", severity="unhealthy")
    response = ask(around.app(), "/health", method="GET")
    assert (response.status, response.json["status"]) == (503, "unhealthy")


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [(b"x-api-key", b"wrong")],
        [(b"x-api-key", b"\xff\xfe\x00")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", KEY.encode("latin-1"))],
        [*GOOD_KEY, *GOOD_KEY],
    ],
    ids=["none", "wrong", "not ASCII", "empty", "other encoding", "twice"],
)
def test_rule_6_without_the_key_repositories_and_components_stay_hidden(locked: Surroundings, sent: Headers) -> None:
    locked.health.report_problem("github", "owner/secret is gone", "look")
    locked.store.counted = {("repository", "owner/secret"): 3}
    health = ask(locked.app(), "/health", method="GET", headers=sent)
    assert (health.status, health.json) == (200, {"status": "degraded", "service": "github-webhook-handler"})
    stats = ask(locked.app(), "/stats", method="GET", headers=sent)
    assert (stats.status, stats.json) == (
        401,
        {"detail": "send the service's key (server.api_key) in the header X-API-Key"},
    )
    assert locked.store.reads == 0


def test_rule_6_the_key_is_not_taken_from_the_query_string(locked: Surroundings) -> None:
    query = f"api_key={KEY}&X-API-Key={KEY}".encode()
    assert ask(locked.app(), "/stats", method="GET", query=query).status == 401


def test_rule_6_the_key_opens_both_pages(locked: Surroundings) -> None:
    assert "components" in ask(locked.app(), "/health", method="GET", headers=GOOD_KEY).json
    assert ask(locked.app(), "/stats", method="GET", headers=GOOD_KEY).status == 200


def test_stats_show_the_stores_counters_and_what_is_known_besides(around: Surroundings) -> None:
    around.store.counted = {("webhooks", ""): 5, ("github_requests", ""): 9}
    around.rate_limit = RateLimit(5000, 4991, datetime(2026, 11, 20, 13, 0, tzinfo=UTC))
    app = around.app()
    around.clock.now += 60
    page = ask(app, "/stats", method="GET").json
    assert (page["uptime_seconds"], page["total_webhooks"], page["queue"]) == (60.0, 5, {"queued": 0})
    assert page["github_api"] == {
        "requests_made": 9,
        "rate_limit": {"limit": 5000, "remaining": 4991, "reset_at": "2026-11-20T13:00:00+00:00"},
    }


def test_stats_without_a_store_are_503(around: Surroundings) -> None:
    around.store.broken = "disk full"
    response = ask(around.app(), "/stats", method="GET")
    assert (response.status, response.json) == (503, {"detail": "the store cannot be read now: see /health"})


@pytest.mark.parametrize("path", ["/health", "/stats"])
def test_head_is_answered_and_writing_is_not(around: Surroundings, path: str) -> None:
    assert ask(around.app(), path, method="HEAD").status == 200
    for method in ("POST", "PUT", "DELETE"):
        response = ask(around.app(), path, method=method)
        assert (response.status, response.json) == (405, {"detail": "Method Not Allowed"})
        assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/", "/webhook/", "/health/", "/stats/x", "/favicon.ico", "/docs", "/../etc/passwd"])
def test_an_unknown_path_is_404(around: Surroundings, path: str) -> None:
    response = ask(around.app(), path, method="GET")
    assert (response.status, response.json) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("path", ["/health", "/stats", "/webhook", "/nowhere"])
def test_rule_6_answers_are_neither_cached_nor_sniffed(around: Surroundings, path: str) -> None:
    response = ask(around.app(), path, method="GET")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/health", "/stats"])
def test_rule_6_pages_send_a_strict_content_security_policy(around: Surroundings, path: str) -> None:
    policy = ask(around.app(), path, method="GET").headers["content-security-policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'"


def test_the_webhook_path_is_what_settings_say() -> None:
    app = Surroundings(settings(server={"webhook_path": "/hooks/github"})).app()
    assert ask(app, "/webhook").status == 404
    assert ask(app, "/hooks/github").status == 415


class DefectiveStore(FakeStore):
    def counters(self) -> dict[tuple[str, str], int]:
        raise ZeroDivisionError("at owner/secret")


def test_defect_is_a_500_with_its_request_id_and_without_its_text(around: Surroundings) -> None:
    around.store = DefectiveStore()
    response = ask(around.app(), "/stats", method="GET", headers=[(b"x-request-id", b"request-0815")])
    assert (response.status, response.headers["x-request-id"]) == (500, "request-0815")
    assert response.json == {"detail": "internal error; see the log under this request id"}
