"""Fixtures of databases, the two tiers of tests, their order, and what coverage measures."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import groupby
from multiprocessing.util import Finalize
from pathlib import Path

import hypothesis
import pytest

from hls_handler import logs
from hls_handler.db.tables import metadata
from hls_handler.settings.environment import CA_VARIABLES
from hls_handler.store.storage import Storage
from tests.fake_server import FakeServer
from tests.postgres import Cluster, postgres
from tests.queue.builders import Skew
from tests.sqlite import create_database

__all__ = ["postgres"]

# In a background job of a shell, SIGINT is ignored, and processes that tests start would inherit
# this.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent

SECOND_TIER = (
    "browser",
    "crash",
    "e2e",
    "golden",
    "machines",
    "redteam",
    "rounds",
    "simulation",
    "test_bench.py",
    "test_container.py",
    "test_package.py",
)
"""Folders and files of tests that start whole processes or take long: `make test` runs only those
of their tests that have the marker `smoke`.

Coverage measures neither these, nor tests on PostgreSQL that also run on SQLite, nor more than one
case of a function: measuring takes up to two thirds longer, and other tests cover the same lines.
"""

MEMORY = Path("/dev/shm")  # a file system of Linux in memory
LEAST_MEMORY_BYTES = 2 * 2**30

SLOW_SHARE = 0.7  # of a worker's tests: in the rest are no tests of `SECOND_TIER`


def pytest_configure() -> None:
    """Trust no certificate authority: no test leaves this machine, and each client would load all
    of them for 0.05 s.

    The garbage collector is off until the tests are collected: it would visit all modules and tests
    again and again. Property tests have no time limit, which a busy machine would exceed, and 30
    examples, because of their number.
    """
    hypothesis.settings.register_profile("no deadline", deadline=None, max_examples=30)
    hypothesis.settings.load_profile("no deadline")
    gc.disable()
    for variable in CA_VARIABLES:
        os.environ.pop(variable, None)
    os.environ["SSL_CERT_DIR"] = str(HERE)
    _keep_files_in_memory()


def _keep_files_in_memory() -> None:
    """Let temporary files be in memory if there is room: each commit of SQLite waits for the disk
    for some milliseconds.

    They are deleted with their folder at the end of the run, because they would fill the memory;
    set TMPDIR to keep them. The workers of pytest-xdist inherit TMPDIR.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    runs_programs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC  # in Docker it does not
    has_room = shutil.disk_usage(MEMORY).free >= LEAST_MEMORY_BYTES
    if os.access(MEMORY, os.W_OK) and has_room and runs_programs:
        folder = tempfile.mkdtemp(prefix="hls-tests-", dir=MEMORY)
        Path(folder).chmod(0o711)  # the user of PostgreSQL has a folder in it
        # after the folder of multiprocessing (-100); not at the end of a forked process
        Finalize(None, shutil.rmtree, (folder, True), exitpriority=-200)
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = None


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Undo `logs.configure` after the test."""
    root = logging.getLogger()
    handlers, level, thread_excepthook = list(root.handlers), root.level, threading.excepthook
    yield
    logs.operator_log.setLevel(logging.NOTSET)
    threading.excepthook = thread_excepthook
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


Acts = Callable[[], list[tuple[str, str, list[str]]]]
"""Returns person, act and objects of each log line `operator` so far."""


@pytest.fixture
def acts(caplog: pytest.LogCaptureFixture) -> Acts:
    caplog.set_level(logging.INFO, logs.operator_log.name)

    def find() -> list[tuple[str, str, list[str]]]:
        lines = [vars(record) for record in caplog.records if record.name == logs.operator_log.name]
        return [(line["person"], line["act"], line["objects"]) for line in lines]

    return find


@pytest.fixture(scope="session")
def shared_database(postgres: Cluster) -> str:
    """Name of a PostgreSQL database with all tables: to create one for each test takes longer than
    the test.
    """
    name = postgres.create()
    Storage.open(postgres.url(name)).close()
    return name


@pytest.fixture(scope="session")
def shared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with all tables, for all tests."""
    path = tmp_path_factory.mktemp("shared") / "hls.db"
    create_database(path)
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """URL of a database without rows, except secrets; the test runs with SQLite and with
    PostgreSQL.
    """
    tables = [table.name for table in reversed(metadata.sorted_tables) if table.name != "secrets"]
    delete_rows = "; ".join(f"DELETE FROM {table}" for table in tables)
    if request.param == "sqlite":
        file: Path = request.getfixturevalue("shared_file")
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(f"BEGIN; {delete_rows}; COMMIT")
        return f"sqlite:///{file}"
    cluster: Cluster = request.getfixturevalue("postgres")
    name: str = request.getfixturevalue("shared_database")
    cluster.run(delete_rows, database=name)
    return cluster.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without tables; the test runs with SQLite and with PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/folder/hls.db"
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.create()
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def skew() -> Skew:
    return Skew()


