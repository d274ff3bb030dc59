"""Every recorded payload, signed and with its event enabled, sent to the receiver."""

from __future__ import annotations

import pytest

from hls_handler.prompting import recorded
from tests.web.fakes import GUID, WebSetup, ask, headers, settings

EVERYWHERE = settings(repositories=[{"name": "*/*"}])


@pytest.mark.parametrize("name", recorded.names())
def test_every_recorded_payload_is_queued_or_gets_a_reason(name: str) -> None:
    payload = recorded.load(name)
    setup = WebSetup(EVERYWHERE, enabled=frozenset({payload.event}))
    response = ask(setup.app(), headers=headers(payload.body, event=payload.event), chunks=[payload.body])
    response_fields = (response.status, response.json["status"], bool(response.json.get("reason")))
    if payload.event == "ping":
        assert (response_fields, setup.store.deliveries) == ((200, "pong", False), [])
        return
    [delivery] = setup.store.deliveries
    assert (delivery.guid, delivery.event, delivery.action) == (GUID, payload.event, payload.action)
    assert response_fields == (
        (202, "queued", False) if delivery.repository and delivery.action != "closed" else (200, "ignored", True)
    )


def test_all_329_recorded_payloads_are_tested() -> None:
    assert len([name for name in recorded.names() if not name.startswith("demo/")]) == 329
