"""Logging as JSON lines or readable text. Every line has the ids of the current delivery or
request.

`log_context` sets the ids for a `with` block, such as a delivery in a worker; `set_log_ids` sets
those of a request, which has a task of its own. Lines that libraries log contain the ids, too.
Before a line is written, secrets of the settings become `***`, and everything else that looks like
a credential is redacted. The console shows the newest lines of a ring buffer; they contain
untrusted text.

The line `operator` says what a person did in the console, through the API, with a command of `hls`
or in a comment; docs/running.md describes its fields.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import IO, Any, Final, Literal, get_args

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.untrusted.redaction import MASK, compile_secrets, redact
from hls_handler.wording import format_seconds, format_usd

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


LogLayout = Literal["json", "text", "events"]

_bound: ContextVar[Mapping[str, str]] = ContextVar("hls_log_ids", default=MappingProxyType({}))

# attributes of a record that are no fields of a line, or have another name there
_RESERVED = frozenset(
    {*RESERVED_ATTRS, "taskName", "color_message", "ids", "timestamp", "level", "logger"}
)
# they log every request or step at INFO
_VERBOSE_LOGGERS = ("httpx", "httpx2", "httpcore2", "urllib3", "alembic")
# the id of a delivery or a request is no credential, and differs in each line
IDENTIFIER = re.compile("[0-9a-f-]+")
MAX_REMEMBERED_CHARS = 200


def set_log_ids(**ids: str) -> None:
    """Give the lines of the current task, and of what it starts from now on, these ids and no
    others.
    """
    _bound.set(ids)


@contextmanager
def log_context(**ids: str | None) -> Iterator[None]:
    """Add ids, such as `delivery=GUID`, to every line logged in the `with` block. An id that is
    None is omitted.
    """
    present = {name: value for name, value in ids.items() if value is not None}
    token = _bound.set({**_bound.get(), **present})
    try:
        yield
    finally:
        _bound.reset(token)


def configure(
    level: str,
    layout: LogLayout,
    stream: IO[str],
    secrets: Iterable[str],
    *,
    colours: bool = False,
    ring: LogRing | None = None,
) -> None:
    """Send the lines of all loggers to `stream`, with `secrets` and everything that looks like a
    credential masked.

    Replaces any earlier configuration. Call it after the imports, because it also removes the
    handlers that libraries such as uvicorn install on import. HTTP libraries log requests only if
    `level` is "DEBUG". "events" is "text" with one short line for each event; `colours` is for
    both. `ring` also gets each line, as JSON.
    """
    handler = CleanHandler(stream, ring, _Cleaner(secrets))
    if layout == "json":
        handler.setFormatter(JsonLines())
    elif layout == "events":
        handler.setFormatter(EventLines(colours=colours))
    else:
        handler.setFormatter(TextLines(colours=colours))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in list(root.manager.loggerDict):
        logger = logging.getLogger(name)
        # a logger without handlers was silenced on purpose: uvicorn's access log
        if logger.handlers:
            logger.handlers[:] = []
            logger.propagate = True
    level_of_libraries = logging.NOTSET if level == "DEBUG" else logging.WARNING
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(level_of_libraries)
    logging.captureWarnings(capture=True)
    _drop_unused_attributes()
    threading.excepthook = _log_thread_exception


def _drop_unused_attributes() -> None:
    """Do not look for the caller, thread and process of a line, which no layout shows.

    https://docs.python.org/3/howto/logging.html#optimization
    """
    logging._srcfile = None
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "unknown"
    error = args.exc_value or args.exc_type()
    logging.getLogger(__name__).critical(
        "uncaught exception in a thread", extra={"thread_name": name}, exc_info=error
    )


class CleanHandler(logging.StreamHandler[IO[str]]):
    """Handler that writes log lines without secrets and credentials, and adds them to the ring
    buffer as JSON.

    If a line cannot be formatted, stderr gets its logger.
    """

    def __init__(self, stream: IO[str], ring: LogRing | None, cleaner: _Cleaner) -> None:
        super().__init__(stream)
        self._ring = ring
        self._cleaner = cleaner
        self._json_lines = JsonLines()

    def format(self, record: logging.LogRecord) -> str:
        self._cleaner.clean_record(record)
        line = super().format(record)
        if self._ring is not None:
            as_json = line
            if not isinstance(self.formatter, JsonLines):
                as_json = self._json_lines.format(record)
            self._ring.add(as_json)
        self.terminator = "\n" if line else ""  # which is written after the line
        return line

    # the name is defined by logging
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        with suppress(OSError, ValueError):  # the reader of the log has closed it
            sys.stderr.write(f"a log line of {record.name} could not be written\n")


class _Cleaner:
    """Masks secrets and credentials. Short texts, which repeat, are remembered."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = compile_secrets(secrets)
        self._clean_short = lru_cache(maxsize=1000)(self._clean)

    def clean_record(self, record: logging.LogRecord) -> None:
        """Replace all that a line shows of the record, and add the ids of `log_context`. HLS has
        one handler, so nothing else reads it.
        """
        values = record.__dict__
        for name in [name for name in values if name not in _RESERVED]:
            values[self._clean_text(name)] = self._clean_value(values.pop(name))
        ids = {name: self._clean_text(value) for name, value in _bound.get().items()}
        values.update(ids, ids=ids)
        record.msg = self._clean_text(record.getMessage())
        record.args = None
        record.exc_text = record.stack_info = None
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text = self._clean_text(trace)
            record.exc_info = None

    def _clean_text(self, text: str) -> str:
        if len(text) <= MAX_REMEMBERED_CHARS:
            return self._clean_short(text)
        return self._clean(text)

    def _clean(self, text: str) -> str:
        masked = self._secrets.sub(MASK, text)
        if IDENTIFIER.fullmatch(masked):
            return masked
        return redact(masked)

    def _clean_value(self, value: object) -> object:
        """Return JSON: numbers unchanged, texts cleaned, and the text of any other object."""
        if type(value) is str:
            return self._clean_text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {
                self._clean_text(str(key)): self._clean_value(item) for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean_value(item) for item in value]
        return self._clean_text(str(value))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _RESERVED}


