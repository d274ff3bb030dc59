"""Conversion of column values: times, compressed bodies, untrusted text, and rows to
dataclasses.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import zstandard
from sqlalchemy import ColumnElement, FromClause, Row, Text, literal_column, or_
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from hls_handler.deliveries import CAUGHT_UP, State
from hls_handler.errors import HlsError

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
FURTHEST_MS = 48 * HOUR_MS
"""A stored time that is further ahead than this counts as passed, because the clock must have been
set back.
"""


def literal(state: State) -> ColumnElement[str]:
    """Return the state as an SQL literal. With a bind parameter, the planner could not use the
    partial indexes.
    """
    return literal_column(f"'{state}'")


def is_caught_up(deliveries: FromClause) -> ColumnElement[bool]:
    """Return the SQL condition that catch-up read the delivery from GitHub."""
    condition: ColumnElement[bool] = deliveries.c.request_id.startswith(CAUGHT_UP)
    return condition


class UntrustedString(TypeDecorator[str]):
    """Column type for untrusted text. It replaces NUL and lone surrogates, which PostgreSQL cannot
    store.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        if value is None or value.isprintable():
            return value
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def no_skew() -> timedelta:
    return timedelta()


def has_passed(moment: ColumnElement[int], now: ColumnElement[int]) -> ColumnElement[bool]:
    """Return the SQL condition that `moment` has passed.

    A moment more than `FURTHEST_MS` after `now` also counts as passed, because the clock must have
    been set back.
    """
    return or_(moment <= now, moment > now + FURTHEST_MS)


def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch, rounded up so that nothing starts before it is due."""
    return -((EPOCH - moment) // timedelta(milliseconds=1))


def from_ms(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


def from_row(kind: type[T], row: Row[Any], **values: object) -> T:
    """Return an instance of the dataclass `kind`. Fields that are not in `values` come from columns
    of the same names.

    Columns named `..._at` or `..._until` are converted from ms to datetimes; `took_s` comes from
    `duration_ms`.
    """
    columns = row._mapping
    for name in kind.__annotations__.keys() - values.keys():
        value = columns["duration_ms" if name == "took_s" else name]
        if value is not None and name.endswith(("_at", "_until")):
            value = from_ms(value)
        elif value is not None and name == "took_s":
            value /= 1000
        values[name] = value
    return kind(**values)


class _ThreadLocal(threading.local):
    def __init__(self) -> None:
        # Creating a compressor takes nine times as long as compressing a checkpoint.
        self.compress = zstandard.ZstdCompressor(level=1).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_local = _ThreadLocal()


def compress(content: bytes) -> bytes:
    """Compress with zstd at level 1, usually to a tenth of the size."""
    return _local.compress(content)


def decompress(stored: bytes | None) -> bytes:
    """Reverse `compress`; return b"" for None. Raises `DamagedError` if `stored` is not valid."""
    if stored is None:
        return b""
    try:
        return _local.decompress(stored)
    except zstandard.ZstdError as exc:
        raise _damaged(exc) from exc


def compress_text(text: str) -> bytes:
    return compress(text.encode("utf-8", "surrogatepass"))


def decompress_text(stored: bytes) -> str:
    """Reverse `compress_text`. Raises `DamagedError` if `stored` is not valid."""
    try:
        return decompress(stored).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as exc:
        raise _damaged(exc) from exc


def _damaged(exc: Exception) -> DamagedError:
    return DamagedError(
        f"a stored value cannot be read ({exc}): the database may be damaged; restore a backup"
    )


class DamagedError(HlsError):
    """A stored value cannot be read: the database file may be damaged."""
