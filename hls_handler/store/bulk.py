"""Many rows in one go, as the driver takes them.

SQLAlchemy spends more on each row of an INSERT, and on each value of an IN, than the database does. Its
statements and its types are used all the same; they are asked for once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, CursorResult, Row, Select, Table, and_, bindparam, or_
from sqlalchemy.engine import Dialect

_SIZES = (1, 4, 16, 64, 256)
"""Values that a statement asks for: a few sizes, so that each is made but once; places left over get the last one."""


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


class Among:
    """A SELECT of rows that have any of some values in a column, or of some tuples in columns. NULL is not found."""

    def __init__(self, question: Select[Any], columns: Sequence[Column[Any]], dialect: Dialect) -> None:
        self._question, self._columns, self._dialect = question, columns, dialect
        self._statements: dict[int, _Asking] = {}  # by size

    def rows(self, connection: Connection, values: Sequence[tuple[object, ...]], **terms: object) -> Iterator[Row[Any]]:
        """`terms` are the question's own parameters. Raises what SQLAlchemy raises."""
        for at in range(0, len(values), _SIZES[-1]):
            some = values[at : at + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(some))
            if size not in self._statements:
                self._statements[size] = _Asking(self._question, self._columns, size, self._dialect)
            yield from self._statements[size].rows(connection, [*some, *[some[-1]] * (size - len(some))], terms)


class _Asking:
    """One statement over so many values."""

    def __init__(self, question: Select[Any], columns: Sequence[Column[Any]], size: int, dialect: Dialect) -> None:
        bound = [[bindparam(f"{column.name}_{i}", type_=column.type) for column in columns] for i in range(size)]
        has: ColumnElement[bool]
        if len(columns) == 1:
            has = columns[0].in_([one for (one,) in bound])
        else:  # SQLite takes no index for a tuple IN a list of them
            has = or_(
                *(and_(*(column == one for column, one in zip(columns, places, strict=True))) for places in bound)
            )
        compiled = question.where(has).compile(dialect=dialect)
        self._sql = str(compiled)
        self._order = compiled.positiontup if compiled.positional else None
        self._names = [one.key for places in bound for one in places]

    def rows(
        self, connection: Connection, values: Sequence[tuple[object, ...]], terms: Mapping[str, object]
    ) -> CursorResult[Any]:
        given: Any = {**terms, **dict(zip(self._names, chain.from_iterable(values), strict=True))}
        return connection.exec_driver_sql(self._sql, tuple(map(given.get, self._order)) if self._order else given)


def _converter(table: Table, column: str, dialect: Dialect) -> Callable[[Any], Any] | None:
    """What a column's type does to a value on its way in."""
    convert: Callable[[Any], Any] | None = table.c[column].type.dialect_impl(dialect).bind_processor(dialect)
    return convert
