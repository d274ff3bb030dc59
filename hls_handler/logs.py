"""Logging as JSON lines or readable text. Every line has the ids of the current delivery or
request.

`log_context` sets the ids for the current thread or task; a worker does so when it claims a
delivery. Lines that libraries log contain the ids, too. Before a line is written, secrets of the
settings become `***`, and everything else that looks like a credential is redacted.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import IO, Literal
from urllib.parse import quote, quote_plus

from pythonjsonlogger.json import JsonFormatter

from hls_handler.log_ring import LogRing
from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import format_seconds, format_usd

Layout = Literal["json", "text", "events"]

_bound: ContextVar[Mapping[str, str]] = ContextVar("hls_log_ids", default=MappingProxyType({}))

_NON_FIELDS = frozenset(
    {
        *logging.LogRecord("", 0, "", 0, "", (), None).__dict__,
        "message",
        "taskName",
        "color_message",
        "ids",
    }
)
# they log every request or step at INFO
_VERBOSE_LOGGERS = ("httpx", "httpx2", "httpcore2", "urllib3", "alembic")
# the id of a delivery or a request is no credential, and differs in each line
IDENTIFIER = re.compile("[0-9a-f-]+")
MAX_REMEMBERED_CHARS = 200


# used like a function; a class, because a generator takes twice as long
class log_context:  # noqa: N801
    """Add ids, such as `delivery=GUID`, to every line logged in the `with` block. An id that is
    None is omitted.
    """

    __slots__ = ("_ids", "_token")

    def __init__(self, **ids: str | None) -> None:
        self._ids = ids

    def __enter__(self) -> None:
        given = {name: value for name, value in self._ids.items() if value is not None}
        self._token = _bound.set({**_bound.get(), **given})

    def __exit__(self, *_error: object) -> None:
        _bound.reset(self._token)


def configure(
    level: str,
    layout: Layout,
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
    clean = _Cleaner(secrets)
    json_lines = JsonLines(clean)
    handler = CleanHandler(stream, ring, json_lines)
    if layout == "json":
        handler.setFormatter(json_lines)
    elif layout == "events":
        handler.setFormatter(EventLines(clean, colours=colours))
    else:
        handler.setFormatter(TextLines(clean, colours=colours))
    handler.addFilter(_add_ids)
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
    threading.excepthook = _log_thread_exception


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "unknown"
    error = args.exc_value or args.exc_type()
    logging.getLogger(__name__).critical(
        "uncaught exception in a thread", extra={"thread_name": name}, exc_info=error
    )


def _add_ids(record: logging.LogRecord) -> bool:
    record.ids = _bound.get()  # never changed: `log_context` replaces the mapping
    return True


class CleanHandler(logging.StreamHandler[IO[str]]):
    """Handler that writes log lines, and adds them to the ring buffer as JSON.

    If a line cannot be formatted, stderr gets its logger, file and line number.
    """

    def __init__(self, stream: IO[str], ring: LogRing | None, json_lines: JsonLines) -> None:
        super().__init__(stream)
        self._ring = ring
        self._json_lines = json_lines

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if self._ring is not None and self.formatter is self._json_lines:
            self._ring.add(line)
        elif self._ring is not None:
            self._ring.add(self._json_lines.format(record))
        self.terminator = "\n" if line else ""  # which is written after the line
        return line

    # the name is defined by logging
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        with suppress(OSError, ValueError):  # the reader of the log has closed it
            where = f"{record.name}, {record.pathname}:{record.lineno}"
            sys.stderr.write(f"a log line could not be written: {where}\n")


class _Cleaner:
    """Masks secrets and credentials in values of log lines. Short texts, which repeat, are
    remembered.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = _any_of(_find_encodings(secrets))
        self._clean_short = lru_cache(maxsize=1000)(self._clean)

    def clean(self, text: str) -> str:
        if len(text) <= MAX_REMEMBERED_CHARS:
            return self._clean_short(text)
        return self._clean(text)

    def _clean(self, text: str) -> str:
        masked = self._secrets.sub(MASK, text)
        if IDENTIFIER.fullmatch(masked):
            return masked
        return redact(masked)

    def clean_value(self, value: object) -> object:
        """Return JSON: numbers unchanged, texts cleaned, and the text of any other object."""
        if isinstance(value, str):
            return self.clean(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.clean(str(key)): self.clean_value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean_value(item) for item in value]
        return self.clean(str(value))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _NON_FIELDS}


def _format_time(seconds: float) -> str:
    """Return "2026-11-20T12:00:00.123Z"."""
    time = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return time.replace("+00:00", "Z")


