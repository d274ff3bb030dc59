"""A pause: set by a command, kept over a restart, ended by a command."""

from __future__ import annotations

from contextlib import closing

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.service import Waiting


def test_deliveries_stay_queued_over_a_restart_until_the_pause_ends(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    service = make_service()
    with closing(service.open_store()) as store:
        store.pauses.pause("Codertocat/Hello-World", reason="a migration")
    service.start()
    event = recorded.load("demo/bug")
    sandbox.state.seed("issues", event.payload)
    assert service.deliver("issues", event.body).status == 202
    assert service.stop() == 0
    service.start()
    waiting = Waiting(30)
    while service.get("/health").body["components"]["queue"]["state"] == "unknown" and waiting.more():
        pass
    queue = service.get("/health").body["components"]["queue"]
    assert (queue["state"], queue["remedy"]) == ("degraded", "to end the pause: `hls resume Codertocat/Hello-World`")
    assert queue["message"].endswith(": a migration; 1 of 1 queued delivery is paused")
    stats = service.get("/stats").body["queue"]
    assert (stats["queued"], stats["due"], stats["held"]) == (1, 0, 1)
    assert stats["paused"][0]["reason"] == "a migration"
    assert [request.path for request in sandbox.requests.all() if request.writes] == []
    with closing(service.open_store()) as store:
        assert store.pauses.resume("codertocat/hello-world")
    service.until_idle()
    conversation = sandbox.state.conversation("Codertocat/Hello-World", 11)
    assert conversation is not None
    assert len(conversation.comments) == 1
