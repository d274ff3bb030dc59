"""The page with the log of this process: the newest lines, and new ones as they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.delivery_search import InvalidFilter, read_filters
from hls_handler.console.frame import Frame
from hls_handler.console.log_lines import show_line
from hls_handler.console.log_stream import HEADERS, LogStream, LogStreams
from hls_handler.log_ring import LEVELS, MAX_LINES, LogFilter

MAX_SHOWN = 200
FILTERS = ("level", "id", "repository", "text")
AFTER: Final = "after"
"""Parameter of the stream: the position of the last line that the client has."""


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
            return Response(headers={name.decode(): value.decode() for name, value in HEADERS})
        if request.headers.get("sec-fetch-mode") == "navigate":  # a link of another site could take one of the streams
            return self._frame.message(request, "This address is the stream of the page /log.", status=400)
        query = request.query_params
        wanted = _parse_filter({name: value for name, value in query.items() if name != AFTER})
        position = request.headers.get("last-event-id") or query.get(AFTER, "")
        return LogStream(self._streams, wanted, position)


def _parse_filter(query: Mapping[str, str]) -> LogFilter:
    """Return the filter of an address such as `/log?level=ERROR`. Raises `InvalidFilter`."""
    wanted = LogFilter(**read_filters(query, FILTERS))
    if wanted.level and wanted.level not in LEVELS:
        raise InvalidFilter(f"level: found {wanted.level!r}, expected one of {', '.join(LEVELS)}")
    return wanted
