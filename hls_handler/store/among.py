"""Questions about the rows that have any of many values, made once for each of a few sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from sqlalchemy import (
    Column,
    ColumnClause,
    ColumnElement,
    Select,
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

from hls_handler.store.connection import Connection

_SIZES = (1, 4, 16, 64, 256)
"""Values that a statement asks for: a few sizes, so that each is made but once."""


class Among:
    """A SELECT of rows that have any of some values in a column, or of some tuples in columns. NULL is not found."""

    def __init__(self, question: Select[Any], columns: Sequence[Column[Any]], *, arrays: bool) -> None:
        self._question, self._columns, self._arrays = question, columns, arrays
        self._by_size: dict[int, Select[Any]] = {}  # those with places

    def rows(self, connection: Connection, values: Sequence[tuple[object, ...]], **terms: object) -> Iterator[Any]:
        """`terms` are the question's own parameters. Raises as `Connection.run`."""
        for at in range(0, len(values), _SIZES[-1]):
            some = values[at : at + _SIZES[-1]]
            if self._arrays:
                yield from connection.run(self._for_arrays, {**terms, **self._as_arrays(some)})
            else:
                size = next(size for size in _SIZES if size >= len(some))
                if size not in self._by_size:
                    self._by_size[size] = self._for_places(size)
                yield from connection.run(self._by_size[size], {**terms, **self._in_places(some, size)})

    def _for_places(self, size: int) -> Select[Any]:
        """For SQLite: so many places."""
        places = [[bindparam(f"{column.name}_{i}", type_=column.type) for column in self._columns] for i in range(size)]
        if len(self._columns) == 1:
            return self._question.where(self._columns[0].in_([place for (place,) in places]))
        # A tuple IN a list of them would be looked for in all rows.
        return self._question.where(or_(*(self._equal(some) for some in places)))

    @cached_property
    def _for_arrays(self) -> Select[Any]:
        """For PostgreSQL: an array for each column. It takes longer to plan many places than to look into them all."""
        arrays = [bindparam(column.name, type_=ARRAY(column.type)) for column in self._columns]
        if len(self._columns) == 1:
            return self._question.where(self._columns[0] == any_(arrays[0]))
        names: list[ColumnClause[Any]] = [sql_column(column.name) for column in self._columns]
        asked = func.unnest(*arrays).table_valued(*names).render_derived("asked")
        # OFFSET keeps this from being joined in any other way, as would look good while the table is small.
        here = self._question.where(self._equal([asked.c[column.name] for column in self._columns]))
        found = here.offset(literal_column("0")).lateral("found")
        return select(found).select_from(asked).join(found, true())

    def _equal(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
        return and_(*(column == value for column, value in zip(self._columns, values, strict=True)))

    def _in_places(self, values: Sequence[tuple[object, ...]], size: int) -> dict[str, object]:
        """Places that are left over get the last one."""
        filled = [*values, *[values[-1]] * (size - len(values))]
        names = (f"{column.name}_{i}" for i in range(size) for column in self._columns)
        return dict(zip(names, chain.from_iterable(filled), strict=True))

    def _as_arrays(self, values: Sequence[tuple[object, ...]]) -> dict[str, object]:
        names = (column.name for column in self._columns)
        return dict(zip(names, map(list, zip(*values, strict=True)), strict=True))
