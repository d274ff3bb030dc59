"""Settings that change while the service runs: applied as a whole or rejected with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from hls_handler.store.statistics import DeliveryRow
from tests.e2e.conftest import MakeService
from tests.e2e.service import SECRET, Service, Waiting

GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
REFUSED = "a-credential-that-nobody-takes"
OTHER_SECRET = "another-webhook-secret-for-tests"


def change(service: Service, old: str, new: str) -> None:
    text = service.settings.read_text(encoding="utf-8")
    assert old in text
    service.settings.write_text(text.replace(old, new), encoding="utf-8")


def component(service: Service, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = service.get("/health").body["components"][name]
    return found


def until(service: Service, holds: Callable[[], bool]) -> None:
    waiting = Waiting(30)
    while waiting.more():
        if holds():
            return
    raise AssertionError(f"it did not come to that:\n{service.log.read_text()[-5000:]}")


def read_again(service: Service, times: int = 1) -> None:
    until(service, lambda: service.log.read_text().count('"message": "settings read again"') == times)


def row(service: Service) -> DeliveryRow:
    with closing(service.open_store()) as store:
        found = store.deliveries.find(GUID)
    assert found is not None
    return found


def deliver_bug(service: Service, sandbox: Sandbox, secret: str = SECRET) -> int:
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    return service.deliver(payload.event, payload.body, guid=GUID, secret=secret).status


@pytest.mark.parametrize(("dependency", "key"), [("github", "github.token"), ("claude", "claude.api_key")])
def test_a_changed_credential_reschedules_waiting_deliveries(
    make_service: MakeService, sandbox: Sandbox, dependency: str, key: str
) -> None:
    """The retry delay is so long that only the change can cause a retry; credentials stay masked."""
    good = {"github": sandbox.token, "claude": sandbox.api_key}[dependency]
    service = make_service(limits="concurrency: 2")
    change(service, "retry_backoff_s: 0.2", "retry_backoff_s: 300")
    change(service, good, REFUSED)
    service.start()
    assert deliver_bug(service, sandbox) == 202
    until(service, lambda: row(service).failures == 1)
    assert component(service, dependency)["state"] == "degraded"
    change(service, REFUSED, good)
    until(service, lambda: row(service).state == "done")
    until(service, lambda: component(service, dependency)["state"] == "healthy")
    log = service.log.read_text()
    assert f'"changed": ["{key}"]' in log
    assert "uvicorn.access" not in log
    assert REFUSED not in log
    assert good not in log


def test_changed_events_and_webhook_secrets_apply_to_the_next_request(service: Service, sandbox: Sandbox) -> None:
    change(service, "[issues, pull_request", "[pull_request")
    read_again(service)
    payload = recorded.load("demo/bug")
    ignored = service.deliver(payload.event, payload.body)
    assert (ignored.body["status"], "issues.opened is not among the events" in ignored.body["reason"]) == (
        "ignored",
        True,
    )
    change(service, "[pull_request", "[issues, pull_request")
    change(service, SECRET, OTHER_SECRET)
    read_again(service, times=2)
    assert deliver_bug(service, sandbox, SECRET) == 401
    assert deliver_bug(service, sandbox, OTHER_SECRET) == 202
    service.until_idle()
    assert row(service).state == "done"


def test_invalid_settings_leave_the_last_valid_ones_active(service: Service, sandbox: Sandbox) -> None:
    change(service, "repositories:", "repositorys:")
    until(service, lambda: component(service, "settings")["state"] == "degraded")
    message = component(service, "settings")["message"]
    assert message.startswith(
        f"the changed settings cannot be used, the last valid ones stay active: {service.settings}:"
    )
    assert "did you mean repositories?" in message
    assert deliver_bug(service, sandbox) == 202
    service.until_idle()
    assert row(service).state == "done"
    assert service.log.read_text().count("settings cannot be used, the last valid ones stay active") == 1
    change(service, "repositorys:", "repositories:")
    until(service, lambda: component(service, "settings")["state"] == "healthy")


def test_settings_that_need_a_restart_are_reported_and_the_rest_is_applied(service: Service) -> None:
    change(service, "port: 0", "port: 1, api_key: the-key-of-the-dashboard, webhook_path: /github")
    read_again(service)
    assert service.get("/health").body == {"status": "degraded", "service": "github-webhook-handler"}
    headers = {"X-API-Key": "the-key-of-the-dashboard"}
    assert service.get("/api/deliveries").status == 401
    assert service.request("GET", "/api/deliveries", headers=headers).body["deliveries"] == []
    found = service.request("GET", "/health", headers=headers).body["components"]["settings"]
    line = next(n for n, text in enumerate(service.settings.read_text().split("\n"), 1) if text.startswith("server:"))
    assert found["message"] == (
        f"changed settings take effect only after a restart: {service.settings}:{line} (server.port)"
    )
    assert service.deliver("ping", b"{}").status == 404
    assert service.request("POST", "/github").status == 415
