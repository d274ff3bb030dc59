"""Logging as JSON lines or readable text, with the ids of the current work in every line, including lines of SDKs.

`bound(...)` binds ids to a context variable. They apply to the thread or task that binds them; a worker thread binds
its own when it claims a delivery. The filter is attached to the handler, so that lines of SDKs contain the ids too.
Every line is cleaned before it is written: our own secrets and everything that looks like a credential are masked.
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
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import IO, Literal
from urllib.parse import quote, quote_plus

from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.untrusted.redaction import redact

_bound: ContextVar[Mapping[str, str]] = ContextVar("hls_log_ids", default=MappingProxyType({}))

_NON_FIELDS = frozenset({*logging.makeLogRecord({}).__dict__, "message", "color_message", "ids"})
_VERBOSE_LOGGERS = ("httpx2", "httpcore2", "urllib3", "alembic")  # log every request or step at INFO

Clean = Callable[[str], str]


@contextmanager
def bound(**ids: str | None) -> Iterator[None]:
    """Add ids (`delivery=`, `request_id=`, `repository=`) to every line logged inside. None omits an id."""
    token = _bound.set({**_bound.get(), **{name: value for name, value in ids.items() if value is not None}})
    try:
        yield
    finally:
        _bound.reset(token)


def configure(level: str, layout: Literal["json", "text"], stream: IO[str], secrets: Iterable[str]) -> None:
    """Send the lines of all loggers to `stream`, with `secrets` and everything that looks like a credential masked.

    Replaces any earlier configuration, including the handlers that libraries (PyGithub, uvicorn) install on import:
    call it after the imports. It can be called again. Libraries that log each request do so at DEBUG only.
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
        if logger.handlers:  # without handlers and propagation it was silenced on purpose: uvicorn's access log
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
    """Writes lines; reports the source of a record that cannot be written, but not its content."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (name defined by logging)
        sys.stderr.write(f"a log line could not be written: {record.name}, {record.pathname}:{record.lineno}\n")


class JsonLines(logging.Formatter):
    """One JSON object per line: timestamp, level, logger, message, the bound ids, then the fields of the call."""

    def __init__(self, clean: Clean) -> None:
        super().__init__()
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        own: dict[str, object] = {
            "timestamp": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **record.__dict__.get("ids", {}),
        }
        fields = {name: value for name, value in record.__dict__.items() if name not in _NON_FIELDS}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        # Cleaned before encoding: the escapes of JSON would hide a secret from the cleaning.
        return json.dumps(self._clean_value({**own, **fields, **own}))

    def _clean_value(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self._clean(str(key)): self._clean_value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean_value(item) for item in value]
        return self._clean(str(value))


class TextLines(logging.Formatter):
    """Readable text: "2026-11-20 12:00:00.123 INFO     work       delivery finished  state=done  [delivery=...]"."""

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
    """A field's value: a plain word unchanged, anything else as JSON."""
    if isinstance(value, str) and value.isprintable() and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


MASK = "***"
MIN_SECRET_CHARS = 4  # a shorter one would mask ordinary text, and is not secure anyway
MIN_BASE64_CHARS = 6  # characters of base64


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace known secrets by `***`, in all encodings in which a log line or an exception may contain them.

    Encodings: plain, base64 (both alphabets, at any offset inside a longer value), URL-encoded, escaped for a `repr`,
    JSON or HTML.
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
    """Base64 characters that depend only on the secret, for each offset within a group of three bytes.

    If nothing follows the secret, these are all up to the padding.
    """
    for offset, mixed in ((0, 0), (1, 2), (2, 3)):  # bytes before the secret; characters that depend on them
        end = (offset + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * offset + secret).decode()
            yield encoded[mixed:end]
            yield encoded[mixed:].rstrip("=")
