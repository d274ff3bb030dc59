"""Log lines as pages show them (`templates/log_lines.html`), and as `static/log.js` receives them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import quote

from hls_handler.log_ring import LogLine
from hls_handler.untrusted.cleaning import escape_unprintable, escape_unprintable_lines, truncate

MAX_VALUE_CHARACTERS, MAX_TRACE_CHARACTERS = 2_000, 20_000


@dataclass(frozen=True, slots=True)
class ShownField:
    name: str
    value: str
    link: str | None = None  # "/deliveries/72d3162e-..."


@dataclass(frozen=True, slots=True)
class ShownLine:
    time: str  # "2026-11-20 12:00:00.123", UTC
    level: str
    logger: str  # without "hls_handler."
    message: str
    fields: tuple[ShownField, ...]  # those with a value
    trace: str | None  # stack trace, several lines


def show_line(line: LogLine) -> ShownLine:
    """Return the line with unprintable characters escaped and long texts truncated. Its texts are untrusted."""
    trace = line.fields.get("exception")
    is_rejected = line.fields.get("decision") == "rejected"  # then nothing was stored
    return ShownLine(
        line.timestamp.replace("T", " ").removesuffix("Z"),
        line.level,
        escape_unprintable(line.logger.removeprefix("hls_handler.")),
        _to_text(line.message),
        tuple(
            ShownField(escape_unprintable(name), _to_text(value), None if is_rejected else _find_link(name, value))
            for name, value in line.fields.items()
            if value is not None and name != "exception"
        ),
        None if trace is None else truncate(escape_unprintable_lines(str(trace)), MAX_TRACE_CHARACTERS),
    )


def _to_text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return truncate(escape_unprintable(text), MAX_VALUE_CHARACTERS)


def _find_link(name: str, value: object) -> str | None:
    return f"/deliveries/{quote(value, safe='')}" if name == "delivery" and isinstance(value, str) else None
