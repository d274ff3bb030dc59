"""The page with the log of this process: the newest lines, and new ones as they are written.

The new lines are server-sent events. A stream reads the ring buffer four times a second. So the writer of the log does
nothing for it, and a slow client needs no queue: it misses lines, and an event says how many.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from hls_handler.console.delivery_search import InvalidFilter, read_filters
from hls_handler.console.frame import Frame
from hls_handler.log_ring import LEVELS, MAX_LINES, LogFilter, LogLine, LogRing
from hls_handler.untrusted.cleaning import escape_unprintable, escape_unprintable_lines, truncate
from hls_handler.web.limits import STREAM, StreamConnection

MAX_VALUE_CHARACTERS, MAX_TRACE_CHARACTERS = 2_000, 20_000
MAX_SHOWN = 200
FILTERS = ("level", "id", "repository", "text")
AFTER: Final = "after"
"""Parameter of the stream: the position of the last line that the client has."""
MAX_STREAMS = 8
MAX_FIRST_LINES, MAX_LINES_AT_ONCE = 1_000, 200
"""Limit on the lines of the first event and of each later reading; more would take a browser too long."""

RETRY_MS, RETRY_FULL_S = 2_000, 30
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "x-accel-buffering": "no",  # nginx would collect the events otherwise
}


class LogPages:
    def __init__(self, frame: Frame, streams: LogStreams) -> None:
        self._frame, self._streams = frame, streams

    def routes(self) -> Sequence[BaseRoute]:
        return [self._frame.page("/log", self._show), self._frame.page("/log/events", self._stream)]

    async def _show(self, request: Request) -> Response:
        wanted = _parse_filter(request.query_params)
        ring = self._streams.ring
        found = await asyncio.to_thread(ring.find, wanted, limit=MAX_SHOWN)
        given = {name: value for name, value in request.query_params.items() if value}
        level = self._frame.settings.logging.level
        return self._frame.render(
            request,
            "log.html",
            lines=[show_line(line) for line in reversed(found.lines)],
            wanted=wanted,
            levels=LEVELS[LEVELS.index(level) + 1 :],
            logged=level,
            begins_at=(ring.begins_at() or "").replace("T", " ").partition(".")[0],
            max_lines=MAX_LINES,
            max_shown=MAX_SHOWN,
            events=f"/log/events?{urlencode(given)}",
            position=self._streams.position(found.last),
        )

    async def _stream(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(headers=HEADERS)
        if request.headers.get("sec-fetch-mode") == "navigate":  # a link of another site could take one of the streams
            return self._frame.message(request, "This address is the stream of the page /log.", status=400)
        query = request.query_params
        wanted = _parse_filter({name: value for name, value in query.items() if name != AFTER})
        position = request.headers.get("last-event-id") or query.get(AFTER, "")
        return LogStream(self._streams, wanted, position)


def _parse_filter(query: Mapping[str, str]) -> LogFilter:
    wanted = LogFilter(**read_filters(query, FILTERS))
    if wanted.level and wanted.level not in LEVELS:
        raise InvalidFilter(f"level: found {wanted.level!r}, expected one of {', '.join(LEVELS)}")
    return wanted


def show_line(line: LogLine) -> dict[str, object]:
    """Return the line for `templates/log_lines.html` and `static/log.js`. Its texts are untrusted.

    Unprintable characters are escaped, and long texts truncated. `fields` are those with a value.
    """
    trace = line.fields.get("exception")
    is_rejected = line.fields.get("decision") == "rejected"  # then nothing was stored
    return {
        "time": line.timestamp.replace("T", " ").removesuffix("Z"),
        "level": line.level,
        "logger": escape_unprintable(line.logger.removeprefix("hls_handler.")),
        "message": _to_text(line.message),
        "fields": [
            {
                "name": escape_unprintable(name),
                "value": _to_text(value),
                "link": None if is_rejected else _find_link(name, value),
            }
            for name, value in line.fields.items()
            if value is not None and name != "exception"
        ],
        "trace": None if trace is None else truncate(escape_unprintable_lines(str(trace)), MAX_TRACE_CHARACTERS),
    }


def _to_text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return truncate(escape_unprintable(text), MAX_VALUE_CHARACTERS)


def _find_link(name: str, value: object) -> str | None:
    return f"/deliveries/{quote(value, safe='')}" if name == "delivery" and isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class StreamTimes:
    poll_s: float = 0.25
    heartbeat_s: float = 15.0  # a proxy closes a connection without data; nginx does after 60 s
    age_s: float = 900.0  # then the client connects again, and its session is checked again
    foreign_age_s: float = 5.0  # under a server that is not ours: it does not announce its end, and waits for streams
    stalled_s: float = 5.0  # time in which the client must accept data; shorter than any grace period at the end


class LogStreams:
    """The open streams of this process. Used by the event loop only, except `end_all` and `stop`."""

    def __init__(self, ring: LogRing, times: StreamTimes = StreamTimes()) -> None:
        self.ring: Final = ring
        self.times: Final = times
        self._process = secrets.token_hex(4)  # numbers of lines begin again in each process
        self._open, self._may_open = 0, True
        self._generation = object()

    def end_all(self) -> None:
        """End the open streams soon, because settings have changed: clients connect again if they still may."""
        self._generation = object()

    def stop(self) -> None:
        """End the open streams soon, and open no others, because the service stops."""
        self._may_open = False
        self.end_all()

    def position(self, number: int) -> str:
        """Return the id of the event with this line: "3f9c2a1b-17"."""
        return f"{self._process}-{number}"

    def find_number(self, position: str) -> int | None:
        process, _, number = position.rpartition("-")
        is_own = process == self._process and number.isascii() and number.isdecimal() and len(number) < 20
        return int(number) if is_own else None

    @contextmanager
    def opened(self) -> Iterator[Callable[[], bool] | None]:
        """Count one stream in the `with` block. The value says whether it may go on; None if it must not begin."""
        if not self._may_open or self._open >= MAX_STREAMS:
            yield None
            return
        generation = self._generation
        self._open += 1
        try:
            yield lambda: self._generation is generation
        finally:
            self._open -= 1


class LogStream(Response):
    """The response with the lines that follow the line `position` and match. It ends with the service or by age.

    Events: `line` (JSON of `show_line`), `missed` (`lines`: how many were left out, because the log or this client
    is too slow, or the line `position` is too old), `other` (the position is of another process: all lines of this one
    follow), `alive`. The id of each is a position.
    """

    def __init__(self, streams: LogStreams, wanted: LogFilter, position: str) -> None:
        super().__init__()
        number = streams.find_number(position)
        self._streams, self._wanted, self._after = streams, wanted, number or 0
        self._is_other = bool(position) and number is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: StreamConnection | None = scope.get("extensions", {}).get(STREAM, {}).get("connection")
        with self._streams.opened() as may_go_on, connection.pinned() if connection else nullcontext():
            if may_go_on is None:
                detail = f"{MAX_STREAMS} streams are open already, or the service stops; try again later"
                full = JSONResponse({"detail": detail}, 503, headers={"retry-after": str(RETRY_FULL_S)})
                await full(scope, receive, send)
                return

            async def send_in_time(message: Message) -> None:
                async with asyncio.timeout(self._streams.times.stalled_s):
                    await send(message)

            response = StreamingResponse(self._texts(may_go_on, is_own=connection is not None), headers=HEADERS)
            try:
                await response(scope, receive, send_in_time)
            except TimeoutError:
                if connection is not None:
                    connection.abort()
                    await response.listen_for_disconnect(receive)

    async def _texts(self, may_go_on: Callable[[], bool], *, is_own: bool) -> AsyncIterator[str]:
        times, now = self._streams.times, asyncio.get_running_loop().time
        ends_at, sent_at = now() + (times.age_s if is_own else times.foreign_age_s), now()
        text = f"retry: {RETRY_MS}\n\n" + self._event("other", {} if self._is_other else None)
        text += self._new_lines(MAX_FIRST_LINES) or self._event("alive", {})
        while True:
            if text:
                yield text
                sent_at = now()
            if not may_go_on() or now() >= ends_at:
                return
            await asyncio.sleep(times.poll_s)
            text = self._new_lines(MAX_LINES_AT_ONCE)
            if not text and now() - sent_at >= times.heartbeat_s:
                text = self._event("alive", {})

    def _new_lines(self, limit: int) -> str:
        ring = self._streams.ring
        if ring.last == self._after:
            return ""
        found = ring.find(self._wanted, limit=limit, after=self._after)
        missed = found.missed if self._after else 0  # a client without a position wants only the newest
        events = [self._event("missed", {"lines": missed} if missed else None)]
        for line in found.lines:
            self._after = line.number
            events.append(self._event("line", show_line(line)))
        self._after = found.last
        return "".join(events)

    def _event(self, name: str, content: object) -> str:
        if content is None:
            return ""
        return f"event: {name}\nid: {self._streams.position(self._after)}\ndata: {json.dumps(content)}\n\n"
