"""Missed webhooks: read from the stand-in GitHub by the service, by `hls catch-up` and by
`hls listen`.
"""

from __future__ import annotations

import json
import signal
from contextlib import closing
from typing import Any

import pytest
from typer.testing import CliRunner

from hls_handler.cli import app
from hls_handler.prompting import recorded
from hls_sandbox.hooks import Hook
from tests.cli.conftest import find_operator_lines
from tests.e2e.conftest import MakeService
from tests.e2e.service import SECRET, Service, free_port, wait_until
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox
from tests.queue.builders import newest

REPOSITORY = "Codertocat/Hello-World"
ENTRY = f'  - {{name: "{REPOSITORY}", events: [issues]}}'
UNSERVED = "https://hls.invalid/webhook"


def add_hook(sandbox: Sandbox, url: str) -> Hook:
    sandbox.state.set_permission(REPOSITORY, sandbox.state.me.login, "admin")
    return sandbox.state.hooks.add(REPOSITORY, url, SECRET)


def open_issue(sandbox: Sandbox, number: int) -> str:
    """Open an issue in the sandbox, which sends the webhook; return the GUID."""
    opened = recorded.load("issues.opened")
    payload: dict[str, Any] = json.loads(recorded.unique(opened.body))
    payload["issue"] |= {"number": number, "id": 1000 + number}
    sandbox.state.seed("issues", payload)
    return sandbox.state.hooks.send("issues", payload)[0].guid


def comments_on(sandbox: Sandbox, number: int) -> int:
    return len(sandbox.conversation(number).comments)


def test_missed_webhooks_are_processed_once_although_the_service_is_killed_meanwhile(
    sandbox: Sandbox, make_service: MakeService
) -> None:
    def is_complete(service: Service, *, of: int) -> bool:
        shown = service.get("/health").body["components"]["catch_up"]
        return bool(
            shown["state"] == "healthy" and shown["looked_at"] >= of and shown["remaining"] == 0
        )

    port = free_port()
    service = make_service(port=port, more=ENTRY, catch_up="enabled: true")
    add_hook(sandbox, f"http://127.0.0.1:{port}/webhook")
    guids = [open_issue(sandbox, number) for number in range(21, 26)]
    service.start()
    wait_until(lambda: sum("/deliveries/" in one.path for one in sandbox.requests.all()) >= 2)
    service.stop(signal.SIGKILL)
    service.start()
    guids.append(open_issue(sandbox, 26))  # received
    wait_until(lambda: is_complete(service, of=5))
    service.until_idle()
    with closing(service.open_store()) as store:
        rows = {row.guid: row for row in newest(store)}
    assert {guid: (rows[guid].state, rows[guid].is_caught_up) for guid in guids} == {
        **dict.fromkeys(guids[:5], ("done", True)),
        guids[5]: ("done", False),
    }
    assert [comments_on(sandbox, number) for number in range(21, 27)] == [1] * 6


@pytest.mark.usefixtures("logging_as_before")
def test_catch_up_command_lists_and_then_processes_missed_webhooks(
    sandbox: Sandbox, make_service: MakeService
) -> None:
    service = make_service(more=ENTRY)  # not started; catch-up is switched off in its settings
    add_hook(sandbox, UNSERVED)
    guid = open_issue(sandbox, 21)
    arguments = ["catch-up", "--config", str(service.settings)]
    listed = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert listed.exit_code == 0
    assert f"{guid[:8]}  status 502  issues.opened  {REPOSITORY}\n" in listed.output
    assert "2 attempts of 1 webhook looked at, 1 payload would be read" in listed.output
    ran = CliRunner().invoke(app, arguments)
    assert (ran.exit_code, ", 1 queued" in ran.output) == (0, True)
    assert [(line["act"], line["number"]) for line in find_operator_lines(ran)] == [("catch-up", 1)]
    assert find_operator_lines(listed) == []
    shown = CliRunner().invoke(app, ["deliveries", "list", "--config", str(service.settings)])
    assert f"{guid[:8]}  waiting  " in shown.output
    assert " · caught up" in shown.output
    open_issue(sandbox, 22)
    sandbox.faults.add(Fault(effect="status", status=502, stand_in="github", path="/deliveries/"))
    unread = CliRunner().invoke(app, arguments)
    assert unread.exit_code == 1
    assert (
        "3 attempts of 1 webhook looked at, 0 payloads read, 0 queued, 1 not readable, 1 remaining"
        in unread.output
    )
    assert "a payload cannot be read: GET /repos/" in unread.output
    sandbox.faults.add(Fault(effect="status", status=404, stand_in="github", path="/deliveries/"))
    lost = CliRunner().invoke(app, arguments)
    assert lost.exit_code == 0
    assert ", 0 payloads read, 0 queued, 1 lost\n" in lost.output
    sandbox.state.set_permission(REPOSITORY, sandbox.state.me.login, "write")
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1
    assert "Webhooks: read" in refused.output


def test_listen_processes_webhooks_without_a_public_address(
    sandbox: Sandbox, make_service: MakeService
) -> None:
    service = make_service(port=free_port(), more=ENTRY)
    service.program, service.options = ("hls_handler", "listen"), ("--every", "1")
    add_hook(sandbox, UNSERVED)
    open_issue(sandbox, 20)  # before the start
    service.start()
    wait_until(lambda: "last_run" in service.get("/health").body["components"]["catch_up"])
    open_issue(sandbox, 21)
    wait_until(lambda: comments_on(sandbox, 21) > 0)
    assert [comments_on(sandbox, number) for number in (20, 21)] == [0, 1]
    skipped = (
        "Webhooks that were sent before now are skipped; --since 2h reads those of the last two"
        " hours, too.\n"
    )
    assert skipped in service.log.read_text()
