"""A stand-in's front: remembers each request, and fails those that a fault takes. ASGI, around the app itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hls_handler.sandbox.distort import DISTORTIONS, distorted
from hls_handler.sandbox.faults import Effect, Fault, Faults, StandIn
from hls_handler.sandbox.seen import Seen, SeenLog, parsed, without_secrets

DROP = "hls.sandbox.drop"
"""Key in the scope of a function that closes the connection at once; the server puts it there."""

BROKEN_JSON = b'{"id": 1, "body": "and here the answer brea'


@dataclass(slots=True)
class Reply:
    """An answer as it is being collected."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class Front:
    """`errors` makes the stand-in's own error document of a status. `closing` ends hanging requests."""

    def __init__(
        self,
        app: ASGIApp,
        stand_in: StandIn,
        *,
        prefix: str,
        faults: Faults,
        seen: SeenLog,
        clock: Callable[[], datetime],
        closing: asyncio.Event,
        errors: Callable[[int], Mapping[str, Any]],
    ) -> None:
        self._app, self._stand_in, self._prefix = app, stand_in, prefix
        self._faults, self._seen, self._clock = faults, seen, clock
        self._closing, self._errors = closing, errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        at = self._clock()
        path = bytes(scope["raw_path"]).decode("latin-1").removeprefix(self._prefix) or "/"
        raw = await _whole_body(receive)
        if raw is None:
            return
        fault = self._faults.take(self._stand_in, scope["method"], path)
        reply = await self._reply(scope, raw, fault)
        self._seen.add(
            Seen(
                at=at,
                stand_in=self._stand_in,
                method=scope["method"],
                path=path,
                query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
                headers=without_secrets(scope["headers"]),
                body=parsed(raw),
                status=reply.status if reply is not None else None,
                fault=fault.effect if fault is not None else None,
                took_s=(self._clock() - at).total_seconds(),
            )
        )
        if reply is None:
            await self._say_nothing(scope, receive, hang=fault is not None and fault.effect in {"hang", "hang_after"})
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Scope, raw: bytes, fault: Fault | None) -> Reply | None:
        """What is answered; None for nothing."""
        effect: Effect | None = fault.effect if fault is not None else None
        if fault is not None and effect == "status":
            return self._refusal(fault)
        if effect in {"drop", "hang"}:
            return None
        if fault is not None and effect == "slow":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), fault.seconds)
        reply = await self._asked(scope, raw)
        if effect in {"drop_after", "hang_after"}:
            return None
        if effect == "garbage":
            return _with_body(Reply(200, reply.headers), BROKEN_JSON)
        if effect in DISTORTIONS and reply.status == 200:
            return _with_body(reply, json.dumps(distorted(effect, json.loads(reply.body))).encode())
        return reply

    async def _asked(self, scope: Scope, raw: bytes) -> Reply:
        """What the app itself answers."""
        reply = Reply()

        async def receive() -> Message:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply.status, reply.headers = message["status"], list(message.get("headers", []))
            else:
                reply.body += message.get("body", b"")

        await self._app(scope, receive, send)
        return reply

    def _refusal(self, fault: Fault) -> Reply:
        body = fault.body or json.dumps(self._errors(fault.status))
        headers = {"content-type": "application/json", **{name.lower(): value for name, value in fault.headers.items()}}
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return _with_body(Reply(fault.status, encoded), body.encode())

    async def _say_nothing(self, scope: Scope, receive: Receive, *, hang: bool) -> None:
        """Keep the caller waiting until it goes or the sandbox closes, or not at all; then close the connection."""
        gone = asyncio.ensure_future(_until_gone(receive))
        if hang:
            closing = asyncio.ensure_future(self._closing.wait())
            await asyncio.wait({gone, closing}, return_when=asyncio.FIRST_COMPLETED)
            closing.cancel()
        scope[DROP]()
        await gone


def _with_body(reply: Reply, body: bytes) -> Reply:
    kept = [(name, value) for name, value in reply.headers if name.lower() != b"content-length"]
    return Reply(reply.status, [*kept, (b"content-length", str(len(body)).encode())], body)


async def _whole_body(receive: Receive) -> bytes | None:
    """None of a caller that went away before all was here, as one that is killed does: half a request is none."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
