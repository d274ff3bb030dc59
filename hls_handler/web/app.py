"""The web application: routes, `/health` and `/stats`, and the request id.

The request id is the header X-Request-ID of the response, and a field of all log lines about the
request.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import count
from threading import Condition
from typing import (
    Any,
    NotRequired,  # pydantic accepts those of `typing` from Python 3.12 on
    cast,
)

from cachetools import TTLCache, cached
from pydantic import ConfigDict, with_config
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send
from typing_extensions import TypedDict

from hls_handler import __version__, logs
from hls_handler.engine.health import ComponentHealth, ComponentState, Overall
from hls_handler.errors import StoreUnavailable
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.shipped import find_commit
from hls_handler.web.callers import Callers
from hls_handler.web.receiver import BodyBudget, Ports, WebhookReceiver
from hls_handler.web.stats import StatsDocument
from hls_handler.web.webhook import WebhookSecrets

SERVICE = "github-webhook-handler"
CONTENT_SECURITY_POLICY = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}
MAX_STATS_AGE_S = 1.0
MAX_LOGGED_PATH = 200  # characters
API_PATHS = re.compile(r"/(api|analyses)(/|\Z)")
"""Paths whose errors are problem details (RFC 9457)."""

REQUEST_ID_HEADER = b"x-request-id"
INTERNAL_ERROR = "internal error; see the log under this request id"
HARDENING = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
CLOSE = (b"connection", b"close")

_PROCESS = os.urandom(8).hex()
_numbers = count(1)
_VALID_ID = re.compile(rb"[A-Za-z0-9-]{8,64}")
_UUID = re.compile(rb"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})

log = logging.getLogger(__name__)


@with_config(ConfigDict(extra="allow"))
class ComponentDocument(TypedDict):
    """The state of a component. Some have more keys, such as `database_bytes` of `store`."""

    state: ComponentState
    since: str
    message: str | None
    remedy: str | None


class HealthDocument(TypedDict):
    """The document of /health. With `server.api_key`, only requests with the key get all of it."""

    status: Overall
    service: str
    version: NotRequired[str]
    commit: NotRequired[str]
    uptime_seconds: NotRequired[float]
    components: NotRequired[dict[str, ComponentDocument]]


ShowError = Callable[[Request, HTTPException], Response]
MoreRoutes = Callable[[Settings], Sequence[BaseRoute]]


class WebApplication:
    """The Starlette application `app`. After a change of settings, `apply` replaces the routes
    without a restart.
    """

    def __init__(
        self,
        settings: Settings,
        table: RepositoryTable,
        ports: Ports,
        *,
        lifespan: Lifespan[Starlette] | None = None,
        more_routes: MoreRoutes = lambda _settings: (),
        show_error: ShowError | None = None,
    ) -> None:
        """`lifespan` starts and stops all threads.

        `more_routes` returns the routes of the console for some settings. `show_error` returns the
        page about an error, for browsers; others get JSON.
        """
        self._more_routes = more_routes
        self._show_error = show_error
        self._ports = ports
        self._started_at = ports.clock()
        self._commit = find_commit()
        results = TTLCache[Any, StatsDocument](1, MAX_STATS_AGE_S, timer=ports.clock)
        self._read_stats = cached(results, condition=Condition())(self._read_new_stats)
        self._budget = BodyBudget(ports.clock)
        self.app = Starlette(
            middleware=[Middleware(RequestIdMiddleware)],
            exception_handlers={HTTPException: self._answer_error},
            lifespan=lifespan,
        )
        self.app.router.redirect_slashes = (
            False  # GitHub does not follow redirects; 404 shows that the path is wrong
        )
        self.apply(settings, table)

    def apply(self, settings: Settings, table: RepositoryTable) -> None:
        """Use these settings from the next request on. Thread-safe."""
        self._callers = Callers(settings.server)
        routes = [
            Route("/health", self._show_health),
            Route("/stats", self._show_stats),
            *self._more_routes(settings),
        ]
        if self._ports.receives_webhooks:
            receiver = WebhookReceiver(
                settings, WebhookSecrets(settings, table), self._budget, self._ports
            )
            routes[:0] = [Route(path, receiver) for path in settings.server.webhook_paths]
        self.app.router.routes = [*routes]

    async def _show_health(self, request: Request) -> Response:
        snapshot = self._ports.health.snapshot()
        page: HealthDocument = {"status": snapshot.overall, "service": SERVICE}
        if self._callers.may_read(request):
            page["version"] = __version__
            page["commit"] = self._commit
            page["uptime_seconds"] = self._uptime_s()
            page["components"] = {
                name: _component(component) for name, component in snapshot.components.items()
            }
        if snapshot.overall == "unhealthy":
            return _page(page, status=503)
        return _page(page)

    def _uptime_s(self) -> float:
        return round(self._ports.clock() - self._started_at, 3)

    def _read_new_stats(self) -> StatsDocument:
        return self._ports.stats(self._uptime_s())

    def _show_stats(self, request: Request) -> Response:
        if not self._callers.may_read(request):
            return _page(
                {"detail": "send the service's key (server.api_key) in the header X-API-Key"},
                status=401,
            )
        try:
            return _page(self._read_stats())
        except StoreUnavailable:
            return _page({"detail": "the database cannot be read now; see /health"}, status=503)

    def _answer_error(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        if exc.status_code == 404 and "x-github-event" in request.headers:
            reason = (
                f"the path is {request.url.path[:MAX_LOGGED_PATH]}, and not server.webhook_path"
            )
            log.info(
                "webhook received", extra={"decision": "rejected", "reason": reason, "status": 404}
            )
        is_api = API_PATHS.match(request.url.path) is not None
        if (
            not is_api
            and self._show_error is not None
            and "text/html" in request.headers.get("accept", "")
        ):
            return self._show_error(request, exc)
        if is_api:
            content = {
                "type": "about:blank",
                "title": HTTPStatus(exc.status_code).phrase,
                "status": exc.status_code,
            }
            problem = {**content, "detail": exc.detail}
            return JSONResponse(
                problem, exc.status_code, headers=exc.headers, media_type="application/problem+json"
            )
        return JSONResponse(
            {"detail": exc.detail}, status_code=exc.status_code, headers=exc.headers
        )


def _component(component: ComponentHealth) -> ComponentDocument:
    document: ComponentDocument = {
        "state": component.state,
        "since": component.since.isoformat(),
        "message": component.message,
        "remedy": component.remedy,
    }
    return cast(ComponentDocument, {**document, **component.metrics})


def _page(content: Mapping[str, object], *, status: int = 200) -> Response:
    return JSONResponse(content, status_code=status, headers=CONTENT_SECURITY_POLICY)


class RequestIdMiddleware:
    """ASGI middleware that puts the request id into log lines, `request.state` and the headers of
    every response.

    The response closes the connection if the request has a body that no route has read, as after a
    404 or 405.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = given_request_id(scope["headers"]) or new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = [*message["headers"]]
                names = [name for name, _ in headers]
                headers += [one for one in response_headers(request_id) if one[0] not in names]
                is_read = scope["method"] == "POST" and message["status"] not in (404, 405)
                if not is_read and _has_body(scope["headers"]):
                    headers.append(CLOSE)
            await send(message)

        logs.set_log_ids(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_id)
        # the top of a request: without this, the trace is logged without the request id
        except Exception:
            log.exception("request failed because of a defect in HLS")
            await JSONResponse({"detail": INTERNAL_ERROR}, 500)(scope, receive, send_with_id)


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name in _BODY_HEADERS and value != b"0" for name, value in headers)


def given_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the X-Request-ID of a request; None unless it occurs once and has 8 to 64 letters,
    digits or hyphens.

    A UUID loses its hyphens: a caller must not choose the GUID of a delivery, whose log would then
    have this request.
    """
    values = [value for name, value in headers if name == REQUEST_ID_HEADER]
    if len(values) != 1 or not _VALID_ID.fullmatch(values[0]):
        return None
    request_id = values[0].decode("ascii")
    if _UUID.fullmatch(values[0]):
        return request_id.replace("-", "")
    return request_id


def new_request_id() -> str:
    """Return 32 hexadecimal digits: 16 random ones of this process, and the number of the
    request.
    """
    return f"{_PROCESS}{next(_numbers):016x}"


def response_headers(request_id: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every response without others of these names: no type sniffing, no
    caching, the id.
    """
    return ((REQUEST_ID_HEADER, request_id.encode("ascii")), *HARDENING)
