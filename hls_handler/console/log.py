"""The page with the newest log lines of this process, and new lines as server-sent events.

The page loads itself again every few seconds, unless it is paused.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from hls_handler.console.frame import Frame, Pages
from hls_handler.console.queries import LogQuery
from hls_handler.logs import LEVELS, MAX_LINES, LogLine, LogRing
from hls_handler.untrusted.cleaning import escape_unprintable, escape_unprintable_lines, truncate

MAX_STREAMS = 20
"""Open streams of one process. Each holds the lines that its client has not read yet."""
MAX_UNREAD = 10
"""Blocks of new lines, at most one a second, that a client may leave unread."""
MAX_FIRST = 200
"""Lines of the first block of a client that has none."""
LINES_PER_BLOCK = 200
POLL_S = 1.0
HEARTBEAT_S = 15.0
"""Longest silence of a stream: proxies close connections that are silent for longer."""
MAX_STREAM_S = 600.0
"""Age at which a stream ends. Its client connects again, and its session is checked."""
# the second one is for nginx
STREAM_HEADERS = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


@dataclass(eq=False, slots=True)
class _Stream:
    query: LogQuery
    after: int  # number of the last line before those in `blocks`
    is_followed: bool = True
    blocks: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(MAX_UNREAD))

    def add(self, block: str) -> None:
        """Add a block. If the client has left too many unread, the stream ends after them, and the
        client continues with a new one.
        """
        self.is_followed = self.is_followed and not self.blocks.full()
        if self.is_followed:
            self.blocks.put_nowait(block)


class LogStreams:
    """The open streams. Only one event loop may use the object."""

    def __init__(
        self,
        ring: LogRing,
        *,
        process: str,
        now: Callable[[], float],
        is_ending: Callable[[], bool],
        poll_s: float = POLL_S,
    ) -> None:
        """`process` is the part of the ids of events that differs after a restart; `is_ending` ends
        all streams.
        """
        self._ring = ring
        self._process = process
        self._now = now
        self._is_ending = is_ending
        self._poll_s = poll_s
        self._open: set[_Stream] = set()
        self._read = 0  # number of the last line that the open streams have
        self._follower: asyncio.Task[None] | None = None

    def open(self, query: LogQuery, last_id: str) -> StreamingResponse:
        """Return a response with the newest lines, or those after `last_id`, and then each new
        line. Raises `HTTPException` (503) if `MAX_STREAMS` are open.

        After a restart, the id is of another process, and all lines of this one follow. A block
        without a line has the id with which the client continues.
        """
        if len(self._open) >= MAX_STREAMS:
            raise HTTPException(
                503,
                f"{MAX_STREAMS} streams of the log are open, and no more are possible: close one,"
                " or use the page /log, which loads new lines every few seconds",
                {"retry-after": "30"},
            )
        if self._follower is None or self._follower.done():
            self._read = self._ring.added
            self._follower = asyncio.create_task(self._follow())
        stream = _Stream(query, self._read)
        self._open.add(stream)
        return _StreamResponse(self._events(stream, last_id), partial(self._open.discard, stream))

    async def _events(self, stream: _Stream, last_id: str) -> AsyncIterator[str]:
        began_at = self._now()
        if not last_id:
            yield await self._load(stream.query, 0, stream.after, limit=MAX_FIRST)
        else:
            async for block in self._load_missed(stream, last_id):
                yield block
        while stream.is_followed or not stream.blocks.empty():
            if self._is_ending() or self._now() - began_at >= MAX_STREAM_S:
                return
            yield await stream.blocks.get()

    async def _load_missed(self, stream: _Stream, last_id: str) -> AsyncIterator[str]:
        oldest = max(self._ring.added - MAX_LINES, 0)
        position = min(max(self._find_position(last_id), oldest), stream.after)
        while True:
            end = min(position + LINES_PER_BLOCK, stream.after)
            yield await self._load(stream.query, position, end)
            position = end
            if position == stream.after:
                return

    def _find_position(self, last_id: str) -> int:
        """Return the number of the last line that the client has; 0 if it has none of this
        process.
        """
        match = re.fullmatch(rf"{self._process}-([0-9]{{1,15}})", last_id)
        if match is None:
            return 0
        return int(match[1])

    async def _follow(self) -> None:
        """Add new lines to the open streams until there are none, or until they end."""
        sent_at = self._now()
        is_last = False
        while self._open and not is_last:
            await asyncio.sleep(self._poll_s)
            is_last = self._is_ending()
            newest = self._ring.added
            is_due = self._now() - sent_at >= HEARTBEAT_S
            if newest == self._read and not is_due and not is_last:
                continue
            sent_at = self._now()
            # a stream that is opened during `_load` begins after these lines
            after = self._read
            self._read = newest
            streams = [*self._open]
            for query in {stream.query for stream in streams}:
                block = await self._load(query, after, newest)
                for stream in streams:
                    if stream.query == query:
                        stream.add(block)

    async def _load(self, query: LogQuery, after: int, until: int, limit: int = MAX_LINES) -> str:
        find = partial(self._ring.find, **query.filters(), limit=limit, after=after, until=until)
        lines = await asyncio.to_thread(find)
        events = [f"data: {json.dumps(line)}\n\n" for line in reversed(lines)]
        return f"{''.join(events)}id: {self._process}-{until}\n\n"


class _StreamResponse(StreamingResponse):
    """Calls `close` when the response ends, also if its client disconnects before the first
    line.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], close: Callable[[], None]) -> None:
        super().__init__(events, headers=STREAM_HEADERS)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


