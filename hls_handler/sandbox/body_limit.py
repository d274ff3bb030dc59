"""ASGI middleware that rejects too large bodies of requests to any part of the sandbox."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hls_handler.sandbox.control import MAX_BODY_BYTES, TooLarge


class BodyLimitMiddleware:
    """Raises `TooLarge` in the app that reads a body over `MAX_BODY_BYTES`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def receive_limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY_BYTES:
                raise TooLarge(f"the body is over {MAX_BODY_BYTES:,} bytes: send a smaller one")
            return message

        await self._app(scope, receive_limited, send)
