"""A database in trouble under the running service: no 202 without a row, and all goes on by itself afterwards."""

from __future__ import annotations

import itertools
import json
import resource
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from hls_handler.errors import StoreUnavailable
from hls_handler.sandbox.server import Sandbox
from tests.e2e.proxy import Proxy
from tests.e2e.service import Service, Waiting, free_port, settings_text
from tests.e2e.stream import Stream, guid_of
from tests.e2e.test_life import run
from tests.postgres import Cluster, running_cluster

Trouble = AbstractContextManager[None]


@dataclass(frozen=True, slots=True)
class Place:
    """A service on a database that trouble is made for, and those who send to it."""

    service: Service
    sandbox: Sandbox
    stream: Stream


@contextmanager
def place(folder: Path, storage_url: str) -> Iterator[Place]:
    with Sandbox() as sandbox:
        settings = folder / "settings.yaml"
        port = free_port()
        settings.write_text(
            settings_text(
                sandbox, port=port, storage_url=storage_url, limits="concurrency: 4, lease_s: 5, shutdown_s: 2"
            )
        )
        service = Service(settings, port, folder / "service.log", storage_url)
        service.start()
        try:
            yield Place(service, sandbox, Stream(service, sandbox))
        finally:
            service.stop()


@dataclass(frozen=True, slots=True)
class Distant:
    """A service behind a proxy to a PostgreSQL of its own."""

    here: Place
    proxy: Proxy
    cluster: Cluster


@pytest.fixture(scope="module")
def distant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distant]:
    with ExitStack() as held:
        cluster = held.enter_context(running_cluster(wal_segment_mb=1, max_connections="20"))
        proxy = held.enter_context(Proxy(cluster.socket))
        name = cluster.create()
        here = held.enter_context(place(tmp_path_factory.mktemp("distant"), cluster.url(name, port=proxy.port)))
        yield Distant(here, proxy, cluster)


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service on an SQLite file of its own."""
    folder = tmp_path_factory.mktemp("near")
    with place(folder, f"sqlite:///{folder}/data/hls.db") as here:
        yield here


def file_of(here: Place) -> Path:
    return Path(here.service.storage_url.removeprefix("sqlite:///"))


def until_health(service: Service, status: int, *, within_s: float = 30) -> dict[str, str]:
    """Wait for /health to answer so; what it says of the store."""
    waiting = Waiting(within_s)
    while (answer := service.get("/health")).status != status:
        assert waiting.more(), f"/health is still {answer}"
    store: dict[str, str] = answer.body["components"]["store"]
    return store


def go_through(here: Place, report_problem: Trouble, *, stats: int = 503) -> str:
    """A trouble from its begin to its end, while webhooks come in. What /health said of it."""
    service, stream = here.service, here.stream
    before, logged, told_before = counters(service), service.log.stat().st_size, len(stream.told)
    with stream.flowing():
        stream.until_more(202)
        with report_problem:
            stream.until_more(503)
            said = until_health(service, 503)
            stats_said = service.get("/stats")
            stream.until_more(503)
        stream.until_more(202)
    assert said["state"] == "unhealthy"
    assert stats_said.status == stats
    until_health(service, 200)
    again = stream.assert_true()
    assert_quiet(service.log.read_text()[logged:])
    sent = len(stream.told) - told_before
    counted = counters(service) - before
    assert (counted["outcome", "done"], counted["outcome", "duplicate"]) == (sent, again)
    assert counted["webhooks", ""] == sent + again
    return f"{said['message']}; {said['remedy']}"


def counters(service: Service) -> Counter[tuple[str, str]]:
    """As soon as the database answers: what the test before did to it may not quite be over."""
    waiting = Waiting(30)
    while waiting.more():
        with suppress(StoreUnavailable), closing(service.open_store()) as store:
            return Counter(store.statistics.counters())
    raise AssertionError("the database does not answer")


def assert_quiet(log: str) -> None:
    """A line for each delivery that was refused, and few others: nobody reads a trace for each try."""
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line for line in lines if "exception" in line] == []
    others = [line for line in lines if line["level"] != "INFO" and line["logger"] != "hls_handler.web.receiver"]
    assert len(others) <= 30, others


@contextmanager
def stopped(cluster: Cluster, how: Literal["fast", "immediate"]) -> Iterator[None]:
    cluster.stop(how)
    try:
        yield
    finally:
        cluster.start()


@contextmanager
def refusing(proxy: Proxy) -> Iterator[None]:
    proxy.refuse()
    try:
        yield
    finally:
        proxy.listen_again()


@contextmanager
def hanging(proxy: Proxy) -> Iterator[None]:
    proxy.hang()
    try:
        yield
    finally:
        proxy.lose()


@contextmanager
def used_up(cluster: Cluster) -> Iterator[None]:
    """All connections are somebody else's."""
    with ExitStack() as held:
        ours = held.enter_context(cluster.connect())
        for _ in range(40):  # the service's are ended, and whoever is faster has their places
            ours.execute(END_THE_SERVICES)
            with suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(cluster.connect())
        yield


