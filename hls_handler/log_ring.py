"""Ring buffer of the newest log lines of this process, for the console.

Its lines are those of the log: secrets and credentials were removed before (`logs.py`). They
contain untrusted text.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, Literal, get_args

MAX_LINES = 5_000
MAX_CHARACTERS = 8_000_000
"""Limit on the characters of all lines. A usual line has 300; a line with a stack trace can have
10,000.
"""

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)

LogLine = Mapping[str, Any]
"""timestamp ("2026-11-20T12:00:00.123Z"), level, logger, message, ids, such as delivery, then
fields.
"""


class LogRing:
    """The newest `MAX_LINES` lines. Thread-safe. A reader never blocks the writer of the log for
    long.
    """

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._lines: deque[str] = deque()
        self._characters = 0
        self._added = 0

    @property
    def added(self) -> int:
        """The number of lines since the start, which is that of the newest line."""
        return self._added

    def add(self, text: str) -> None:
        """Add one line, a JSON object as `logs.JsonLines` makes it."""
        with self._lock:
            self._lines.append(text)
            self._added += 1
            self._characters += len(text)
            while len(self._lines) > MAX_LINES or self._characters > MAX_CHARACTERS:
                self._characters -= len(self._lines.popleft())

    def find(
        self,
        *,
        limit: int,
        level: LogLevel | None = None,
        id: str = "",  # noqa: A002 (the name of the parameter of /log)
        delivery: str = "",
        repository: str = "",
        text: str = "",
        after: int = 0,
        until: int | None = None,
    ) -> list[LogLine]:
        """Return the newest `limit` lines that fulfil every given condition, the newest first.

        `after` and `until` are numbers of lines: the first one is not included, the last one is.

        `level` is the least severe one. `id` (of a delivery or a request) is the value of any
        field. `delivery` leaves out rejected requests, which can name any GUID. `repository` is
        "owner/repo" in any case. `text` is a part of the line, ignoring the case of ASCII letters.
        """
        with self._lock:
            gone = self._added - len(self._lines)
            last = self._added if until is None else until
            texts = tuple(islice(self._lines, max(after - gone, 0), max(last - gone, 0)))
        part = json.dumps(text)[1:-1].lower()
        levels = LEVELS[LEVELS.index(level) :] if level else ()

        def matching() -> Iterator[LogLine]:
            for text in reversed(texts):
                line: LogLine = json.loads(text)
                if (
                    (not level or line["level"] in levels)
                    and (not id or id in line.values())
                    and (
                        not delivery
                        or (line.get("delivery") == delivery and line.get("decision") != "rejected")
                    )
                    and (
                        not repository or str(line.get("repository")).lower() == repository.lower()
                    )
                    and (not part or part in text.lower())
                ):
                    yield line

        return [*islice(matching(), limit)]

    def begins_at(self) -> str | None:
        """Return the timestamp of the oldest line; None if there is none."""
        with self._lock:
            first = self._lines[0] if self._lines else None
        return None if first is None else json.loads(first)["timestamp"]
