"""A connection, on which statements that are made once go straight to the driver.

SQLAlchemy takes several times as long to run a statement as the database does, and a delivery runs dozens. It still
makes each of them, and says what becomes of values on their way in and out; it is asked for that once.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, NoReturn, Self

import psycopg
import sqlalchemy
from sqlalchemy import Engine, Insert, TextClause
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.types import TypeEngine

from hls_handler.store.sqlite import sticks

Statement = SelectBase | UpdateBase | TextClause
Terms = Mapping[str, object]
"""Values by the names of parameters, or of columns that are written."""

Prepared = MutableMapping[tuple[object, ...], "_Prepared"]
"""What is compiled already, by the statement and, where it writes, by the names of its terms."""

_NO_TERMS: Terms = {}


class Rows(list[Any]):
    """All rows of an answer: named tuples."""

    def first(self) -> Any:
        """None if there is none."""
        return self[0] if self else None

    def one(self) -> Any:
        """Raises `ValueError` unless there is exactly one."""
        (row,) = self
        return row

    def scalar(self) -> Any:
        """The first row's first column; None if there is no row."""
        return self[0][0] if self else None

    def scalar_one(self) -> Any:
        """The first column of the only row."""
        return self.one()[0]

    def scalars(self) -> list[Any]:
        """The first column of each."""
        return [row[0] for row in self]


class Connection(sqlalchemy.Connection):
    """`run` and `run_for_each` are for statements that are made once: they stay compiled while the database is open.

    `execute` is for all others, and for lists of values (`IN`).
    """

    def __init__(self, engine: Engine, prepared: Prepared) -> None:
        super().__init__(engine)
        self._prepared = prepared

    def __enter__(self) -> Self:
        return self

    def run(self, statement: Statement, terms: Terms = _NO_TERMS) -> Rows:
        """Raises the driver's errors."""
        prepared = self._prepare(statement, terms)
        try:
            return prepared.rows(self._driver.execute(prepared.sql, prepared.given(terms)))
        except (sqlite3.Error, psycopg.Error) as exc:
            self._give_up(exc)

    def run_for_each(self, statement: Statement, each: Sequence[Terms]) -> None:
        """One after the other, of terms with the same names; what they answer is not asked for. Raises as `run`.

        The last goes alone: psycopg sends many so that PostgreSQL does not watch after them how long the transaction
        is idle, and a process that froze just then would hold its locks for good.
        """
        if not each:
            return
        prepared = self._prepare(statement, each[0])
        *most, last = [prepared.given(terms) for terms in each]
        cursor = self._driver.cursor()
        try:
            if most:
                cursor.executemany(prepared.sql, most)
            cursor.execute(prepared.sql, last)
        except (sqlite3.Error, psycopg.Error) as exc:
            self._give_up(exc)

    @property
    def _driver(self) -> Any:
        return self.connection.driver_connection

    def _prepare(self, statement: Statement, terms: Terms) -> _Prepared:
        key = (statement, *terms) if isinstance(statement, UpdateBase) else (statement,)
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._prepared[key] = _Prepared(statement, terms, self.dialect)
        return prepared

    def _give_up(self, exc: sqlite3.Error | psycopg.Error) -> NoReturn:
        """Use neither a connection that is broken, nor others on which the same is to be expected."""
        if isinstance(exc, sqlite3.Error):
            if sticks(exc):
                self.engine.dispose()
                self.invalidate()
        elif self._driver.closed:
            self.invalidate()
        raise exc


class _Prepared:
    """A statement as the driver takes it."""

    def __init__(self, statement: Statement, names: Iterable[str], dialect: Dialect) -> None:
        made = statement.inline() if isinstance(statement, Insert) else statement  # PostgreSQL's ids are not asked for
        compiled = made.compile(dialect=dialect, column_keys=list(names))
        self.sql = str(compiled)
        if "POSTCOMPILE" in self.sql:
            raise TypeError(f"no list of values fits a statement that is made once (Database.among does): {self.sql}")
        self._places = compiled.positiontup if compiled.positional else None
        binds = compiled.binds
        to_be_given = {name for name, bind in binds.items() if bind.required}
        converters = {name: _on_the_way_in(bind.type, dialect) for name, bind in binds.items()}
        self._converters = [(name, convert) for name in to_be_given if (convert := converters[name]) is not None]
        self._asked = [(name, bind.callable) for name, bind in binds.items() if bind.callable is not None]
        self._fixed = {
            name: value if (convert := converters.get(name)) is None else convert(value)
            for name, value in compiled.params.items()
            if name not in to_be_given
        }
        columns = () if isinstance(statement, TextClause) else statement.exported_columns
        self._types = [column.type for column in columns]
        self._dialect = dialect
        self._make: Callable[[Sequence[Any]], Any] | None = None

    def given(self, terms: Terms) -> Any:
        """A tuple for places, a mapping for names."""
        values: dict[str, Any] = {**self._fixed, **terms}
        for name, ask in self._asked:
            values[name] = ask()
        for name, convert in self._converters:
            values[name] = convert(values[name])
        return values if self._places is None else tuple([values[name] for name in self._places])

    def rows(self, cursor: Any) -> Rows:
        if cursor.description is None:
            return Rows()
        if self._make is None:
            self._make = self._maker(cursor.description)
        return Rows(map(self._make, cursor.fetchall()))

    def _maker(self, description: Sequence[Sequence[Any]]) -> Callable[[Sequence[Any]], Any]:
        """What makes a named tuple of what the driver gives, and describes as PEP 249 says."""
        names = [column[0] for column in description]
        row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc] # names that no type checker can know
        make: Callable[[Iterable[Any]], Any] = row._make
        converters = [
            _on_the_way_out(column_type, described[1], self._dialect)
            for column_type, described in zip(self._types, description, strict=False)
        ]
        if not any(converters):
            return make

        def convert(row: Sequence[Any]) -> Any:
            return make(value if one is None else one(value) for one, value in zip(converters, row, strict=True))

        return convert


def _on_the_way_in(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    convert: Callable[[Any], Any] | None = column_type.dialect_impl(dialect).bind_processor(dialect)
    return convert


def _on_the_way_out(column_type: TypeEngine[Any], code: object, dialect: Dialect) -> Callable[[Any], Any] | None:
    convert: Callable[[Any], Any] | None = column_type.dialect_impl(dialect).result_processor(dialect, code)
    return convert
