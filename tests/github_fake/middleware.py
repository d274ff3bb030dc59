"""ASGI middleware of a stand-in for GitHub or Claude: logs each request without secrets, and
injects faults.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hls_sandbox.claude import error_document
from hls_sandbox.shapes import GitHubError
from hls_sandbox.state import now_utc
from tests.github_fake.faults import REPLY_FAULTS, Effect, Fault, Faults, StandIn, distort

DROP = "hls.sandbox.drop"
"""Key in the ASGI scope. Its value, set by the server, is a function that closes the connection at
once.
"""

INVALID_JSON = b'{"id": 1, "body": "this response is not comple'


MAX_REQUESTS = 20_000
SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request. `path` is percent-encoded as sent, without the stand-in's prefix, such as
    /api/v3.
    """

    at: datetime
    stand_in: StandIn
    method: str
    path: str  # "/repos/o/r/issues/7/labels/type%2Fbug-fix"
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case; secrets are "***"
    body: Any  # parsed JSON, or text if it is not JSON; None without a body
    status: int | None  # None: there was no response
    fault: Effect | None  # the injected fault, if any

    @property
    def writes(self) -> bool:
        return self.method != "GET" and self.path != "/graphql"  # HLS sends no mutations

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat()}


class RequestLog:
    """The last `MAX_REQUESTS` requests, in the order in which they were processed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=MAX_REQUESTS)

    def add(self, request: LoggedRequest) -> None:
        with self._lock:
            self._requests.append(request)

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()

    def all(self, stand_in: StandIn | None = None) -> tuple[LoggedRequest, ...]:
        with self._lock:
            return tuple(
                request for request in self._requests if stand_in in {None, request.stand_in}
            )


@dataclass(slots=True)
class BufferedResponse:
    """A response of the app, collected before it is sent."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class FaultMiddleware:
    """Logs the requests to one stand-in, and injects `faults`.

    When `closing` has a result, hanging requests end.
    """

    def __init__(
        self,
        app: ASGIApp,
        stand_in: StandIn,
        *,
        prefix: str,
        faults: Faults,
        requests: RequestLog,
        closing: Future[None],
    ) -> None:
        self._app = app
        self._stand_in = stand_in
        self._prefix = prefix
        self._faults = faults
        self._requests = requests
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        at = now_utc()
        path = bytes(scope["raw_path"]).decode("latin-1").removeprefix(self._prefix) or "/"
        raw = await _read_body(receive)
        if raw is None:
            return
        fault = self._faults.take(self._stand_in, scope["method"], path)
        response = await self._respond(scope, raw, fault)
        self._requests.add(
            LoggedRequest(
                at=at,
                stand_in=self._stand_in,
                method=scope["method"],
                path=path,
                query=dict(
                    parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
                ),
                headers=_redact_headers(scope["headers"]),
                body=_parse_body(raw),
                status=response.status if response is not None else None,
                fault=fault.effect if fault is not None else None,
            )
        )
        if response is None:
            await self._close_without_response(
                scope, receive, hang=fault is not None and fault.effect in {"hang", "hang_after"}
            )
            return
        await send(
            {"type": "http.response.start", "status": response.status, "headers": response.headers}
        )
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(
        self, scope: Scope, raw: bytes, fault: Fault | None
    ) -> BufferedResponse | None:
        effect: Effect | None = fault.effect if fault is not None else None
        if fault is not None and effect == "status":
            return self._error_response(fault)
        if effect in {"drop", "hang"}:
            return None
        if fault is not None and effect == "slow":
            await asyncio.wait({asyncio.wrap_future(self._closing)}, timeout=fault.seconds)
        response = await self._call_app(scope, raw)
        if effect in {"drop_after", "hang_after"}:
            return None
        if fault is not None and effect == "status_after":
            return self._error_response(fault)
        if effect == "garbage":
            return _with_body(BufferedResponse(200, response.headers), INVALID_JSON)
        if effect in REPLY_FAULTS and response.status == 200:
            return _with_body(
                response, json.dumps(distort(effect, json.loads(response.body))).encode()
            )
        return response

    async def _call_app(self, scope: Scope, raw: bytes) -> BufferedResponse:
        response = BufferedResponse()

        async def receive() -> Message:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = list(message.get("headers", []))
            else:
                response.body += message.get("body", b"")

        await self._app(scope, receive, send)
        return response

    def _error_response(self, fault: Fault) -> BufferedResponse:
        body = fault.body or json.dumps(_error(self._stand_in, fault.status))
        headers = {
            "content-type": "application/json",
            **{name.lower(): value for name, value in fault.headers.items()},
        }
        encoded = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
        return _with_body(BufferedResponse(fault.status, encoded), body.encode())

    async def _close_without_response(self, scope: Scope, receive: Receive, *, hang: bool) -> None:
        disconnected = asyncio.ensure_future(_until_disconnected(receive))
        if hang:
            closing = asyncio.wrap_future(self._closing)
            await asyncio.wait({disconnected, closing}, return_when=asyncio.FIRST_COMPLETED)
        scope[DROP]()
        await disconnected


GITHUB_MESSAGES = {
    401: "Bad credentials",
    403: "Resource not accessible by personal access token",
    404: "Not Found",
    410: "This issue was deleted",
    422: "Validation Failed",
    429: "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
}


def _error(stand_in: StandIn, status: int) -> dict[str, Any]:
    if stand_in == "claude":
        return error_document(status)
    return GitHubError(status, GITHUB_MESSAGES.get(status, "Server Error")).document()


def _with_body(response: BufferedResponse, body: bytes) -> BufferedResponse:
    headers = [
        (name, value) for name, value in response.headers if name.lower() != b"content-length"
    ]
    return BufferedResponse(
        response.status, [*headers, (b"content-length", str(len(body)).encode())], body
    )


def _redact_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    plain = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return {name: "***" if name in SECRET_HEADERS else value for name, value in plain.items()}


def _parse_body(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")


async def _read_body(receive: Receive) -> bytes | None:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