class Opened:
    """Storages that are opened once, because to build and compile their statements takes longer
    than most tests.
    """

    def __init__(self) -> None:
        self._storages: dict[tuple[str, int], Storage] = {}
        self._skew = Skew()

    def get(self, url: str, skew: Skew, *, number: int = 0, busy_timeout_s: float = 5.0) -> Storage:
        """Return the storage of this number, whose clock is now ahead by `skew`, as are those of
        all others.
        """
        self._skew = skew
        if (url, number) not in self._storages:
            opened = Storage.open(url, skew=lambda: self._skew(), busy_timeout_s=busy_timeout_s)
            self._storages[url, number] = opened
        return self._storages[url, number]

    def close(self) -> None:
        for storage in self._storages.values():
            storage.close()


@pytest.fixture(scope="session")
def opened() -> Iterator[Opened]:
    with closing(Opened()) as storages:
        yield storages


@pytest.fixture
def store(url: str, skew: Skew, opened: Opened) -> Storage:
    """Storage in an empty database, whose clock is ahead by `skew`.

    It is the same object in all tests. It remembers secrets, and for a second when it recorded the
    last webhook.
    """
    return opened.get(url, skew)


@pytest.fixture
def stores(url: str, skew: Skew, opened: Opened) -> list[Storage]:
    """Four connections to the database of `store`, as four processes have them; each waits as long
    as others write.
    """
    return [opened.get(url, skew, number=number, busy_timeout_s=600) for number in range(1, 5)]


def pytest_collection_finish() -> None:
    """Let the garbage collector visit only objects that tests create, and seldom: simulations take
    a fifth longer.
    """
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    measures_all = config.getoption("--cov-context", None) is not None  # for `make mutants`
    cases: Counter[str] = Counter()
    for item in items:
        function = item.nodeid.partition("[")[0]
        cases[function] += 1
        is_late = _folder(item) in SECOND_TIER
        is_like_others = is_late or "[postgresql" in item.name or cases[function] > 1
        if is_like_others and not measures_all:
            item.add_marker(pytest.mark.no_cover)
        if is_late and item.get_closest_marker("smoke") is None:
            item.add_marker(pytest.mark.full)
    yield  # pytest removes the tests of the other tier
    items[:] = _interleave(items)


def _interleave(items: list[pytest.Item]) -> list[pytest.Item]:
    """Spread the files that wait for processes among the others, so that no core is idle.

    pytest-xdist gives each worker an equal part of the list to begin with. These files come within
    the first `SLOW_SHARE` of each part, so that the last tests are short. The tests of a file stay
    together: some share an expensive fixture.
    """
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    slow = [tests for tests in files if _folder(tests[0]) in SECOND_TIER]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    waiting = [slow[number::workers] for number in range(workers)]
    totals = [len(each) for each in waiting]
    mixed: list[pytest.Item] = []
    for tests in (tests for tests in files if _folder(tests[0]) not in SECOND_TIER):
        part, done = divmod(len(mixed) * workers / max(len(items), 1), 1)
        due = min(done / SLOW_SHARE, 1) * totals[int(part)]
        while waiting[int(part)] and totals[int(part)] - len(waiting[int(part)]) <= due:
            mixed += waiting[int(part)].pop(0)
        mixed += tests
    return [*(test for each in waiting for tests in each for test in tests), *mixed]


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server with prepared responses."""
    with closing(FakeServer()) as fake:
        yield fake
