"""Statements that are made once go straight to the driver, and are none the worse for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import BigInteger, Boolean, Float, LargeBinary, MetaData, Select, Table, Text, bindparam, func, select

from hls_handler.deliveries import Remembered
from hls_handler.errors import StoreUnavailable
from hls_handler.store import Store
from hls_handler.store.database import Conflict, Database
from hls_handler.store.tables import Words, keys
from tests.postgres import Cluster
from tests.store.builders import accept, asked, begin, queued

things = Table(
    "things",
    MetaData(),
    sqlalchemy.Column("id", BigInteger, primary_key=True, autoincrement=False),
    sqlalchemy.Column("name", Words),
    sqlalchemy.Column("is_old", Boolean),
    sqlalchemy.Column("bytes", LargeBinary),
    sqlalchemy.Column("note", Text, unique=True),
    sqlalchemy.Column("share", Float),
)
BY_ID = select(things).where(things.c.id == bindparam("of_id"))
NEW = things.insert()
CHANGE = things.update().where(things.c.id == bindparam("of_id")).returning(things.c.id, things.c.is_old)
NAMES = select(things.c.name).order_by(things.c.id)


@pytest.fixture
def database(store: Store) -> Iterator[Database]:
    """With a table of ours, which is gone afterwards."""
    with store._database.writing() as connection:
        things.create(connection)
    yield store._database
    with store._database.writing() as connection:
        things.drop(connection)


def test_values_come_back_as_they_were_given(database: Database) -> None:
    given: list[dict[str, object]] = [
        {"id": 1, "name": "ä", "is_old": True, "bytes": b"\x00\xff", "note": "n", "share": 0.25},
        {"id": 2**62, "name": None, "is_old": False, "bytes": None, "note": None, "share": None},
    ]
    with database.writing() as connection:
        connection.run_for_each(NEW, given)
    with database.reading() as connection:
        for row in given:
            (found,) = connection.run(BY_ID, {"of_id": row["id"]})
            assert found._asdict() == row
            assert type(found.is_old) is bool


def test_a_type_has_its_say_about_values_on_their_way_in(database: Database) -> None:
    with database.writing() as connection:
        connection.run(NEW, {"id": 1, "name": "a\x00b"})
        connection.run_for_each(NEW, [{"id": 2, "name": "c\x00d"}, {"id": 3, "name": "\ud800"}])
        assert connection.run(NAMES).scalars() == ["a\ufffdb", "c\ufffdd", "?"]


def test_an_answer_is_read_in_the_ways_of_sqlalchemys(database: Database) -> None:
    with database.writing() as connection:
        assert connection.run(NAMES).first() is None
        assert connection.run(NAMES).scalar() is None
        connection.run_for_each(NEW, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        assert connection.run(BY_ID, {"of_id": 2}).one().name == "b"
        assert connection.run(BY_ID, {"of_id": 2}).scalar_one() == 2
        assert connection.run(NAMES).first() == ("a",)
        assert [row.name for row in connection.run(NAMES)] == ["a", "b"]
        with pytest.raises(ValueError, match="too many"):
            connection.run(NAMES).one()


def test_an_update_sets_what_it_is_run_with(database: Database) -> None:
    with database.writing() as connection:
        connection.run(NEW, {"id": 1, "name": "a", "is_old": False})
        assert connection.run(CHANGE, {"of_id": 1, "is_old": True}).one() == (1, True)
        assert connection.run(CHANGE, {"of_id": 1, "name": "b"}).one() == (1, True)
        assert connection.run(CHANGE, {"of_id": 2, "name": "b"}).first() is None
        assert connection.run(BY_ID, {"of_id": 1}).one()[:3] == (1, "b", True)


def test_nothing_is_run_for_nothing(database: Database) -> None:
    with database.writing() as connection:
        connection.run_for_each(NEW, [])
        assert connection.run(NAMES) == []


@pytest.mark.parametrize("before", [0, 2], ids=["the only one", "the last of three"])
def test_what_a_guard_refuses_is_undone_and_the_connection_goes_on(database: Database, before: int) -> None:
    same = [{"id": n, "note": f"n{n}"} for n in range(before)] + [{"id": 7, "note": "taken"}]
    with database.writing() as connection:
        connection.run(NEW, {"id": 8, "note": "taken"})
    with pytest.raises(Conflict), database.writing() as connection:
        connection.run_for_each(NEW, same)
    with database.writing() as connection:
        connection.run(NEW, {"id": 9, "note": "free"})
    with database.reading() as connection:
        assert [row.id for row in connection.execute(select(things.c.id).order_by(things.c.id))] == [8, 9]


def test_a_statement_that_fails_is_told_in_the_stores_words(database: Database) -> None:
    wrong: Select[Any] = select(sqlalchemy.column("nowhere")).select_from(things)
    with pytest.raises(StoreUnavailable, match="nowhere"), database.reading() as connection:
        connection.run(wrong)


def test_a_list_of_values_is_refused_in_words(database: Database) -> None:
    some = select(things).where(things.c.id.in_([1, 2]))
    with database.reading() as connection, pytest.raises(TypeError, match="no list of values"):
        connection.run(some)


def test_after_an_error_that_sticks_no_open_connection_is_used_again(tmp_path: Path) -> None:
    with closing(Store.open(f"sqlite:///{tmp_path}/hls.db")) as store:
        database = store._database
        with database.reading() as one, database.reading() as other:
            before = {one.connection.driver_connection, other.connection.driver_connection}
        with pytest.raises(StoreUnavailable, match="readonly"):
            write_what_only_reads(database)
        with database.reading() as one, database.reading() as other:
            assert before.isdisjoint({one.connection.driver_connection, other.connection.driver_connection})


def write_what_only_reads(database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.run(keys.insert(), {"name": "a", "value": b""})


def test_what_a_delivery_runs_is_compiled_once_and_not_for_each(store: Store) -> None:
    def work_on(guid: str) -> None:
        lease = begin(store, guid, number=7)
        call = asked(store, lease, "p@1")
        store.end_call(lease, call, outcome="ok", usage=None, error=None, kept=[Remembered("ask", 0, 1, "{}")])
        store.memory(lease, "hls").intend_labels(["bug"])
        store.lock(lease, "thread", ttl_s=60)
        store.finish(lease, "done", reason=None, took_s=1)

    work_on("g1")
    compiled = len(store._database._prepared)
    work_on("g2")
    accept(store, queued("g3", number=7))
    assert len(store._database._prepared) == compiled


def test_a_connection_that_its_server_has_ended_is_not_used_again(postgres: Cluster, shared: str) -> None:
    with closing(Store.open(postgres.url(shared))) as store:
        database = store._database
        with pytest.raises(StoreUnavailable, match="terminating connection"):
            cut_off(database)
        assert database.ask_now() > 0


def cut_off(database: Database) -> None:
    """End a connection's session, and go on with it."""
    with database.writing() as connection:
        backend = connection.execute(select(func.pg_backend_pid())).scalar_one()
        with database.reading() as other:
            other.execute(select(func.pg_terminate_backend(backend)))
        connection.run(database._ask_now)


def test_a_connection_that_is_lost_after_its_last_statement_leaves_no_trace_in_the_log(
    postgres: Cluster, shared: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Store.open(postgres.url(shared))) as store:
        with suppress(StoreUnavailable), store._database.reading() as connection:
            backend = connection.run(select(func.pg_backend_pid())).scalar_one()
            with store._database.reading() as other:
                other.execute(select(func.pg_terminate_backend(backend)))
        assert [record.message for record in caplog.records] == []
        assert store._database.ask_now() > 0
