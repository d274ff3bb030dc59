"""Every recorded payload through the door, signed, each with its event enabled."""

from __future__ import annotations

import pytest

from hls_handler.prompting import recorded
from tests.web.fakes import GUID, Surroundings, ask, headers, settings

EVERYWHERE = settings(repositories=[{"name": "*/*"}])


@pytest.mark.parametrize("name", recorded.names())
def test_every_recorded_payload_is_queued_or_gets_a_reason(name: str) -> None:
    payload = recorded.load(name)
    around = Surroundings(EVERYWHERE, enabled=frozenset({payload.event}))
    response = ask(around.app(), headers=headers(payload.body, event=payload.event), chunks=[payload.body])
    told = (response.status, response.json["status"], bool(response.json.get("reason")))
    if payload.event == "ping":
        assert (told, around.store.kept) == ((200, "pong", False), [])
        return
    [kept] = around.store.kept
    assert (kept.guid, kept.event, kept.action) == (GUID, payload.event, payload.action)
    assert told == ((202, "queued", False) if kept.repository and kept.action != "closed" else (200, "ignored", True))


def test_none_of_them_is_missing() -> None:
    assert len([name for name in recorded.names() if not name.startswith("demo/")]) == 329
