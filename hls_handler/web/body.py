"""The body of a webhook request: counted while it streams in, held to a deadline, and unwrapped where it is a form."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from hls_handler.errors import PayloadError
from hls_handler.web.refusal import Refused


async def read_body(receive: Receive, *, declared: int | None, max_bytes: int, timeout_s: float) -> bytes:
    """Read the body. Raises `Refused` (408, 413), or `ClientDisconnect` when the sender went away.

    Over the cap nothing more is read; `declared` is the Content-Length, by which it is known before the first byte.
    """
    if declared is not None and declared > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(receive, max_bytes)
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {timeout_s:g} s") from None


async def _collect(receive: Receive, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    received = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(max_bytes: int) -> Refused:
    return Refused(413, f"the body is over {max_bytes} bytes (server.max_body_bytes)")


def payload_of_form(body: bytes) -> bytes:
    """The JSON in the field `payload` of a urlencoded form. Raises `Refused` (400)."""
    values = [field[len(b"payload=") :] for field in body.split(b"&") if field.startswith(b"payload=")]
    if len(values) != 1:
        raise Refused(400, "a form must have one field payload with the JSON")
    return unquote_to_bytes(values[0].replace(b"+", b" "))


def require_utf8(payload: bytes) -> None:
    """Raise `PayloadError` for bytes that are not UTF-8: the sip does not look into the fields that it skips."""
    try:
        if not payload.isascii():
            payload.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise PayloadError("the body is not valid JSON: it is not UTF-8") from exc
