"""The page with the newest log lines of this process. It loads itself again every few seconds, unless it is paused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.frame import Frame
from hls_handler.console.queries import LogQuery
from hls_handler.log_ring import LEVELS, MAX_LINES, LogFilter, LogLine, LogRing
from hls_handler.untrusted.cleaning import escape_unprintable, escape_unprintable_lines, truncate

MAX_VALUE_CHARACTERS, MAX_TRACE_CHARACTERS = 2_000, 20_000
MAX_SHOWN = 200


class LogPages:
    def __init__(self, frame: Frame, ring: LogRing) -> None:
        self._frame, self._ring = frame, ring

    def routes(self) -> Sequence[BaseRoute]:
        return [self._frame.page("/log", self._show)]

    def _show(self, request: Request) -> Response:
        query = LogQuery.parse(request.query_params)
        given = query.model_dump(exclude_defaults=True, exclude={"paused"})
        wanted, level = LogFilter(**given), self._frame.settings.logging.level
        return self._frame.render(
            request,
            "log.html",
            lines=[show_line(line) for line in self._ring.find(wanted, limit=MAX_SHOWN)],
            wanted=wanted,
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