class JsonLines(JsonFormatter):
    """Formatter of JSON lines: timestamp, level, logger, message, ids of `log_context`, then the
    fields of `extra`.

    Secrets are masked before the values are encoded as JSON, because JSON's escapes can hide a
    credential. Characters that are not ASCII are escaped, because not every stream can write them.
    """

    def __init__(self, cleaner: _Cleaner) -> None:
        super().__init__(json_serializer=_to_json)
        self._cleaner = cleaner

    def add_fields(
        self,
        log_data: dict[str, object],
        record: logging.LogRecord,
        message_dict: dict[str, object],  # noqa: ARG002
    ) -> None:
        """Fill `log_data`. A message that is a dict is logged as text, and not as fields
        (`message_dict`).
        """
        clean = self._cleaner.clean
        log_data["timestamp"] = _format_time(record.created)
        log_data["level"] = record.levelname
        log_data["logger"] = clean(record.name)
        log_data["message"] = clean(record.getMessage())
        for name, value in record.__dict__.get("ids", {}).items():
            log_data[name] = clean(value)
        for name, field in _fields(record).items():
            log_data.setdefault(clean(name), self._cleaner.clean_value(field))
        if record.exc_info:
            log_data["exception"] = clean(logging.Formatter.formatException(self, record.exc_info))


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

    def __init__(self, cleaner: _Cleaner, *, colours: bool) -> None:
        super().__init__()
        self._cleaner = cleaner
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        clean = self._cleaner.clean
        where = record.name.removeprefix("hls_handler.")
        time_ = _format_time(record.created).replace("T", " ").removesuffix("Z")
        level = self._coloured(f"{record.levelname:<8}", _LEVEL_COLOURS.get(record.levelname, ""))
        fields = "".join(
            f"  {clean(name)}={_format_value(self._cleaner.clean_value(value))}"
            for name, value in _fields(record).items()
            if value is not None
        )
        ids = " ".join(
            f"{name}={clean(value)}" for name, value in record.__dict__.get("ids", {}).items()
        )
        if ids:
            fields += f"  [{ids}]"
        what = escape_unprintable(f"{where:<16} {clean(record.getMessage())}")
        more = self._coloured(escape_unprintable(fields), _DIM)
        shown = f"{self._coloured(time_, _DIM)} {level} {what}{more}"
        if record.exc_info:
            trace = clean(self.formatException(record.exc_info))
            shown = "\n".join([shown, *(escape_unprintable(part) for part in trace.split("\n"))])
        return shown

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
        fields = {**record.__dict__.get("ids", {}), **record.__dict__}
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
            spent.append(format_seconds(fields["duration_ms"] / 1000))
        if fields.get("cost_usd"):
            spent.append(format_usd(fields["cost_usd"]))
        conversation = fields.get("repository")
        if conversation and fields.get("number"):
            conversation = f"{conversation}#{fields['number']}"
        parts = (conversation, event, fields.get("reason"), ", ".join(spent))
        text = self._cleaner.clean("  ".join(str(part) for part in parts if part))
        time_ = _format_time(record.created)[11:19]
        shown = self._coloured(f"{state:<10}", _STATE_COLOURS.get(state, _DIM))
        return f"{self._coloured(time_, _DIM)} {shown} {escape_unprintable(text)}"


def _format_value(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


MASK = "***"
NOTHING = "(?!)"  # a pattern that never matches
MIN_SECRET_CHARS = 4  # a shorter one would mask ordinary text, and is not secure anyway
MIN_BASE64_CHARS = 6  # a shorter part of a secret's base64 text is not masked


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace `secrets` in `text` by `***`. Secrets shorter than `MIN_SECRET_CHARS` are not
    replaced.

    Encoded secrets are also replaced: in base64 (standard or URL-safe, also inside a longer text),
    URL-encoded, or escaped as in a `repr`, JSON or HTML.
    """
    return _any_of(_find_encodings(secrets)).sub(MASK, text)


def _find_encodings(secrets: Iterable[str]) -> list[str]:
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= MIN_SECRET_CHARS:
            found.update(_encodings(secret))
    return sorted(found, key=lambda encoding: (-len(encoding), encoding))


def _any_of(longest_first: Iterable[str]) -> re.Pattern[str]:
    alternatives = "|".join(map(re.escape, longest_first))
    return re.compile(alternatives or NOTHING)


def _encodings(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    yield repr(secret.encode("utf-8", "surrogatepass"))[2:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield html.escape(secret)
    utf8 = secret.encode("utf-8", "surrogatepass")
    for encoded in (quote(utf8, safe=""), quote(utf8), quote_plus(utf8)):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)
    yield from (part for part in _base64_parts(utf8) if len(part) >= MIN_BASE64_CHARS)


def _base64_parts(secret: bytes) -> Iterator[str]:
    # In the base64 of a longer text, such as "user:secret", the secret's characters depend on its
    # offset modulo 3.
    # bytes before the secret; characters that encode them
    for offset, mixed in ((0, 0), (1, 2), (2, 3)):
        end = (offset + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * offset + secret).decode()
            yield encoded[mixed:end]
            yield encoded[mixed:].rstrip("=")
