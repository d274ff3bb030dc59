"""Settings that change while the service runs: applied as a whole or rejected with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.store.deliveries import DeliveryRow
from tests.e2e.conftest import MakeService
from tests.e2e.service import SECRET, Service, wait_until
from tests.github_fake.server import Sandbox

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


def row(service: Service) -> DeliveryRow:
    with closing(service.open_store()) as store:
        found = store.deliveries.find(GUID)
    assert found is not None
    return found


def deliver_bug(service: Service, sandbox: Sandbox, secret: str = SECRET) -> int:
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    return service.deliver(payload.event, payload.body, guid=GUID, secret=secret).status


def test_a_changed_credential_reschedules_waiting_deliveries(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    """The retry delay is so long that only the change can cause a retry; credentials stay
    masked.
    """
    service = make_service(limits="concurrency: 2")
    change(service, "retry_backoff_s: 0.2", "retry_backoff_s: 300")
    change(service, sandbox.token, REFUSED)
    service.start()
    assert deliver_bug(service, sandbox) == 202
    wait_until(lambda: row(service).failures == 1)
    assert component(service, "github")["state"] == "degraded"
    change(service, REFUSED, sandbox.token)
    wait_until(lambda: row(service).state == "done")
    wait_until(lambda: component(service, "github")["state"] == "healthy")
    log = service.log.read_text()
    assert '"changed": ["github.token"]' in log
    assert "uvicorn.access" not in log
    assert REFUSED not in log
    assert sandbox.token not in log


def test_changes_apply_to_the_next_request_and_invalid_ones_leave_the_last_valid_settings_active(
    service: Service, sandbox: Sandbox
) -> None:
    change(service, "[issues, pull_request", "[pull_request")
    wait_until(lambda: '"message": "settings read again"' in service.log.read_text())
    payload = recorded.load("demo/bug")
    ignored = service.deliver(payload.event, payload.body)
    assert ignored.body["status"] == "ignored"
    assert "issues.opened is not among the events" in ignored.body["reason"]
    change(service, "[pull_request", "[issues, pull_request")
    change(service, SECRET, OTHER_SECRET)
    change(service, "port: 0", "port: 1")
    restart = (
        f"changed settings take effect only after a restart: {service.settings}:2 (server.port)"
    )
    wait_until(lambda: component(service, "settings")["message"] == restart)
    change(service, "port: 1", "port: 0")
    change(service, "repositories:", "repositorys:")
    wait_until(
        lambda: "did you mean repositories?" in str(component(service, "settings")["message"])
    )
    assert component(service, "settings")["message"].startswith(
        f"the changed settings cannot be used, the last valid ones stay active: {service.settings}:"
    )
    assert deliver_bug(service, sandbox, SECRET) == 401
    assert deliver_bug(service, sandbox, OTHER_SECRET) == 202
    service.until_idle()
    assert row(service).state == "done"
    change(service, "repositorys:", "repositories:")
    wait_until(lambda: component(service, "settings")["state"] == "healthy")
