"""The body of a webhook request: counted while it streams in, held to a deadline, and unwrapped where it is a form."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from hls_handler.errors import PayloadError
from hls_handler.web.refusal import Refused
from hls_handler.web.room import Place, no_room

WHOLE = "hls.whole"
"""In the scope of a request whose body has come to its end."""


async def read_body(
    receive: Receive, *, declared: int | None, max_bytes: int, timeout_s: float, place: Place, is_whole: bool = False
) -> bytes:
    """Read the body into its place. Raises `Refused` (408, 413), or `ClientDisconnect` when the sender went away.

    Over the cap nothing more is read; `declared` is the Content-Length, by which it is known before the first byte. For
    one that is there to its end, and for which there is room, nobody is waited for, and no deadline is set.
    """
    if declared is not None and declared > max_bytes:
        raise _too_large(max_bytes)
    if is_whole and declared is not None and place.has_room_for(declared):
        body = await _collect(receive, max_bytes, place)
    else:
        body = await _collect_in_time(receive, max_bytes, place, timeout_s)
    place.complete()
    return body


async def _collect_in_time(receive: Receive, max_bytes: int, place: Place, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            place.give_up = lambda: deadline.reschedule(0)
            return await _collect(receive, max_bytes, place)
    except TimeoutError:
        raise no_room() if place.lost else Refused(408, f"the body did not arrive within {timeout_s:g} s") from None


async def _collect(receive: Receive, max_bytes: int, place: Place) -> bytes:
    """Put the pieces together as they come: kept one by one, those of a body that drips are many times its size."""
    received = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        if len(received) + len(chunk) > max_bytes:
            raise _too_large(max_bytes)
        await place.grow(len(chunk))
        more: bool = message.get("more_body", False)
        if not more and not received:
            return chunk
        received += chunk
        if not more:
            return bytes(received)


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