MAX_VALUE_CHARACTERS = 2_000
MAX_TRACE_CHARACTERS = 20_000
MAX_SHOWN = 200


class LogPages(Pages):
    def __init__(
        self,
        frame: Frame,
        *,
        process: str,
        is_ending: Callable[[], bool],
    ) -> None:
        super().__init__(frame)
        self._ring = frame.ports.log_ring
        self._streams = LogStreams(
            self._ring, process=process, now=frame.ports.now, is_ending=is_ending
        )

    def routes(self) -> Sequence[BaseRoute]:
        return [self._frame.page("/log", self._show), self._frame.page("/log/events", self._stream)]

    async def _stream(self, request: Request) -> Response:
        query = LogQuery.parse(request.query_params)
        return self._streams.open(query, request.headers.get("last-event-id", ""))

    def _show(self, request: Request) -> Response:
        query = LogQuery.parse(request.query_params)
        filters = query.filters()
        level = self._frame.settings.logging.level
        return self._frame.render(
            request,
            "log.html",
            lines=[show_line(line) for line in self._ring.find(**filters, limit=MAX_SHOWN)],
            wanted=query,
            levels=LEVELS[LEVELS.index(level) + 1 :],
            logged=level,
            begins_at=(self._ring.begins_at() or "").replace("T", " ").partition(".")[0],
            max_lines=MAX_LINES,
            max_shown=MAX_SHOWN,
            is_paused=bool(query.paused),
            here=f"/log?{urlencode(filters)}",
            paused=f"/log?{urlencode({**filters, 'paused': 'true'})}",
        )


def show_line(line: LogLine) -> dict[str, object]:
    """Return the line for `templates/log.html`. Its texts are untrusted.

    Unprintable characters are escaped, and long texts truncated. `fields` are those with a value.
    """
    fields = {name: value for name, value in line.items() if value is not None}
    time, level, logger, message = (
        fields.pop(name) for name in ("timestamp", "level", "logger", "message")
    )
    trace = fields.pop("exception", None)
    if trace is not None:
        trace = truncate(escape_unprintable_lines(str(trace)), MAX_TRACE_CHARACTERS)
    page = None
    if "delivery" in fields and line.get("decision") not in ("rejected", "pong"):
        page = f"/deliveries/{quote(str(fields['delivery']), safe='')}"
    return {
        "time": time.replace("T", " ").removesuffix("Z"),
        "level": level,
        "logger": escape_unprintable(logger.removeprefix("hls_handler.")),
        "message": _to_text(message),
        "fields": [
            {
                "name": escape_unprintable(name),
                "value": _to_text(value),
                "link": page if name == "delivery" else None,
            }
            for name, value in fields.items()
        ],
        "trace": trace,
    }


def _to_text(value: object) -> str:
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    return truncate(escape_unprintable(value), MAX_VALUE_CHARACTERS)