class JsonLines(JsonFormatter):
    """Formatter of JSON lines: timestamp, level, logger, message, exception, then the
    fields of `extra` and ids of `log_context`.

    Characters that are not ASCII are escaped, because not every stream can write them.
    """

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"
    converter = time.gmtime  # type: ignore[assignment]  # its argument is optional there

    def __init__(self) -> None:
        super().__init__(
            ("asctime", "levelname", "name", "message"),
            rename_fields={
                "asctime": "timestamp",
                "levelname": "level",
                "name": "logger",
                "exc_info": "exception",
            },
            reserved_attrs=_RESERVED,
            json_serializer=_to_json,
        )


def _to_json(line: object, **_options: object) -> str:
    return json.dumps(line)  # with options, json would create an encoder for each line


_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_LEVEL_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}


class TextLines(logging.Formatter):
    """Formatter of text: "2026-11-20 12:00:00.123 INFO     work      delivery finished  state=done
    [delivery=...]".

    A field without a value (None) is omitted.
    """

    default_msec_format = "%s.%03d"
    converter = time.gmtime  # type: ignore[assignment]  # its argument is optional there

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        ids: Mapping[str, str] = record.__dict__["ids"]
        where = record.name.removeprefix("hls_handler.")
        level = self._coloured(f"{record.levelname:<8}", _LEVEL_COLOURS.get(record.levelname, ""))
        fields = "".join(
            f"  {name}={_format_value(value)}"
            for name, value in _fields(record).items()
            if name not in ids and value is not None
        )
        if ids:
            fields += "  [" + " ".join(f"{name}={value}" for name, value in ids.items()) + "]"
        what = escape_unprintable(f"{where:<16} {record.getMessage()}")
        more = self._coloured(escape_unprintable(fields), _DIM)
        line = f"{self._coloured(self.formatTime(record), _DIM)} {level} {what}{more}"
        trace = (record.exc_text or "").splitlines()
        return "\n".join([line, *map(escape_unprintable, trace)])

    def _coloured(self, text: str, colour: str) -> str:
        if not self._colours or not colour or not text:
            return text
        return f"{colour}{text}{_RESET}"


_STATE_COLOURS = {"done": "\x1b[32m", "dead": "\x1b[31m", "rejected": "\x1b[31m"}


class EventLines(TextLines):
    """Formatter that shows an event as one line when it has ended: "12:00:00 done  octo/widgets
    issues.opened  added bug; commented  2.1 s, $0.00060". Other lines are those of `TextLines`.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = record.__dict__
        if record.getMessage() == "webhook received":
            if fields.get("decision") == "queued":
                return ""
            state = str(fields.get("decision"))
        elif record.getMessage() == "delivery finished":
            state = str(fields.get("state"))
        else:
            return super().format(record)
        event = ".".join(filter(None, (fields.get("event"), fields.get("action"))))
        spent = []
        if fields.get("duration_ms") is not None:
            spent.append(f"{format_seconds(fields['duration_ms'] / 1000)} from the receipt")
        if fields.get("cost_usd"):
            spent.append(format_usd(fields["cost_usd"]))
        conversation = fields.get("repository")
        if conversation and fields.get("number"):
            conversation = f"{conversation}#{fields['number']}"
        parts = (conversation, event, fields.get("reason"), ", ".join(spent))
        text = "  ".join(str(part) for part in parts if part)
        time_ = self.formatTime(record, "%H:%M:%S")
        state_text = self._coloured(f"{state:<10}", _STATE_COLOURS.get(state, _DIM))
        return f"{self._coloured(time_, _DIM)} {state_text} {escape_unprintable(text)}"


def _format_value(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


Act = Literal[
    "retry",
    "discard",
    "pause",
    "resume",
    "catch-up",
    "forget",
    "review",
    "batch",
    "stop batch",
    "continue batch",
    "undo batch",
]
MAX_OBJECTS = 100  # that a line names

operator_log = logging.getLogger("hls_handler.operators")


def log_act(
    person: str, act: Act, objects: Sequence[str], *, number: int = 1, reason: str | None = None
) -> None:
    """Log one act. `person` is a login at the proxy or on GitHub, "API key", "local browser", or
    "command line (mona on host)".

    `objects` are GUIDs, a repository, the id of a prompt or a batch; none: everything.
    """
    fields = {
        "person": person,
        "act": act,
        "number": number,
        "reason": reason,
        "objects": list(objects[:MAX_OBJECTS]),
    }
    operator_log.info("operator", extra=fields)
