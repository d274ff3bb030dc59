"""The page with the newest log lines of this process, and new lines as server-sent events.

The page loads itself again every few seconds, unless it is paused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.frame import Frame, Pages
from hls_handler.console.log_streams import LogStreams
from hls_handler.console.queries import LogQuery
from hls_handler.logs import LEVELS, MAX_LINES, LogLine
from hls_handler.untrusted.cleaning import escape_unprintable, escape_unprintable_lines, truncate

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