END_THE_SERVICES = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test_1'"


@contextmanager
def files_may_not_grow(pid: int, bound: int) -> Iterator[None]:
    """What a full disk is to a process: the write fails."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (bound, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def full_data_of(cluster: Cluster) -> Iterator[None]:
    largest = cluster.query("SELECT max(pg_relation_size(oid)) FROM pg_class", database="test_1")
    cluster.limit_file_size(
        max(largest + 200_000, 1_500_000)
    )  # a segment of its log, of 1 MB, must fit: it stops without
    cluster.run(END_THE_SERVICES)
    try:
        yield
    finally:
        cluster.limit_file_size(None)
        cluster.run(END_THE_SERVICES)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_postgresql_that_is_started_again(distant: Distant, how: Literal["fast", "immediate"]) -> None:
    said = go_through(distant.here, stopped(distant.cluster, how))
    assert "see whether PostgreSQL runs where storage.url says" in said


def test_a_postgresql_that_refuses_connections(distant: Distant) -> None:
    said = go_through(distant.here, refusing(distant.proxy))
    assert "Connection refused; see whether PostgreSQL runs where storage.url says" in said


def test_a_postgresql_that_is_behind_a_black_hole(distant: Distant) -> None:
    said = go_through(distant.here, hanging(distant.proxy))
    assert "see whether" in said
    assert "hangs" in said


def test_a_postgresql_whose_connections_are_used_up(distant: Distant) -> None:
    said = go_through(distant.here, used_up(distant.cluster))
    assert "raise PostgreSQL's max_connections" in said


def test_a_postgresql_whose_disk_is_full(distant: Distant) -> None:
    distant.here.stream.filling_bytes = 400_000
    said = go_through(distant.here, full_data_of(distant.cluster), stats=200)
    distant.here.stream.filling_bytes = 0
    assert "free disk space where PostgreSQL keeps its data" in said


def test_a_commit_whose_answer_is_lost_is_a_duplicate_when_it_is_sent_again(distant: Distant) -> None:
    stream = distant.here.stream
    distant.proxy.loses_the_commit_of = guid_of(999).encode()
    stream.numbers = itertools.chain([999], stream.numbers)
    assert stream.send().status == 503
    distant.proxy.loses_the_commit_of = b""
    assert stream.assert_true() == 1


@contextmanager
def locked_by_another_program(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def moved_away(folder: Path) -> Iterator[None]:
    away = folder.with_name("away")
    folder.rename(away)
    try:
        yield
    finally:
        away.rename(folder)


def test_an_sqlite_file_that_another_program_locks(near: Place) -> None:
    said = go_through(near, locked_by_another_program(file_of(near)), stats=200)
    assert "another program" in said


def test_an_sqlite_file_that_is_moved_away_and_put_back(near: Place) -> None:
    said = go_through(near, moved_away(file_of(near).parent))
    assert "put " in said


def test_an_sqlite_file_on_a_full_disk(near: Place) -> None:
    assert near.service.process is not None
    near.stream.filling_bytes = 400_000
    bound = near.service.log.stat().st_size + 1_000_000
    said = go_through(near, files_may_not_grow(near.service.process.pid, bound), stats=200)
    near.stream.filling_bytes = 0
    assert "check the disk: reading or writing fails" in said


def test_a_start_while_the_database_is_down_is_refused_with_what_to_do(distant: Distant, tmp_path: Path) -> None:
    no_target_reason = free_port()
    settings = tmp_path / "settings.yaml"
    text = distant.here.service.settings.read_text()
    settings.write_text(
        text.replace(f"127.0.0.1:{distant.proxy.port}", f"127.0.0.1:{no_target_reason}").replace(
            f"port: {distant.here.service.port}", f"port: {free_port()}"
        )
    )
    ended = run("serve", "--config", str(settings))
    assert ended.returncode == 1  # and not 2: a later start may succeed
    (line,) = ended.stderr.splitlines()
    assert f"{settings}:13 (storage.url): the database postgresql+psycopg://" in line
    assert line.endswith("Connection refused; see whether PostgreSQL runs where storage.url says")


def test_a_service_that_is_told_to_end_while_its_database_hangs_ends_in_time(distant: Distant) -> None:
    service, stream = distant.here.service, distant.here.stream
    distant.proxy.hang()
    with ThreadPoolExecutor(2) as clients:
        clients.submit(service.get, "/stats")
        assert clients.submit(stream.send).result().status == 503
        began = time.monotonic()
        assert service.stop() == 0
        took_s = time.monotonic() - began
    assert took_s < 2 + 10  # limits.shutdown_s, what the last commit is given, and an attempt to connect
