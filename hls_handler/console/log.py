"""The page with the newest log lines of this process, and new lines as server-sent events.

The page loads itself again every few seconds, unless it is paused.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from hls_handler.console.frame import Frame
from hls_handler.console.queries import LogQuery
from hls_handler.log_ring import LEVELS, MAX_LINES, LogLine, LogRing
from hls_handler.untrusted.cleaning import escape_unprintable, escape_unprintable_lines, truncate

MAX_VALUE_CHARACTERS = 2_000
MAX_TRACE_CHARACTERS = 20_000
MAX_SHOWN = 200
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


class LogPages:
    def __init__(
        self,
        frame: Frame,
        ring: LogRing,
        *,
        process: str,
        now: Callable[[], float],
        is_ending: Callable[[], bool],
    ) -> None:
        """`process` is the part of the ids of events that differs after a restart; `is_ending` ends
        all streams.
        """
        self._frame = frame
        self._ring = ring
        self._process = process
        self._now = now
        self._is_ending = is_ending

    def routes(self) -> Sequence[BaseRoute]:
        return [self._frame.page("/log", self._show), self._frame.page("/log/events", self._stream)]

    async def _stream(self, request: Request) -> Response:
        query = LogQuery.parse(request.query_params)
        events = self._events(query.filters(), request.headers.get("last-event-id", ""))
        return StreamingResponse(events, headers=STREAM_HEADERS, media_type="text/event-stream")

    async def _events(self, filters: Mapping[str, Any], last_id: str) -> AsyncIterator[str]:
        """Yield the newest lines, or those after `last_id`, and then each new line.

        After a restart, the id is of another process, and all lines of this one follow. A block
        without a line has the id with which the client continues.
        """
        seen = self._find_position(last_id)
        limit = MAX_SHOWN
        if last_id:
            limit = MAX_LINES
        began_at = self._now()
        sent_at = began_at - HEARTBEAT_S
        while True:
            newest = self._ring.added
            if newest != seen or self._now() - sent_at >= HEARTBEAT_S:
                given = {**filters, "limit": limit, "after": seen, "until": newest}
                lines = await asyncio.to_thread(self._ring.find, **given)
                events = [f"data: {json.dumps(line)}\n\n" for line in reversed(lines)]
                yield f"{''.join(events)}id: {self._process}-{newest}\n\n"
                seen = newest
                limit = MAX_LINES
                sent_at = self._now()
            if self._is_ending() or self._now() - began_at >= MAX_STREAM_S:
                return
            await asyncio.sleep(POLL_S)

    def _find_position(self, last_id: str) -> int:
        """Return the number of the last line that the client has; 0 if it has none of this
        process.
        """
        known = re.fullmatch(rf"{self._process}-([0-9]{{1,15}})", last_id)
        if known is None:
            return 0
        return int(known[1])

    def _show(self, request: Request) -> Response:
        query = LogQuery.parse(request.query_params)
        given = query.filters()
        level = self._frame.settings.logging.level
        return self._frame.render(
            request,
            "log.html",
            lines=[show_line(line) for line in self._ring.find(**given, limit=MAX_SHOWN)],
            wanted=query,
            levels=LEVELS[LEVELS.index(level) + 1 :],
            logged=level,
            begins_at=(self._ring.begins_at() or "").replace("T", " ").partition(".")[0],
            max_lines=MAX_LINES,
            max_shown=MAX_SHOWN,
            is_paused=bool(query.paused),
            here=f"/log?{urlencode(given)}",
            paused=f"/log?{urlencode({**given, 'paused': 'true'})}",
        )


def show_line(line: LogLine) -> dict[str, object]:
    """Return the line for `templates/log_lines.html`. Its texts are untrusted.

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
    if "delivery" in fields and line.get("decision") != "rejected":
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
