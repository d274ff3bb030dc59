"""HTTP on one connection: uvicorn's protocol, with the bounds that it lacks and our own answer to what is not HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hls_handler.web.answers import CLOSE, JSON_TYPE
from hls_handler.web.body import WHOLE
from hls_handler.web.crowd import Awaited, Crowd
from hls_handler.web.request_ids import answer_headers, given_or_fresh

MAX_HEAD_BYTES = 65_536
MOST_HEADERS = 100
"""A header of four bytes on the wire takes thirty times as much of our memory."""

MOST_UNANSWERED = 100
"""Requests that one connection may have waiting behind the one at work."""

BAD, SLOW, FULL = b"400 Bad Request", b"408 Request Timeout", b"503 Service Unavailable"


class InOnePiece(asyncio.Transport):
    """Where one response is written to: its head waits for the first piece of its body, and both leave in one write.

    The loop writes at once, so that uvicorn's two writes would be two packets, and would wake the client twice.
    """

    def __init__(self, cycle: RequestResponseCycle) -> None:
        super().__init__()
        self._cycle, self._connection, self._head = cycle, cycle.transport, b""

    def write(self, data: bytes) -> None:  # type: ignore[override]  # all that uvicorn writes
        if self._cycle.response_started and not self._head:
            self._head = data
            return
        self._connection.write(self._head + data)
        if self._head:
            self._cycle.transport = self._connection

    def is_closing(self) -> bool:
        return self._connection.is_closing()

    def close(self) -> None:
        self._connection.write(self._head)  # of an answer that breaks off
        self._connection.close()


class Protocol(HttpToolsProtocol):
    """One connection, which tells the crowd what its client is awaited for, and closes when it is told to."""

    def __init__(self, *args: Any, crowd: Crowd[Protocol], most: Callable[[], int], **kwargs: Any) -> None:
        """`most` connections may be open, now."""
        super().__init__(*args, **kwargs)
        self._crowd, self._most = crowd, most
        self._bytes_between = 0  # since the last piece of a body: of a head, a chunk's extension or trailers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in. When that is one too many, who was awaited longest makes room."""
        super().connection_made(transport)
        self._crowd.enter(self, self.loop.time())
        while len(self._crowd) > self._most() and (longest := self._crowd.longest_awaited()) is not None:
            longest.make_room(for_one=self)

    def make_room(self, *, for_one: Protocol) -> None:
        """Close without a word; who came when all others are being served hears that it is not its fault."""
        self._crowd.leave(self)
        self._crowd.made_room += 1
        if self is for_one:
            self._refuse(FULL, "all connections are being served; try again", (b"retry-after", b"30"))
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes_between += len(data)
        super().data_received(data)
        if not self.transport.is_closing():
            if self._bytes_between > MAX_HEAD_BYTES or self._too_many_headers():
                self.send_400_response("")
            elif len(self.pipeline) > MOST_UNANSWERED:
                self.transport.close()
        self._tell(without_request="head")

    def on_headers_complete(self) -> None:
        if self._bytes_between > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:  # some of them may be a body's
            raise ValueError("too long a head")  # ends the parser's work; send_400_response says it
        self._bytes_between = 0
        if len(self.headers) > MOST_HEADERS:
            raise ValueError("too many headers")  # ends the parser's work; send_400_response says it
        super().on_headers_complete()
        if self.cycle.scope["method"] != "HEAD":  # whose answer has no body to wait for
            self.cycle.transport = InOnePiece(self.cycle)
        self.headers = []  # trailers go there, and no further

    def on_body(self, body: bytes) -> None:
        self._bytes_between = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        cast(dict[str, Any], self.scope)[WHOLE] = True

    def _unsupported_upgrade_warning(self) -> None:
        """Two lines for each request that asks for WebSockets would be a stranger's way to fill the log."""

    def on_response_complete(self) -> None:
        """Close if the answered request is still coming in: nobody reads it. Only the newest one can be."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()
        self._tell(without_request="next request")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._tell(without_request="reading")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._tell(without_request="next request")

    def _tell(self, *, without_request: Awaited) -> None:
        """Tell the crowd what is awaited; where no request is there, or one that is answered, `without_request`."""
        awaited: Awaited | None
        if self.transport.is_closing() or self.flow.write_paused:
            awaited = "reading"
        elif self.cycle is None or self.cycle.response_complete:
            awaited = without_request
        elif self.cycle.more_body and not self.pipeline:
            awaited = "body"
        else:
            awaited = None
        if awaited is None:
            self._crowd.serve(self)
        else:
            self._crowd.wait(self, awaited, self.loop.time())

    def out_of_patience(self, awaited: Awaited, patience_s: float) -> None:
        """Close: in words where a request had begun; who sent none would read them as the answer to its first."""
        if awaited == "reading":
            self.transport.abort()
        elif awaited == "head" and self._bytes_between:
            self._refuse(SLOW, f"the headers did not arrive within {patience_s:g} s")
        else:
            self.transport.close()
            self._crowd.wait(self, "reading", self.loop.time())

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    def _too_many_headers(self) -> bool:
        return self.headers is not None and len(self.headers) > MOST_HEADERS

    def send_400_response(self, msg: str) -> None:
        if self._bytes_between > MAX_HEAD_BYTES:
            msg = f"the headers are over {MAX_HEAD_BYTES} bytes"
        elif self._too_many_headers():
            msg = f"there are more than {MOST_HEADERS} headers"
        self._refuse(BAD, msg)

    def _refuse(self, status: bytes, sentence: str, *more: tuple[bytes, bytes]) -> None:
        body = msgspec.json.encode({"detail": sentence})
        length = (b"content-length", str(len(body)).encode("ascii"))
        headers = (JSON_TYPE, length, CLOSE, *more, *answer_headers(given_or_fresh(())))
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n" + body)
        self.transport.close()
        self._crowd.wait(self, "reading", self.loop.time())
