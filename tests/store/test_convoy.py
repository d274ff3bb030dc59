"""A convoy: who waits for a commit shares it, and nobody is told of a success before the disk has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from hls_handler.store.connection import Connection
from hls_handler.store.convoy import MOST, Convoy

PATIENCE_S = 20.0


class Road:
    """An SQLite file with one table, whose commits can be counted, and can fail."""

    def __init__(self, path: Path) -> None:
        self.engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None, "timeout": 0})
        with self.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE cargo (name TEXT PRIMARY KEY)")
        self.commits = self.waited_for_disk = 0
        self.failing: Exception | None = None
        self.convoy = Convoy(begin=self.begin, commit=self.commit, patience_s=PATIENCE_S)

    def begin(self, durable: bool = True) -> Connection:
        connection = Connection(self.engine, {})
        connection.info["durable"] = durable
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return connection

    def commit(self, connection: Connection) -> None:
        if self.failing is not None:
            raise self.failing
        connection.commit()
        self.commits += 1
        self.waited_for_disk += connection.info["durable"]

    def put(self, name: str, *, durable: bool = True, then: Exception | None = None) -> None:
        with self.convoy.joining(durable=durable) as connection:
            connection.execute(text("INSERT INTO cargo VALUES (:name)"), {"name": name})
            if then is not None:
                raise then

    @property
    def arrived(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.execute(text("SELECT name FROM cargo ORDER BY name")).scalars())

    def until_waiting(self, writers: int) -> None:
        """Until so many wait for their turn."""
        looks = threading.Event()
        for _ in range(2_000):
            if self.convoy.waiting == writers:
                return
            looks.wait(0.01)
        raise AssertionError(f"{self.convoy.waiting} wait, not {writers}")


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    made = Road(tmp_path / "road.db")
    yield made
    made.engine.dispose()


@contextmanager
def behind_the_first(
    road: Road, *writers: tuple[str, Exception | None], durable: bool = True, first_durable: bool = True
) -> Iterator[list[Future[None]]]:
    """The first writer ("a") stands in its block until all others, in their order, wait for their turn."""
    with ThreadPoolExecutor(len(writers) or 1) as pool:
        futures = []
        with road.convoy.joining(durable=first_durable) as connection:
            connection.execute(text("INSERT INTO cargo VALUES ('a')"))
            for position, (name, then) in enumerate(writers, 1):
                futures.append(pool.submit(road.put, name, durable=durable, then=then))
                road.until_waiting(position)
        yield futures


def test_who_is_alone_commits_at_once(road: Road) -> None:
    road.put("a")
    road.put("b")
    assert (road.arrived, road.commits) == (["a", "b"], 2)


def test_those_who_waited_share_one_commit(road: Road) -> None:
    with behind_the_first(road, ("b", None), ("c", None), ("d", None)) as futures:
        for future in futures:
            future.result(PATIENCE_S)
    assert (road.arrived, road.commits) == (["a", "b", "c", "d"], 1)


@pytest.mark.parametrize(
    ("first", "others", "commits", "waited_for_disk"),
    [
        pytest.param(True, False, 3, 1, id="who need not wait for the disk does not"),
        pytest.param(False, True, 2, 1, id="those who need the disk go together, behind who does not"),
        pytest.param(False, False, 3, 0, id="without the disk there is nothing to share"),
    ],
)
def test_the_disk_is_waited_for_by_all_that_must_be_there(
    road: Road, *, first: bool, others: bool, commits: int, waited_for_disk: int
) -> None:
    with behind_the_first(road, ("b", None), ("c", None), first_durable=first, durable=others) as futures:
        for future in futures:
            future.result(PATIENCE_S)
    assert (road.arrived, road.commits, road.waited_for_disk) == (["a", "b", "c"], commits, waited_for_disk)


def test_an_error_undoes_what_its_writer_did_and_nothing_else(road: Road) -> None:
    with behind_the_first(road, ("b", KeyError("b")), ("c", None)) as futures:
        assert isinstance(futures[0].exception(PATIENCE_S), KeyError)
        futures[1].result(PATIENCE_S)
    assert (road.arrived, road.commits) == (["a", "c"], 1)


def test_the_error_of_the_last_leaves_the_others_their_commit(road: Road) -> None:
    with behind_the_first(road, ("b", KeyError("b"))) as futures:
        assert isinstance(futures[0].exception(PATIENCE_S), KeyError)
    assert (road.arrived, road.commits) == (["a"], 1)


def test_the_error_of_who_is_alone_leaves_nothing_and_the_road_free(road: Road) -> None:
    with pytest.raises(KeyError):
        road.put("a", then=KeyError("a"))
    road.put("b")
    assert (road.arrived, road.commits) == (["b"], 1)


def test_a_guard_in_the_database_refuses_one_writer_only(road: Road) -> None:
    with behind_the_first(road, ("a", None), ("b", None)) as futures:
        assert "UNIQUE" in str(futures[0].exception(PATIENCE_S))
        futures[1].result(PATIENCE_S)
    assert road.arrived == ["a", "b"]


def test_a_commit_that_fails_fails_for_all_and_the_next_is_a_new_one(road: Road) -> None:
    road.failing = OSError("the disk is full")
    with ThreadPoolExecutor(1) as pool:
        others = []

        def first() -> None:
            with road.convoy.joining() as connection:
                connection.execute(text("INSERT INTO cargo VALUES ('a')"))
                others.append(pool.submit(road.put, "b"))
                road.until_waiting(1)

        with pytest.raises(OSError, match="the disk is full"):
            first()
        assert isinstance(others[0].exception(PATIENCE_S), OSError)
    road.failing = None
    road.put("c")
    assert (road.arrived, road.commits) == (["c"], 1)


def test_a_transaction_that_sqlite_gives_up_fails_for_all_that_are_in_it(road: Road) -> None:
    def give_up() -> None:
        with road.convoy.joining() as connection:
            connection.exec_driver_sql("ROLLBACK")  # as SQLite does of a full disk
            raise OSError("database or disk is full")

    with ThreadPoolExecutor(1) as pool:

        def first() -> None:
            with road.convoy.joining() as connection:
                connection.execute(text("INSERT INTO cargo VALUES ('a')"))
                pool.submit(give_up)
                road.until_waiting(1)

        with pytest.raises(OSError, match="disk is full"):
            first()
    road.put("c")
    assert road.arrived == ["c"]


def test_what_cannot_be_undone_is_not_committed_with_the_others(road: Road) -> None:
    def undone_by_nobody() -> None:
        with road.convoy.joining() as connection:
            connection.exec_driver_sql("RELEASE writer")  # what was to be undone is in the transaction now
            connection.execute(text("INSERT INTO cargo VALUES ('half')"))
            raise KeyError("half")

    with ThreadPoolExecutor(1) as pool:
        others = []

        def first() -> None:
            with road.convoy.joining() as connection:
                connection.execute(text("INSERT INTO cargo VALUES ('a')"))
                others.append(pool.submit(undone_by_nobody))
                road.until_waiting(1)

        with pytest.raises(KeyError):
            first()
        assert others[0].exception(PATIENCE_S) is not None
    road.put("b")
    assert road.arrived == ["b"]


def test_a_begin_that_fails_leaves_the_road_free(road: Road) -> None:
    other = road.begin()
    with pytest.raises(Exception, match="locked"):
        road.put("a")
    other.close()
    road.put("b")
    assert road.arrived == ["b"]


def test_who_waits_too_long_is_told_and_holds_nobody_up(road: Road) -> None:
    hasty = Convoy(begin=road.begin, commit=road.commit, patience_s=0.01)
    with hasty.joining() as connection:
        connection.execute(text("INSERT INTO cargo VALUES ('a')"))
        with ThreadPoolExecutor(1) as pool:

            def join() -> None:
                with hasty.joining():
                    raise AssertionError("it came in")

            late = pool.submit(join)
            assert isinstance(late.exception(PATIENCE_S), TimeoutError)
    assert (road.arrived, road.commits) == (["a"], 1)


def test_a_long_convoy_is_committed_in_parts(road: Road) -> None:
    names = [(f"b{number:02}", None) for number in range(MOST + 3)]
    with behind_the_first(road, *names) as futures:
        for future in futures:
            future.result(PATIENCE_S)
    assert (len(road.arrived), road.commits) == (MOST + 4, 2)
