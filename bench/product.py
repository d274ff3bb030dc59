"""`python -m bench.product CORE URL`: the web application and the console, with a database and without workers."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette

from bench.pages import make_browser
from bench.process import serve_on
from bench.requests import SECRET
from hls_handler import logs
from hls_handler.clients.api import RateLimit
from hls_handler.deliveries import Finished
from hls_handler.engine.health import Health
from hls_handler.log_ring import LogRing
from hls_handler.queue.group_commit import AcceptQueue
from hls_handler.routing import Router, RoutingResult, WebhookEnvelope, from_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.web.app import WebApplication
from hls_handler.web.receiver import Ports
from hls_handler.web.server import make_server
from hls_handler.web.stats import Snapshot


def product(url: str) -> tuple[uvicorn.Server, LogRing]:
    """Make a server that verifies, routes and commits each delivery before it responds, and the ring of its log."""
    settings = Settings.model_validate(
        {
            "github": {"token": "unused", "webhook_secret": SECRET, "base_url": "http://127.0.0.1:9"},  # no key needed
            "claude": {"api_key": "unused"},
            "repositories": [{"name": "*/*"}],
            "storage": {"url": url},
        }
    )
    table = RepositoryTable(settings)
    store = Storage.open(settings.storage.url)
    accepts = AcceptQueue(
        store.queue, replay_window_h=lambda: settings.limits.replay_window_h, on_commit=lambda _accepted: None
    )

    async def route_envelope(event: str, envelope: WebhookEnvelope) -> RoutingResult:
        return Router(settings, table, _OnePrompt()).route(from_envelope(event, envelope))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        accepts.close()
        store.close()

    ports = Ports(
        route=route_envelope,
        accept=accepts.accept,
        count_ping=lambda: None,
        count_rejection=lambda _status: None,
        outcome=_never,
        stats=lambda: Snapshot(store.statistics.counters(), asdict(store.deliveries.queue_state())),
        rate_limit=lambda: RateLimit(None, None, None),
        health=Health(lambda: datetime.now(UTC)),
        clock=time.monotonic,
    )
    browser = make_browser(store)
    application = WebApplication(settings, table, ports, lifespan=lifespan, more_routes=browser.console.routes)
    return make_server(application.app, lambda: settings), browser.log_ring


async def _never(_guid: str) -> Finished:
    raise AssertionError("webhooks are processed later")


class _OnePrompt:
    """A library with one prompt for every event."""

    def on(self, _event_key: str) -> tuple[str, ...]:
        return ("measured/analyze",)

    def label_groups(self, _event: str, _assess: Collection[str] = ()) -> Mapping[str, str]:
        return {}

    def file(self, name: str) -> str:
        return f"prompts/{name}.j2"


if __name__ == "__main__":
    with tempfile.TemporaryFile("w", encoding="utf-8") as log_file:  # the receiver writes a line for each webhook
        server, ring = product(sys.argv[2])
        logs.configure("INFO", "json", log_file, [SECRET], ring=ring)
        serve_on(int(sys.argv[1]), server)
