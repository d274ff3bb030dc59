"""The file of a backtest: its issues, the calls of Claude with their replies, and how each side
ended. It is an SQLite database of its own, so that a service never reads it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter
from sqlalchemy import (
    URL,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    func,
    select,
)

from hls_handler.analysis import Usage
from hls_handler.db.database import Database
from hls_handler.db.files import ensure_private_file
from hls_handler.db.values import no_skew
from hls_handler.errors import StoreUnavailable
from hls_handler.store.replies import StoredReply

BUSY_TIMEOUT_S = 30.0

_metadata = MetaData()
_plans = Table(
    "plans",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("plan", Text, nullable=False),  # JSON
)
_issues = Table(
    "issues",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("position", Integer, nullable=False),  # 0: the newest
    Column("issue", Text, nullable=False),  # JSON: its first text, and the labels that people left
)
_calls = Table(
    "calls",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False, index=True),
    Column("side", Integer, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("reserved_usd", Float, nullable=False),
    Column("usage", Text),  # JSON; None until the call has ended
    Column("reply", Text),  # JSON of a valid reply
    Column("error", Text),
)
_ends = Table(
    "ends",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("side", Integer, primary_key=True),
    Column("problem", Text, nullable=False),  # "" if there is a result
)

_USAGE = TypeAdapter(Usage)
_REPLY = TypeAdapter(StoredReply)


@dataclass(frozen=True, slots=True)
class IssueRow:
    number: int
    issue: str


@dataclass(frozen=True, slots=True)
class AskedSide:
    """The stored calls about one issue and one side: 0 the current prompt, 1 the candidate."""

    replies: Mapping[str, StoredReply]  # by the name of the prompt, in the order of the calls
    calls: int  # ended ones
    usages: tuple[Usage, ...]
    problem: str | None  # None: it has not ended; "": it has a result


NOT_ASKED = AskedSide({}, 0, (), None)


class BacktestStore:
    """Thread-safe. Methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open or create the file, which only its user may read.

        Raises `StoreUnavailable` while another process has opened it.
        """
        url = URL.create("sqlite", database=str(path))
        ensure_private_file(url)
        with _lock(path), cls._connect(url) as store:
            yield store

    @classmethod
    @contextmanager
    def _connect(cls, url: URL) -> Iterator[Self]:
        database = Database(url, skew=no_skew, busy_timeout_s=BUSY_TIMEOUT_S)
        with closing(database):
            database.prepare()
            with database.writing() as connection:
                _metadata.create_all(connection)
            yield cls(database)

    def load_plan(self) -> str | None:
        with self._database.reading() as connection:
            plan: str | None = connection.execute(select(_plans.c.plan)).scalar()
        return plan

    def has_calls(self) -> bool:
        with self._database.reading() as connection:
            return _has_calls(connection)

    def save_plan(self, plan: str, issues: Sequence[IssueRow]) -> None:
        """Store the plan, and the issues that are not stored yet behind those that are. Before the
        first call, the issues replace those that are stored.
        """
        with self._database.writing() as connection:
            if not _has_calls(connection):
                connection.execute(_issues.delete())
            connection.execute(self._database.upsert(_plans, "plan"), {"id": 1, "plan": plan})
            known = connection.execute(select(_issues.c.number)).scalars().all()
            new = [one for one in issues if one.number not in known]
            rows = [
                {
                    "number": one.number,
                    "position": len(known) + offset,
                    "issue": one.issue,
                }
                for offset, one in enumerate(new)
            ]
            self._database.insert_rows(connection, _issues, rows)

    def issues(self) -> tuple[IssueRow, ...]:
        """Return the issues in the order of their positions."""
        columns = (_issues.c.number, _issues.c.issue)
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).order_by(_issues.c.position)).all()
        return tuple(IssueRow(row.number, row.issue) for row in rows)

    def spent_usd(self) -> float:
        """Return the cost of all calls. One that has not ended counts as its reservation."""
        with self._database.reading() as connection:
            return _sum_cost(connection)

    def begin_call(
        self, number: int, side: int, *, prompt: str, estimate: Usage, most_usd: float
    ) -> int | None:
        """Store the start of a call, and return its id; None if it may cost more than is left."""
        reserved = estimate.cost_usd or 0.0
        with self._database.writing() as connection:
            if round(_sum_cost(connection) + reserved, 6) > round(most_usd, 6):
                return None
            row = {
                "number": number,
                "side": side,
                "prompt": prompt,
                "model": estimate.model,
                "reserved_usd": reserved,
            }
            inserted = connection.execute(_calls.insert().values(row))
            key = inserted.inserted_primary_key
            assert key is not None
            return int(key[0])

    def end_call(
        self, call: int, usage: Usage, *, reply: StoredReply | None = None, error: str | None = None
    ) -> None:
        values: dict[str, object] = {"usage": _USAGE.dump_json(usage).decode(), "error": error}
        if usage.cost_usd is not None:
            values["reserved_usd"] = usage.cost_usd
        if reply is not None:
            values["reply"] = _REPLY.dump_json(reply).decode()
        with self._database.writing() as connection:
            connection.execute(_calls.update().where(_calls.c.id == call).values(values))

    def end(self, number: int, side: int, problem: str = "") -> None:
        with self._database.writing() as connection:
            row = {"number": number, "side": side, "problem": problem}
            connection.execute(self._database.upsert(_ends, "problem"), row)

    def load_all(self) -> Mapping[tuple[int, int], AskedSide]:
        """Return what is stored by number and side."""
        with self._database.reading() as connection:
            calls = connection.execute(select(_calls).order_by(_calls.c.id)).all()
            ends = connection.execute(select(_ends)).all()
        by_key: dict[tuple[int, int], list[Row[Any]]] = {}
        for call in calls:
            by_key.setdefault((call.number, call.side), []).append(call)
        problems = {(end.number, end.side): end.problem for end in ends}
        keys = dict.fromkeys([*by_key, *problems])
        return {key: _to_asked(by_key.get(key, ()), problems.get(key)) for key in keys}

    def load(self, number: int, side: int) -> AskedSide:
        of_issue = (_calls.c.number == number) & (_calls.c.side == side)
        ended = (_ends.c.number == number) & (_ends.c.side == side)
        with self._database.reading() as connection:
            calls = connection.execute(select(_calls).where(of_issue).order_by(_calls.c.id)).all()
            problem = connection.execute(select(_ends.c.problem).where(ended)).scalar()
        return _to_asked(calls, problem)


def _has_calls(connection: Connection) -> bool:
    return connection.execute(select(_calls.c.id).limit(1)).first() is not None


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise StoreUnavailable(
                f"another `hls backtest` uses {path}: wait until it ends"
            ) from exc
        yield


def _sum_cost(connection: Connection) -> float:
    total = connection.execute(select(func.sum(_calls.c.reserved_usd))).scalar()
    return float(total or 0.0)


def _to_asked(calls: Iterable[Row[Any]], problem: str | None) -> AskedSide:
    ended = [call for call in calls if call.usage is not None]
    replies = {call.prompt: _REPLY.validate_json(call.reply) for call in ended if call.reply}
    usages = tuple(_USAGE.validate_json(call.usage) for call in ended)
    return AskedSide(replies, len(ended), usages, problem)
