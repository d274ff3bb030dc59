"""Failures of the database under a running service: every 202 has a row, and processing continues
afterwards.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from hls_handler.errors import StoreUnavailable
from tests.e2e.postgresql_proxy import Proxy
from tests.e2e.service import SHORT_LEASE, Service, Waiting, settings_text
from tests.e2e.test_life import assert_each_done_once, run
from tests.e2e.test_life import issue as small_issue
from tests.github_fake.server import Sandbox
from tests.postgres import Cluster, running_cluster

Failure = AbstractContextManager[None]


SENDERS = 3
PAUSE_S = 0.4


@dataclass(frozen=True, slots=True)
class Response:
    """The response to one delivery; status 0 if there was none."""

    number: int
    guid: str
    status: int
    retry_after: str | None
    took_s: float


@dataclass
class Stream:
    """Sends different issues over several connections at once, and records the responses."""

    service: Service
    sandbox: Sandbox
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1000))
    responses: list[Response] = field(default_factory=list)
    checked: int = 0  # number of responses that `assert_all_processed` has checked
    padding_bytes: int = 0  # random data added to each body
    _ended: threading.Event = field(default_factory=threading.Event)

    def of(self, status: int) -> list[Response]:
        return [response for response in list(self.responses) if response.status == status]

    @contextmanager
    def running(self) -> Iterator[Stream]:
        self._ended.clear()
        threads = [
            threading.Thread(target=self._send_repeatedly, name=f"sender-{n}")
            for n in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(timeout=60)

    def wait_for(self, status: int) -> None:
        """Wait for three more responses with this status."""
        enough = len(self.of(status)) + 3
        waiting = Waiting(30)
        while len(self.of(status)) < enough:
            assert waiting.more(), (
                f"no 3 more responses with {status}: {self.responses[-10:]}\n"
                f"{self.service.log.read_text()[-3000:]}"
            )

    def send(self) -> Response:
        number = next(self.numbers)
        body = self._issue(number)
        self.sandbox.state.seed("issues", json.loads(body))
        response = self._deliver(number, body)
        self.responses.append(response)
        return response

    def _deliver(self, number: int, body: bytes) -> Response:
        started, guid = time.monotonic(), guid_of(number)
        try:
            answer = self.service.deliver("issues", body, guid=guid)
        except (OSError, http.client.HTTPException):
            return Response(number, guid, 0, None, time.monotonic() - started)
        return Response(
            number,
            guid,
            answer.status,
            answer.headers.get("retry-after"),
            time.monotonic() - started,
        )

    def _issue(self, number: int) -> bytes:
        body = small_issue(number)
        padding = random.Random(number).randbytes(self.padding_bytes // 2).hex()
        return b'{"padding": "%s", %s' % (padding.encode(), body.lstrip(b"{ ")) if padding else body

    def _send_repeatedly(self) -> None:
        while not self._ended.wait(PAUSE_S):
            self.send()

    def assert_all_processed(self) -> int:
        """Check that every 202 has a row, send the rest again, and check that every issue is
        processed once.

        Return how many of those without 202 were stored nevertheless: each is a duplicate.
        """
        self.service.until_idle()
        with closing(self.service.open_store()) as store:
            without = [one for one in self.of(202) if store.deliveries.find(one.guid) is None]
            stored = {
                one.guid for one in self.responses if store.deliveries.find(one.guid) is not None
            }
        assert without == []
        rejected = [one for one in self.responses[self.checked :] if one.status != 202]
        self.checked = len(self.responses)
        assert {one.status for one in rejected} <= {503}
        assert {one.retry_after for one in rejected} <= {"30"}
        assert max(one.took_s for one in self.responses) < 9
        for one in rejected:
            answer = self.service.deliver("issues", self._issue(one.number), guid=one.guid)
            assert answer.body["status"] == ("duplicate" if one.guid in stored else "queued"), (
                answer
            )
        self.service.until_idle()
        with closing(self.service.open_store()) as store:
            states = {one.number: store.deliveries.find(one.guid).state for one in self.responses}  # type: ignore[union-attr]
        assert set(states.values()) == {"done"}, states
        assert_each_done_once(self.sandbox, sorted(states))
        return sum(one.guid in stored for one in rejected)


def guid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


@dataclass(frozen=True, slots=True)
class Setup:
    """A service with its sandbox and a stream of webhooks."""

    service: Service
    sandbox: Sandbox
    stream: Stream


@contextmanager
def running_setup(folder: Path, storage_url: str) -> Iterator[Setup]:
    with Sandbox() as sandbox:
        settings = folder / "settings.yaml"
        settings.write_text(
            settings_text(sandbox, storage_url=storage_url, limits="concurrency: 4, shutdown_s: 2")
        )
        service = Service(settings, 0, folder / "service.log", storage_url, expiry=SHORT_LEASE)
        service.start()
        try:
            yield Setup(service, sandbox, Stream(service, sandbox))
        finally:
            service.stop()


@dataclass(frozen=True, slots=True)
class PostgresqlSetup:
    """A service that is connected to its own PostgreSQL through a proxy."""

    setup: Setup
    proxy: Proxy
    cluster: Cluster


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlSetup]:
    with ExitStack() as held:
        cluster = held.enter_context(running_cluster(wal_segment_mb=1, max_connections="20"))
        proxy = held.enter_context(Proxy(cluster.socket))
        name = cluster.create()
        setup = held.enter_context(
            running_setup(tmp_path_factory.mktemp("postgresql"), cluster.url(name, port=proxy.port))
        )
        yield PostgresqlSetup(setup, proxy, cluster)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """A service with its own SQLite file."""
    folder = tmp_path_factory.mktemp("sqlite")
    with running_setup(folder, f"sqlite:///{folder}/data/hls.db") as setup:
        yield setup


def until_health(service: Service, status: int) -> dict[str, str]:
    """Wait for a status of /health; return its component `store`."""
    waiting = Waiting(30)
    while (answer := service.get("/health")).status != status:
        assert waiting.more(), f"/health is still {answer}"
    store: dict[str, str] = answer.body["components"]["store"]
    return store


def go_through(setup: Setup, failure: Failure, *, stats: int = 503) -> str:
    """Send webhooks before, during and after a failure; return its message and remedy in
    /health.
    """
    service, stream = setup.service, setup.stream
    before, logged, responses_before = (
        counters(service),
        service.log.stat().st_size,
        len(stream.responses),
    )
    with stream.running():
        stream.wait_for(202)
        with failure:
            stream.wait_for(503)
            said = until_health(service, 503)
            stats_said = service.get("/stats")
            stream.wait_for(503)
        stream.wait_for(202)
    assert said["state"] == "unhealthy"
    assert stats_said.status == stats
    until_health(service, 200)
    again = stream.assert_all_processed()
    assert_quiet(service.log.read_text()[logged:])
    sent = len(stream.responses) - responses_before
    counted = counters(service) - before
    assert (counted["outcome", "done"], counted["outcome", "duplicate"]) == (sent, again)
    assert counted["webhooks", ""] == sent + again
    return f"{said['message']}; {said['remedy']}"


def counters(service: Service) -> Counter[tuple[str, str]]:
    """Return the counters as soon as the database responds: the failure of the previous test may
    still have effects.
    """
    waiting = Waiting(30)
    while waiting.more():
        with suppress(StoreUnavailable), closing(service.open_store()) as store:
            return Counter(store.statistics.counters())
    raise AssertionError("the database does not answer")


def assert_quiet(log: str) -> None:
    """The log has one line per rejected delivery, few others, and no traceback."""
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line for line in lines if "exception" in line] == []
    others = [
        line
        for line in lines
        if line["level"] != "INFO" and line["logger"] != "hls_handler.web.receiver"
    ]
    assert len(others) <= 30, others


END_THE_SERVICES = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test_1'"


def test_service_survives_a_restart_of_postgresql(postgresql: PostgresqlSetup) -> None:
    @contextmanager
    def stopped(cluster: Cluster) -> Iterator[None]:
        cluster.stop("immediate")
        try:
            yield
        finally:
            cluster.start()

    said = go_through(postgresql.setup, stopped(postgresql.cluster))
    assert "see whether PostgreSQL runs where storage.url says" in said


def test_service_survives_a_hanging_postgresql(postgresql: PostgresqlSetup) -> None:
    @contextmanager
    def hanging(proxy: Proxy) -> Iterator[None]:
        proxy.hang()
        try:
            yield
        finally:
            proxy.lose()

    said = go_through(postgresql.setup, hanging(postgresql.proxy))
    assert "see whether" in said
    assert "hangs" in said


def test_service_survives_exhausted_connections_of_postgresql(postgresql: PostgresqlSetup) -> None:
    @contextmanager
    def used_up(cluster: Cluster) -> Iterator[None]:
        """Use up all connections of PostgreSQL."""
        with ExitStack() as held:
            ours = held.enter_context(cluster.connect())
            for _ in range(
                40
            ):  # terminate the service's connections, and open others in their place
                ours.execute(END_THE_SERVICES)
                with suppress(psycopg.OperationalError):
                    while True:
                        held.enter_context(cluster.connect())
            yield

    said = go_through(postgresql.setup, used_up(postgresql.cluster))
    assert "raise PostgreSQL's max_connections" in said


def test_service_survives_a_full_disk_of_postgresql(postgresql: PostgresqlSetup) -> None:
    @contextmanager
    def full_data_of(cluster: Cluster) -> Iterator[None]:
        largest = cluster.query(
            "SELECT max(pg_relation_size(oid)) FROM pg_class", database="test_1"
        )
        # PostgreSQL stops unless a WAL segment of 1 MB fits
        cluster.limit_file_size(max(largest + 200_000, 1_500_000))
        cluster.run(END_THE_SERVICES)
        try:
            yield
        finally:
            cluster.limit_file_size(None)
            cluster.run(END_THE_SERVICES)

    postgresql.setup.stream.padding_bytes = 400_000
    said = go_through(postgresql.setup, full_data_of(postgresql.cluster), stats=200)
    postgresql.setup.stream.padding_bytes = 0
    assert "free disk space where PostgreSQL keeps its data" in said


def test_a_delivery_with_a_lost_commit_response_is_a_duplicate_when_sent_again(
    postgresql: PostgresqlSetup,
) -> None:
    stream = postgresql.setup.stream
    postgresql.proxy.drop_commit_response_after = guid_of(999).encode()
    stream.numbers = itertools.chain([999], stream.numbers)
    assert stream.send().status == 503
    postgresql.proxy.drop_commit_response_after = b""
    assert stream.assert_all_processed() == 1


def test_service_survives_a_full_disk_of_the_sqlite_file(sqlite: Setup) -> None:
    @contextmanager
    def files_may_not_grow(pid: int, bound: int) -> Iterator[None]:
        """Limit the size of files, so that writes fail as on a full disk."""
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (bound, before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    assert sqlite.service.process is not None
    sqlite.stream.padding_bytes = 400_000
    bound = sqlite.service.log.stat().st_size + 1_000_000
    said = go_through(sqlite, files_may_not_grow(sqlite.service.process.pid, bound), stats=200)
    sqlite.stream.padding_bytes = 0
    assert "check the disk: reading or writing fails" in said


def test_a_start_without_database_fails_with_a_remedy(
    postgresql: PostgresqlSetup, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yaml"
    text = postgresql.setup.service.settings.read_text()
    with socket.socket() as not_listening:
        not_listening.bind(("127.0.0.1", 0))
        port = not_listening.getsockname()[1]
        settings.write_text(text.replace(f"127.0.0.1:{postgresql.proxy.port}", f"127.0.0.1:{port}"))
        ended = run("serve", "--config", str(settings))
    assert ended.returncode == 1  # and not 2: a later start may succeed
    (line,) = ended.stderr.splitlines()
    assert f"{settings}:12 (storage.url): the database postgresql+psycopg://" in line
    assert line.endswith("Connection refused; see whether PostgreSQL runs where storage.url says")


def test_a_service_with_a_hanging_database_stops_in_time(postgresql: PostgresqlSetup) -> None:
    service, stream = postgresql.setup.service, postgresql.setup.stream
    postgresql.proxy.hang()
    try:
        with ThreadPoolExecutor(2) as clients:
            clients.submit(service.get, "/stats")
            assert clients.submit(stream.send).result().status == 503
            began = time.monotonic()
            assert service.stop() == 0
            took_s = time.monotonic() - began
    finally:
        postgresql.proxy.lose()
        # xdist may run other tests of this module after this one, with the same fixture
        service.start()
    # limits.shutdown_s, what the last commit is given, and an attempt to connect
    assert took_s < 2 + 10
