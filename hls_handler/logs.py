"""Logging as JSON lines or readable text. Every line has the ids of the current delivery or request.

`log_context` sets the ids for the current thread or task; a worker does so when it claims a delivery. Lines that
libraries log contain the ids, too. Before a line is written, secrets of the settings become `***`, and everything else
that looks like a credential is redacted.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import IO, Literal
from urllib.parse import quote, quote_plus

from pythonjsonlogger.core import RESERVED_ATTRS, LogData
from pythonjsonlogger.json import JsonFormatter

from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.untrusted.redaction import redact

_bound: ContextVar[Mapping[str, str]] = ContextVar("hls_log_ids", default=MappingProxyType({}))

_NON_FIELDS = frozenset({*RESERVED_ATTRS, "taskName", "color_message", "ids"})
_VERBOSE_LOGGERS = ("httpx2", "httpcore2", "urllib3", "alembic")  # they log every request or step at INFO

Clean = Callable[[str], str]


class log_context:  # noqa: N801 (used like a function; a class, because a generator takes twice as long)
    """Add ids, such as `delivery=GUID`, to every line logged in the `with` block. An id that is None is omitted."""

    __slots__ = ("_ids", "_token")

    def __init__(self, **ids: str | None) -> None:
        self._ids = ids

    def __enter__(self) -> None:
        given = {name: value for name, value in self._ids.items() if value is not None}
        self._token = _bound.set({**_bound.get(), **given})

    def __exit__(self, *_error: object) -> None:
        _bound.reset(self._token)


def configure(level: str, layout: Literal["json", "text"], stream: IO[str], secrets: Iterable[str]) -> None:
    """Send the lines of all loggers to `stream`, with `secrets` and everything that looks like a credential masked.

    Replaces any earlier configuration. Call it after the imports, because it also removes the handlers that PyGithub
    and uvicorn install on import. HTTP libraries log requests only if `level` is "DEBUG".
    """
    own_secrets = tuple(secrets)

    def clean(text: str) -> str:
        return redact(mask_secrets(text, own_secrets))

    handler = CleanHandler(stream)
    handler.setFormatter(JsonLines(clean) if layout == "json" else TextLines(clean))
    handler.addFilter(_add_ids)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in list(root.manager.loggerDict):
        logger = logging.getLogger(name)
        if logger.handlers:  # a logger without handlers was silenced on purpose: uvicorn's access log
            logger.handlers[:] = []
            logger.propagate = True
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "DEBUG" else logging.WARNING)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_thread_exception


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "unknown"
    error = args.exc_value or args.exc_type()
    logging.getLogger(__name__).critical("uncaught exception in a thread", extra={"thread_name": name}, exc_info=error)


def _add_ids(record: logging.LogRecord) -> bool:
    record.ids = dict(_bound.get())
    return True


class CleanHandler(logging.StreamHandler[IO[str]]):
    """Handler that writes log lines. If a write fails, stderr gets logger, file and line number, but no content."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (name defined by logging)
        sys.stderr.write(f"a log line could not be written: {record.name}, {record.pathname}:{record.lineno}\n")


class JsonLines(JsonFormatter):
    """Formatter of JSON lines: timestamp, level, logger, message, ids of `log_context`, then the fields of `extra`."""

    def __init__(self, clean: Clean) -> None:
        super().__init__(["levelname", "name", "message"], reserved_attrs=sorted(_NON_FIELDS))
        self._clean = clean

    def add_fields(self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, object]) -> None:
        fields: LogData = {}
        super().add_fields(fields, record, message_dict)
        log_data["timestamp"] = _timestamp(record)
        log_data["level"] = fields.pop("levelname")
        log_data["logger"] = fields.pop("name")
        log_data["message"] = fields.pop("message")
        log_data.update(record.__dict__.get("ids", {}))
        trace = fields.pop("exc_info", None)
        log_data.update({name: value for name, value in fields.items() if name not in log_data})
        if trace:
            log_data["exception"] = trace

    def process_log_record(self, log_data: LogData) -> LogData:
        """Mask secrets before the values are encoded as JSON, because JSON's escapes can hide a credential."""
        return {self._clean(name): self._clean_value(value) for name, value in log_data.items()}

    def _clean_value(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self._clean(str(key)): self._clean_value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean_value(item) for item in value]
        return self._clean(str(value))


class TextLines(logging.Formatter):
    """Formatter of text: "2026-11-20 12:00:00.123 INFO     work      delivery finished  state=done  [delivery=...]"."""

    def __init__(self, clean: Clean) -> None:
        super().__init__()
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        time = _timestamp(record).replace("T", " ").removesuffix("Z")
        where = record.name.removeprefix("hls_handler.")
        fields = "".join(f"  {k}={_format_value(v)}" for k, v in record.__dict__.items() if k not in _NON_FIELDS)
        ids = " ".join(f"{name}={value}" for name, value in record.__dict__.get("ids", {}).items())
        line = f"{time} {record.levelname:<8} {where:<16} {record.getMessage()}{fields}{f'  [{ids}]' if ids else ''}"
        shown = escape_unprintable(self._clean(line))
        if record.exc_info:
            trace = self._clean(self.formatException(record.exc_info))
            shown = "\n".join([shown, *(escape_unprintable(part) for part in trace.split("\n"))])
        return shown


def _format_value(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


MASK = "***"
MIN_SECRET_CHARS = 4  # a shorter one would mask ordinary text, and is not secure anyway
MIN_BASE64_CHARS = 6  # a shorter part of a secret's base64 text is not masked


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace `secrets` in `text` by `***`. Secrets shorter than `MIN_SECRET_CHARS` are not replaced.

    Encoded secrets are also replaced: in base64 (standard or URL-safe, also inside a longer text), URL-encoded, or
    escaped as in a `repr`, JSON or HTML.
    """
    encodings = {text for secret in secrets if len(secret) >= MIN_SECRET_CHARS for text in _encodings(secret)}
    if not encodings:
        return text
    longest_first = sorted(encodings, key=lambda encoding: (-len(encoding), encoding))
    return re.sub("|".join(re.escape(encoding) for encoding in longest_first), MASK, text)


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
    # In the base64 of a longer text, such as "user:secret", the secret's characters depend on its offset modulo 3.
    for offset, mixed in ((0, 0), (1, 2), (2, 3)):  # bytes before the secret; characters that encode them
        end = (offset + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * offset + secret).decode()
            yield encoded[mixed:end]
            yield encoded[mixed:].rstrip("=")
