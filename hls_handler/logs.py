"""Logs: JSON lines or readable text, with the ids of the work at hand in every line, an SDK's lines included.

Ids are bound with `bound(...)` to a context variable. They hold in the thread or task that binds them, and a worker
thread binds its own when it takes a delivery; the filter sits on the handler, so that an SDK's lines get them too.
Whatever is written passes through one cleaning first: our own secrets are masked, and what looks like a credential too.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import IO, Literal

from pythonjsonlogger.core import RESERVED_ATTRS, LogData
from pythonjsonlogger.json import JsonFormatter

from hls_handler.untrusted.redaction import mask_secrets, redact
from hls_handler.untrusted.terminal import printable

_bound: ContextVar[Mapping[str, str]] = ContextVar("hls_log_ids", default=MappingProxyType({}))

_NOT_FIELDS = frozenset({*RESERVED_ATTRS, "taskName", "color_message", "ids"})
_CHATTY = ("httpx2", "httpcore2", "urllib3", "alembic")  # a line for every request or step, at INFO

Clean = Callable[[str], str]


def bound(**ids: str | None) -> AbstractContextManager[None]:
    """Add ids (`delivery=`, `request_id=`, `repository=`) to every line logged inside. None leaves one out."""
    return _Bound({name: value for name, value in ids.items() if value is not None})


class _Bound(AbstractContextManager[None]):
    """Not a generator: each webhook binds twice."""

    __slots__ = ("_ids", "_token")

    def __init__(self, ids: Mapping[str, str]) -> None:
        self._ids = ids

    def __enter__(self) -> None:
        self._token = _bound.set({**_bound.get(), **self._ids})

    def __exit__(self, *_: object) -> None:
        _bound.reset(self._token)


def configure(level: str, layout: Literal["json", "text"], stream: IO[str], secrets: Iterable[str]) -> None:
    """Send every logger's lines to `stream`, cleaned of `secrets` and of what looks like a credential.

    Takes the place of whatever was configured before, also of the handlers that libraries brought along when they were
    imported (PyGithub does, uvicorn does): call it after the imports. Calling it again is fine. Libraries that log each
    request say so at DEBUG only.
    """
    known = tuple(secrets)

    def clean(text: str) -> str:
        return redact(mask_secrets(text, known))

    handler = CleanHandler(stream)
    handler.setFormatter(JsonLines(clean) if layout == "json" else TextLines(clean))
    handler.addFilter(_with_ids)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in list(root.manager.loggerDict):
        theirs = logging.getLogger(name)
        if theirs.handlers:  # without any, one that does not propagate was silenced on purpose: uvicorn's access log
            theirs.handlers[:] = []
            theirs.propagate = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "DEBUG" else logging.WARNING)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_the_end_of_a_thread


def _log_the_end_of_a_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "unknown"
    error = args.exc_value or args.exc_type()
    logging.getLogger(__name__).critical("a thread ended over a defect", extra={"thread_name": name}, exc_info=error)


def _with_ids(record: logging.LogRecord) -> bool:
    record.ids = dict(_bound.get())
    return True


class CleanHandler(logging.StreamHandler[IO[str]]):
    """Writes lines; of a record that cannot be written it says where it came from, and not what was in it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        sys.stderr.write(f"a log line could not be written: {record.name}, {record.pathname}:{record.lineno}\n")


class JsonLines(JsonFormatter):
    """One JSON object a line: timestamp, level, logger, message, the bound ids, then the fields of the call."""

    def __init__(self, clean: Clean) -> None:
        super().__init__(["levelname", "name", "message"], reserved_attrs=sorted(_NOT_FIELDS))
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
        """Cleaned before it becomes JSON, whose escapes would hide a secret from the cleaning."""
        return {self._clean(name): self._cleaned(value) for name, value in log_data.items()}

    def _cleaned(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self._clean(str(key)): self._cleaned(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._cleaned(item) for item in value]
        return self._clean(str(value))


class TextLines(logging.Formatter):
    """For people: "2026-11-20 12:00:00.123 INFO     work       delivery finished  state=done  [delivery=...]"."""

    def __init__(self, clean: Clean) -> None:
        super().__init__()
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        time = _timestamp(record).replace("T", " ").removesuffix("Z")
        where = record.name.removeprefix("hls_handler.")
        fields = "".join(f"  {k}={_readable(v)}" for k, v in record.__dict__.items() if k not in _NOT_FIELDS)
        ids = " ".join(f"{name}={value}" for name, value in record.__dict__.get("ids", {}).items())
        line = f"{time} {record.levelname:<8} {where:<16} {record.getMessage()}{fields}{f'  [{ids}]' if ids else ''}"
        shown = printable(self._clean(line))
        if record.exc_info:
            trace = self._clean(self.formatException(record.exc_info))
            shown = "\n".join([shown, *(printable(part) for part in trace.split("\n"))])
        return shown


def _readable(value: object) -> str:
    """A field's value: a plain word as it is, anything else as JSON has it."""
    if isinstance(value, str) and value.isprintable() and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
