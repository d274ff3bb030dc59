"""`hls send`: sign a payload as GitHub does, and post it to the running service."""

from __future__ import annotations

import http.client
import json
import uuid
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from hls_handler.cli.event_input import PAYLOAD_HELP, EventName, load_payload
from hls_handler.cli.options import AsJson, Config, Limit, abort, fail, http_origin, load
from hls_handler.cli.terminal import print_json, print_line, print_lines
from hls_handler.errors import PayloadError
from hls_handler.events import event_key
from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import Recorded
from hls_handler.routing import parse_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.values import webhook_secrets
from hls_handler.web.webhook import sign

WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    status: int
    body: Any  # parsed JSON, or text


def send(
    payload: Annotated[
        str | None, typer.Argument(metavar="EVENT.json|NAME", help=PAYLOAD_HELP)
    ] = None,
    event: EventName = None,
    verbatim: Annotated[
        bool,
        typer.Option(
            "--verbatim",
            help="Send the body unchanged; the service ignores a second one as a replay.",
        ),
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Print the names of the recorded payloads and exit.")
    ] = False,
    as_json: AsJson = False,
    limit: Limit = None,
    config: Config = None,
) -> None:
    """Sign a payload and post it as GitHub would.

    Uses the service's address and webhook secret from the settings file. The body is made unique,
    because the service ignores a repeated body as a replay; --verbatim leaves it unchanged. If the
    service uses the demo's sandbox, the issue or pull request is first created in the sandbox, so
    that HLS can comment on it. --json and --limit are of --list.
    """
    if list_:
        names = list(islice(recorded.names(), limit))
        if as_json:
            print_json({"payloads": names})
            return
        for name in names:
            print_line(name)
        return
    if as_json or limit is not None:
        raise typer.BadParameter("--json and --limit need --list", param_hint="--list")
    if payload is None:
        raise typer.BadParameter("name a payload, or use --list", param_hint="EVENT.json|NAME")
    settings = load(config)
    chosen = load_payload(payload, event)
    body = chosen.body
    if not verbatim:
        body = recorded.unique(with_sandbox_links(settings, body))
    try:
        _plant_in_sandbox(settings, chosen)
    except (OSError, http.client.HTTPException) as exc:
        fail(
            f"{settings.github.base_url} did not respond ({exc}); is the sandbox that the settings"
            " name running?"
        )
    try:
        response = post_webhook(settings, chosen.event, body)
    except PayloadError as exc:
        abort(f"{chosen.name}: {exc}")
    except (OSError, http.client.HTTPException) as exc:
        fail(
            f"{_webhook_url(settings)} did not respond ({exc}); is `hls serve` running with the"
            " same settings?"
        )
    print_line(
        f"{event_key(chosen.event, chosen.action)} ({chosen.name}, {len(body)} bytes) ->"
        f" {response.status}"
    )
    if isinstance(response.body, str):
        print_lines(response.body)
    else:
        print_lines(json.dumps(response.body, indent=2))
    if response.status >= 300:
        raise typer.Exit(1)


def _webhook_url(settings: Settings) -> str:
    host = WILDCARD_HOSTS.get(settings.server.host, settings.server.host)
    return http_origin(host, settings.server.port) + settings.server.webhook_path


def post_webhook(
    settings: Settings, event: str, body: bytes, *, guid: str | None = None
) -> WebhookResponse:
    """Sign and post a webhook.

    Raises `PayloadError` for an invalid body, and OSError or HTTPException if there is no valid
    response.
    """
    secret = _secret(settings, body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/hls",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid or str(uuid.uuid4()),
        "X-Hub-Signature-256": sign(secret, body).decode("ascii"),
    }
    return _post(_webhook_url(settings), body, headers)


def with_sandbox_links(settings: Settings, body: bytes) -> bytes:
    """Replace GitHub's URLs in a payload by the sandbox's, so that links in comments lead there.

    Returns other services' payloads unchanged.
    """
    origin = _sandbox_origin(settings)
    if origin is None:
        return body
    from hls_sandbox.shapes import localised  # here: not needed without a sandbox

    payload = localised(json.loads(body), api_url=settings.github.base_url, web_url=origin)
    return json.dumps(payload).encode()


def _plant_in_sandbox(settings: Settings, chosen: Recorded) -> None:
    origin = _sandbox_origin(settings)
    if origin is None:
        return
    planted = json.dumps({"event": chosen.event, "payload": json.loads(chosen.body)}).encode()
    _post(f"{origin}/_sandbox/plant", planted, {"Content-Type": "application/json"})


def _sandbox_origin(settings: Settings) -> str | None:
    parts = urlsplit(settings.github.base_url)
    if parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        return None
    return f"{parts.scheme}://{parts.netloc}"


def _secret(settings: Settings, body: bytes) -> bytes:
    effective = RepositoryTable(settings).find(parse_envelope(body).repository_name)
    if effective is None:
        return webhook_secrets(settings.github.webhook_secret)[0]
    return effective.webhook_secrets[0]


def _post(url: str, body: bytes, headers: dict[str, str]) -> WebhookResponse:
    parts = urlsplit(url)
    with closing(
        http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
    ) as connection:
        connection.request("POST", parts.path, body=body, headers=headers)
        response = connection.getresponse()
        raw = response.read().decode(errors="replace")
    try:
        return WebhookResponse(response.status, json.loads(raw))
    except ValueError:
        return WebhookResponse(response.status, raw)
