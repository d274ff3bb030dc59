"""Many rows in one go, as the driver takes them.

SQLAlchemy spends more on each row of an INSERT, and on each value of an IN, than the database does. Its statements and
its types are used all the same; they are asked for once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Row,
    Select,
    Table,
    and_,
    any_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy import column as sql_column
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Dialect

_SIZES = (1, 4, 16, 64, 256)
"""Values that a statement asks for: a few sizes, so that each is made but once."""


class NewRows:
    """An INSERT of rows that all have the same columns."""

    def __init__(self, table: Table, columns: Sequence[str], dialect: Dialect) -> None:
        compiled = table.insert().inline().compile(dialect=dialect, column_keys=columns)
        self._sql = str(compiled)
        self._positional: bool = compiled.positional
        order = (compiled.positiontup if compiled.positional else columns) or ()
        self._columns = tuple((name, _converter(table.c[name], dialect)) for name in order)

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
        self._converters = tuple(_converter(column, dialect) for column in columns)
        self._arrays = dialect.name == "postgresql"
        self._statements: dict[int, _Places | _Arrays] = {}  # by size

    def rows(self, connection: Connection, values: Sequence[tuple[object, ...]], **terms: object) -> Iterator[Row[Any]]:
        """`terms` are the question's own parameters. Raises what SQLAlchemy raises."""
        for at in range(0, len(values), _SIZES[-1]):
            some = zip(*values[at : at + _SIZES[-1]], strict=True)
            by_column = [
                list(column) if convert is None else [convert(value) for value in column]
                for column, convert in zip(some, self._converters, strict=True)
            ]
            yield from self._statement(len(by_column[0])).rows(connection, by_column, terms)

    def _statement(self, wanted: int) -> _Places | _Arrays:
        size = _SIZES[-1] if self._arrays else next(size for size in _SIZES if size >= wanted)
        if size not in self._statements:
            self._statements[size] = (
                _Arrays(self._question, self._columns, self._dialect)
                if self._arrays
                else _Places(self._question, self._columns, size, self._dialect)
            )
        return self._statements[size]


class _Places:
    """For SQLite: a statement with so many places."""

    def __init__(self, question: Select[Any], columns: Sequence[Column[Any]], size: int, dialect: Dialect) -> None:
        bound = [[bindparam(f"{column.name}_{i}", type_=column.type) for column in columns] for i in range(size)]
        has: ColumnElement[bool]
        if len(columns) == 1:
            has = columns[0].in_([one for (one,) in bound])
        else:  # a tuple IN a list of them would be looked for in all rows
            has = or_(
                *(and_(*(column == one for column, one in zip(columns, places, strict=True))) for places in bound)
            )
        compiled = question.where(has).compile(dialect=dialect)
        self._sql, self._size, self._order = str(compiled), size, compiled.positiontup or ()
        self._names = [one.key for places in bound for one in places]

    def rows(
        self, connection: Connection, by_column: Sequence[list[Any]], terms: Mapping[str, object]
    ) -> CursorResult[Any]:
        """Places that are left over get the last one."""
        filled = [values + values[-1:] * (self._size - len(values)) for values in by_column]
        given = {**terms, **dict(zip(self._names, chain.from_iterable(zip(*filled, strict=True)), strict=True))}
        return connection.exec_driver_sql(self._sql, tuple(map(given.get, self._order)))


class _Arrays:
    """For PostgreSQL: an array for each column. It takes longer to plan many places than to look into all of them."""

    def __init__(self, question: Select[Any], columns: Sequence[Column[Any]], dialect: Dialect) -> None:
        self._names = [column.name for column in columns]
        arrays = [bindparam(column.name, type_=ARRAY(column.type)) for column in columns]
        if len(columns) == 1:
            statement: Select[Any] = question.where(columns[0] == any_(arrays[0]))
        else:  # OFFSET keeps this from being joined in any other way, as would look good while the table is small
            asked = (
                func.unnest(*arrays).table_valued(*(sql_column(name) for name in self._names)).render_derived("asked")
            )
            here = question.where(*(column == asked.c[column.name] for column in columns))
            found = here.offset(literal_column("0")).lateral("found")
            statement = select(found).select_from(asked).join(found, true())
        self._sql = str(statement.compile(dialect=dialect))

    def rows(
        self, connection: Connection, by_column: Sequence[list[Any]], terms: Mapping[str, object]
    ) -> CursorResult[Any]:
        return connection.exec_driver_sql(self._sql, {**terms, **dict(zip(self._names, by_column, strict=True))})


def _converter(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """What a column's type does to a value on its way in."""
    convert: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
    return convert
