"""`hls send`: sign a payload as GitHub does and post it to a running service."""

from __future__ import annotations

import http.client
import json
import uuid
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from hls_handler.cli.options import Config, fail, load, refuse
from hls_handler.cli.payloads import PAYLOAD_HELP, find_payload
from hls_handler.cli.say import say, say_lines
from hls_handler.errors import PayloadError
from hls_handler.events import event_key, sip
from hls_handler.sandbox import recorded
from hls_handler.sandbox.recorded import Recorded
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings, webhook_secrets
from hls_handler.web.webhook import sign

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any  # parsed JSON, or text


def send(
    payload: Annotated[str | None, typer.Argument(metavar="EVENT.json|NAME", help=PAYLOAD_HELP)] = None,
    event: Annotated[str | None, typer.Option(help="The event's name, where a file does not tell it.")] = None,
    verbatim: Annotated[
        bool, typer.Option("--verbatim", help="Send the body as it is: the second time it is ignored as a replay.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Print the names of the recorded payloads and end.")] = False,
    config: Config = None,
) -> None:
    """Sign a payload and post it as GitHub would.

    It goes to the running service. The address and the secret are taken from the settings file. The body is made
    unique, since a body that came before is ignored as a replay; --verbatim leaves it alone. Against the demo, the
    thread is planted in its sandbox GitHub first, so that there is something to comment on.

    Exit codes: 0 the service took it; 1 it refused, or did not answer; 2 called wrongly.
    """
    if list_:
        for name in recorded.names():
            say(name)
        return
    if payload is None:
        raise typer.BadParameter("name a payload, or use --list", param_hint="EVENT.json|NAME")
    settings = load(config)
    chosen = find_payload(payload, event)
    body = chosen.body if verbatim else recorded.unique(chosen.body)
    try:
        plant_in_sandbox(settings, chosen, body)
        answer = deliver(settings, chosen.event, body)
    except PayloadError as exc:
        refuse([f"{chosen.name}: {exc}"])
    except (OSError, http.client.HTTPException) as exc:
        fail(f"{address(settings)} did not answer ({exc}); is `hls serve` running with the same settings?")
    say(f"{event_key(chosen.event, chosen.action)} ({chosen.name}, {len(body)} bytes) -> {answer.status}")
    say_lines(json.dumps(answer.body, indent=2) if not isinstance(answer.body, str) else answer.body)
    if answer.status >= 300:
        raise typer.Exit(1)


def address(settings: Settings) -> str:
    """Where the service listens, as it can be called from here."""
    host = EVERY_ADDRESS.get(settings.server.host, settings.server.host)
    bracketed = f"[{host}]" if ":" in host else host
    return f"http://{bracketed}:{settings.server.port}{settings.server.webhook_path}"


def deliver(settings: Settings, event: str, body: bytes, *, guid: str | None = None) -> Answer:
    """Post one signed webhook. Raises `PayloadError`, OSError and http.client's errors."""
    secret = _secret(settings, body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/hls",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid or str(uuid.uuid4()),
        "X-Hub-Signature-256": sign(secret, body).decode("ascii"),
    }
    return _post(address(settings), body, headers)


def plant_in_sandbox(settings: Settings, chosen: Recorded, body: bytes) -> None:
    """Where GitHub is the built-in sandbox, make the payload's thread exist there. Elsewhere, nothing."""
    parts = urlsplit(settings.github.base_url)
    if parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        return
    planted = json.dumps({"event": chosen.event, "payload": json.loads(body)}).encode()
    _post(f"{parts.scheme}://{parts.netloc}/_sandbox/plant", planted, {"Content-Type": "application/json"})


def _secret(settings: Settings, body: bytes) -> bytes:
    """The first secret that is valid for the payload's repository."""
    repository = sip(body).repository
    effective = RepositoryTable(settings).find(repository.full_name) if repository else None
    secrets = effective.webhook_secrets if effective else webhook_secrets(settings.github.webhook_secret)
    return secrets[0]


def _post(url: str, body: bytes, headers: dict[str, str]) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path, body=body, headers=headers)
        response = connection.getresponse()
        raw = response.read().decode(errors="replace")
    finally:
        connection.close()
    try:
        return Answer(response.status, json.loads(raw))
    except ValueError:
        return Answer(response.status, raw)
