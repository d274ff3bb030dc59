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
from hls_handler.log_ring import LEVELS, MAX_LINES, LogLine, LogRing
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
        given, level = query.model_dump(exclude_defaults=True, exclude={"paused"}), self._frame.settings.logging.level
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
    time, level, logger, message = (fields.pop(name) for name in ("timestamp", "level", "logger", "message"))
    trace, is_stored = fields.pop("exception", None), line.get("decision") != "rejected"
    return {
        "time": time.replace("T", " ").removesuffix("Z"),
        "level": level,
        "logger": escape_unprintable(logger.removeprefix("hls_handler.")),
        "message": _to_text(message),
        "fields": [
            {
                "name": escape_unprintable(name),
                "value": _to_text(value),
                "link": f"/deliveries/{quote(str(value), safe='')}" if name == "delivery" and is_stored else None,
            }
            for name, value in fields.items()
        ],
        "trace": None if trace is None else truncate(escape_unprintable_lines(str(trace)), MAX_TRACE_CHARACTERS),
    }


def _to_text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return truncate(escape_unprintable(text), MAX_VALUE_CHARACTERS)
