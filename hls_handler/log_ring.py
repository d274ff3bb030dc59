"""Ring buffer of the newest log lines of this process, for the console.

Its lines are those of the log: secrets and credentials were removed before (`logs.py`). They contain untrusted text.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, get_args

MAX_LINES = 5_000
MAX_CHARACTERS = 8_000_000
"""Limit on the characters of all lines. A usual line has 300; a line with a stack trace can have 10,000."""

REJECTED = '"decision": "rejected"'
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, slots=True)
class LogLine:
    timestamp: str  # "2026-11-20T12:00:00.123Z"
    level: str
    logger: str
    message: str
    fields: Mapping[str, object]  # ids, such as delivery, request_id and repository, then fields; values are JSON


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines to return: those that fulfil every condition. An empty condition is always fulfilled."""

    level: str = ""  # the least severe level, one of LEVELS
    id: str = ""  # GUID of a delivery, or a request id: a field of the line is equal to it
    delivery: str = ""  # GUID: lines about this delivery, without rejected requests, which can name any GUID
    repository: str = ""  # "owner/repo", ignoring case
    text: str = ""  # part of the line, ignoring the case of ASCII letters

    def predicate(self) -> Callable[[str], bool]:
        """Return a function that tests a line of JSON. It searches the text, because decoding would take longer."""
        levels = [f'"level": "{level}"' for level in LEVELS[LEVELS.index(self.level) :]] if self.level else []
        field = f": {json.dumps(self.id)}" if self.id else ""
        delivery = f'"delivery": {json.dumps(self.delivery)}' if self.delivery else ""
        lowered = [f'"repository": {json.dumps(self.repository)}'.lower()] if self.repository else []
        lowered += [json.dumps(self.text)[1:-1].lower()] if self.text else []

        def matches(text: str) -> bool:
            if field not in text or (levels and not any(level in text for level in levels)):
                return False
            if delivery and (delivery not in text or REJECTED in text):
                return False
            if not lowered:
                return True
            line = text.lower()
            return all(part in line for part in lowered)

        return matches


class LogRing:
    """The newest `MAX_LINES` lines. Thread-safe. A reader never blocks the writer of the log for long."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._lines: deque[str] = deque()
        self._characters = 0

    def add(self, text: str) -> None:
        """Add one line, a JSON object as `logs.CleanHandler` makes it."""
        with self._lock:
            self._lines.append(text)
            self._characters += len(text)
            while len(self._lines) > MAX_LINES or self._characters > MAX_CHARACTERS:
                self._characters -= len(self._lines.popleft())

    def find(self, wanted: LogFilter, *, limit: int) -> list[LogLine]:
        """Return the newest `limit` lines that match, the newest first."""
        with self._lock:
            texts = tuple(self._lines)
        return [_parse(text) for text in islice(filter(wanted.predicate(), reversed(texts)), limit)]

    def begins_at(self) -> str | None:
        """Return the timestamp of the oldest line; None if there is none."""
        with self._lock:
            first = self._lines[0] if self._lines else None
        return None if first is None else _parse(first).timestamp


def _parse(text: str) -> LogLine:
    fields: dict[str, object] = json.loads(text)
    timestamp, level, logger, message = (str(fields.pop(name)) for name in ("timestamp", "level", "logger", "message"))
    return LogLine(timestamp, level, logger, message, fields)
