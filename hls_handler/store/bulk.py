"""Many new rows of one table in one go, as the driver takes them.

SQLAlchemy spends more on each row of an INSERT than the database does. Its statement and its types are used all the
same; they are asked for once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.engine import Dialect


class NewRows:
    """An INSERT of rows that all have the same columns."""

    def __init__(self, table: Table, columns: Sequence[str], dialect: Dialect) -> None:
        compiled = table.insert().inline().compile(dialect=dialect, column_keys=columns)
        self._sql = str(compiled)
        self._positional: bool = compiled.positional
        order = (compiled.positiontup if compiled.positional else columns) or ()
        self._columns = tuple((name, _converter(table, name, dialect)) for name in order)

    def run(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
        """Raises what SQLAlchemy raises."""
        connection.exec_driver_sql(self._sql, [self._given(row) for row in rows])

    def _given(self, row: Mapping[str, object]) -> Any:
        """As the driver wants it: a tuple for places, a mapping for names."""
        values = [row[name] if convert is None else convert(row[name]) for name, convert in self._columns]
        return (
            tuple(values) if self._positional else {name: v for (name, _), v in zip(self._columns, values, strict=True)}
        )


def _converter(table: Table, column: str, dialect: Dialect) -> Callable[[Any], Any] | None:
    """What a column's type does to a value on its way in."""
    convert: Callable[[Any], Any] | None = table.c[column].type.dialect_impl(dialect).bind_processor(dialect)
    return convert
