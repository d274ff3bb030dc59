"""Fakes for the web application, and an ASGI client that sends requests without a server.

`starlette.testclient` rejects invalid headers and paths before it sends them, so `ask` is used
instead.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from hls_handler.console.pages import show_error
from hls_handler.deliveries import Accepted, End, FinalState, NewDelivery
from hls_handler.engine.health import Health
from hls_handler.errors import StoreUnavailable
from hls_handler.github.api import RateLimit
from hls_handler.routing import Ignored, Rule, WebhookEnvelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.web.app import WebApplication
from hls_handler.web.receiver import Ports
from hls_handler.web.stats import StatsDocument, make_stats

SECRET = "the-global-secret-of-all"
OWN_SECRET = "the-secret-of-owner-private"
GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

Headers = list[tuple[bytes, bytes]]


TWO_REPOSITORIES = ({"name": "owner/repo"}, {"name": "owner/private", "webhook_secret": OWN_SECRET})


def settings(
    *,
    repositories: Sequence[Mapping[str, object]] = TWO_REPOSITORIES,
    **sections: Mapping[str, object],
) -> Settings:
    """Return settings of two repositories, one with its own secret; `sections` add keys to a
    section.
    """
    given: dict[str, Any] = {
        "github": {"token": "ghp_token", "webhook_secret": SECRET},
        "claude": {"api_key": "sk-ant-key"},
        "repositories": repositories,
    }
    for name, keys in sections.items():
        given[name] = {**given.get(name, {}), **keys}
    return Settings.model_validate(given)


class FakeStore:
    """Stores deliveries. `broken` makes it unavailable; `answer` is returned for every delivery."""

    def __init__(self) -> None:
        self.deliveries: list[NewDelivery] = []
        self.pongs = 0
        self.rejections: list[int] = []
        self.broken: str | None = None
        self.answer: Accepted | None = None
        self.counted: dict[tuple[str, str, str], int] = {}
        self.reads = 0
        self.may_read = threading.Event()
        self.may_read.set()

    async def accept(self, new: NewDelivery) -> Accepted:
        self._check()
        known = next((one for one in self.deliveries if one.guid == new.guid), None)
        if known is not None:
            return Accepted("duplicate", known.state, known.guid)
        self.deliveries.append(new)
        return self.answer or Accepted(new.state, new.state, new.guid, new.reason)

    def count_ping(self) -> None:
        self.pongs += 1

    def stats(self, rate_limit: RateLimit, uptime_s: float) -> StatsDocument:
        self._check()
        self.reads += 1
        assert self.may_read.wait(20)  # only a defect makes a test wait this long
        return make_stats(self.counted, {"queued": len(self.deliveries)}, rate_limit, uptime_s)

    def _check(self) -> None:
        if self.broken is not None:
            raise StoreUnavailable(self.broken)


class FakeWorkers:
    """Completes a delivery with `state`; never if `state` is None."""

    def __init__(self) -> None:
        self.state: FinalState | None = None
        self.reason: str = ""
        self.waited: list[str] = []  # GUIDs

    async def wait_for_end(self, guid: str) -> End:
        self.waited.append(guid)
        if self.state is None:
            await asyncio.Event().wait()
        assert self.state is not None
        return End(self.state, self.reason)


class FakeClock:
    """A monotonic clock in seconds that only tests change."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class WebSetup:
    """A web application with fakes for everything else."""

    settings: Settings
    store: FakeStore = field(default_factory=FakeStore)
    workers: FakeWorkers = field(default_factory=FakeWorkers)
    clock: FakeClock = field(default_factory=FakeClock)
    health: Health = field(default_factory=lambda: Health(lambda: NOON))
    rate_limit: RateLimit = field(default_factory=lambda: RateLimit(None, None, None))
    installation_changes: list[WebhookEnvelope] = field(default_factory=list)
    enabled: frozenset[str] = frozenset({"issues", "pull_request"})
    body_timeout_s: float = 10.0

    def app(self) -> Starlette:
        return self.web().app

    def deliver(self, body: bytes | None = None, **given: Any) -> Response:
        """Send a valid webhook, by default of an opened issue; `given` as for `headers`."""
        sent = payload() if body is None else body
        return ask(self.app(), headers=headers(sent, **given), chunks=[sent])

    def web(self) -> WebApplication:
        table = RepositoryTable(self.settings)

        def route(event: str, envelope: WebhookEnvelope) -> Rule | Ignored:
            name = envelope.repository.full_name if envelope.repository else ""
            effective = table.find(name)
            if effective is None:
                return Ignored("repository not configured", "add it to repositories")
            if event not in self.enabled or envelope.action == "closed":
                return Ignored("event not enabled", "add it to repositories[0].events")
            return Rule(
                f"{event}.{envelope.action}",
                "issues/analyze",
                effective,
                "prompts/issues/analyze.j2",
            )

        ports = Ports(
            route=route,
            accept=self.store.accept,
            count_ping=self.store.count_ping,
            count_rejection=self.store.rejections.append,
            wait_for_end=self.workers.wait_for_end,
            stats=lambda uptime_s: self.store.stats(self.rate_limit, uptime_s),
            health=self.health,
            clock=self.clock,
            installation_changed=self.installation_changes.append,
            body_timeout_s=self.body_timeout_s,
        )
        return WebApplication(self.settings, table=table, ports=ports, show_error=show_error)


def signature(body: bytes, secret: str = SECRET) -> bytes:
    """Return GitHub's signature, computed without the product's code."""
    return b"sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


def payload(**fields: object) -> bytes:
    """Return the payload of an opened issue; `fields` replace or add keys."""
    return json.dumps(
        {
            "action": "opened",
            "repository": {"id": 186853002, "full_name": "owner/repo"},
            "sender": {"login": "octocat", "type": "User"},
            "issue": {
                "number": 7,
                "title": "Crash",
                "labels": [],
                "user": {"login": "octocat", "id": 583231},
            },
            **fields,
        }
    ).encode()


def headers(
    body: bytes, *, event: str = "issues", secret: str = SECRET, **replaced: str | bytes | None
) -> Headers:
    """Return the headers of a valid request; `replaced` by name with underscores, None removes a
    header.
    """
    given: dict[bytes, bytes | None] = {
        b"content-type": b"application/json",
        b"x-github-event": event.encode(),
        b"x-github-delivery": GUID.encode(),
        b"x-hub-signature-256": signature(body, secret),
    }
    for name, value in replaced.items():
        given[name.replace("_", "-").encode()] = value.encode() if isinstance(value, str) else value
    return [(name, value) for name, value in given.items() if value is not None]


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: ASGIApp,
    path: str = "/webhook",
    *,
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] = (),
    chunks: Sequence[bytes] = (b"",),
    query: bytes = b"",
    http_version: str = "1.1",
    client: tuple[str, int] | None = ("127.0.0.1", 4711),
) -> Response:
    """Send one request in its own event loop and return the response."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": http_version,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": client,
        "headers": list(headers),
    }
    pending = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return pending.pop(0) if pending else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    start = sent[0]
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return Response(
        start["status"], answered, b"".join(message.get("body", b"") for message in sent[1:])
    )
