"""The database's clock as an SQL expression in milliseconds since the epoch, and conversion to datetimes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, bindparam, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
FURTHEST_MS = 48 * HOUR_MS
"""How far ahead a stored time can plausibly be; one that is further ahead counts as passed."""


class _NowMs(FunctionElement[int]):
    """The time when the database executes the statement, plus the one argument."""

    type = BigInteger()
    inherit_cache = True
    name = "now_ms"


@compiles(_NowMs, "sqlite")
def _sqlite_now(element: _NowMs, compiler: SQLCompiler, **kw: Any) -> str:
    skew = compiler.process(element.clauses, **kw)
    return f"(CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) + {skew})"


@compiles(_NowMs, "postgresql")
def _postgresql_now(element: _NowMs, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp() is volatile: inside a subquery it is read once, and an index can be used.
    skew = compiler.process(element.clauses, **kw)
    return f"(SELECT CAST(date_part('epoch', clock_timestamp()) * 1000 AS BIGINT) + {skew})"


def has_passed(moment: ColumnElement[int], now: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether `moment` has passed, or is implausibly far ahead because the clock was set back since then."""
    return or_(moment <= now, moment > now + FURTHEST_MS)


def now_ms(skew: Callable[[], timedelta]) -> ColumnElement[int]:
    """Return the database's clock plus `skew`, which is called whenever a statement is executed."""
    return _NowMs(bindparam("skew_ms", callable_=lambda: skew() // timedelta(milliseconds=1), type_=BigInteger()))


def no_skew() -> timedelta:
    return timedelta()


def to_ms(moment: datetime) -> int:
    """Round up, so that nothing starts before the moment when it is due."""
    return -((EPOCH - moment) // timedelta(milliseconds=1))


def from_ms(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


def maybe_from_ms(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)
