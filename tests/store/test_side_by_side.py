"""Two versions on one PostgreSQL: while machines are upgraded one by one, old and new processes share the work."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

from hls_handler.deliveries import Remembered
from hls_handler.store import Store
from tests.postgres import Cluster
from tests.store.builders import Skew, claim
from tests.store.old import worker
from tests.store.old.make import PACKED


class OldProcess:
    """The store of the version before, in a process of its own."""

    def __init__(self, url: str, code: Path) -> None:
        with zipfile.ZipFile(PACKED) as packed:
            packed.extractall(code)
        self._process = subprocess.Popen(
            [sys.executable, worker.__file__, url],
            cwd=code,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(code)},
        )
        self.heard()

    def tell(self, *terms: object) -> None:
        assert self._process.stdin is not None
        print(*terms, file=self._process.stdin, flush=True)

    def heard(self) -> list[str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the old process ended"
        return line.split()

    def kill(self) -> None:
        with self._process:
            self._process.kill()


def test_the_packed_store_is_that_of_the_version_right_before() -> None:
    """Where it is not: `python -m tests.store.old.make COMMIT`, of the last commit before the newest migration."""
    folder = "hls_handler/store/migrations/versions"
    with zipfile.ZipFile(PACKED) as packed:
        old = sorted(name for name in packed.namelist() if name.startswith(f"{folder}/v"))
    assert old == sorted(str(path) for path in Path(folder).glob("v*.py"))[:-1]


@pytest.fixture
def url(postgres: Cluster) -> Iterator[str]:
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


def test_old_and_new_processes_do_each_others_work_once_and_in_order(url: str, tmp_path: Path) -> None:
    with ExitStack() as held:
        old = OldProcess(url, tmp_path)
        held.callback(old.kill)
        skew = Skew()
        store = Store.open(url, skew=skew)  # migrates below the old one's feet
        held.callback(store.close)

        worker.accept(store, "by-new", 10)
        old.tell("work", 10)
        done = old.heard()
        old.tell("accept", "by-old", 10)
        old.heard()
        done += worker.work(store, 10)
        assert sorted(done) == sorted(f"by-{who}-{number}" for who in ("new", "old") for number in range(10))

        old.tell("accept", "mixed-old", 20)
        worker.accept(store, "mixed-new", 20)
        old.heard()
        old.tell("work", 40)
        store.unmark_strays()  # as the service does now and then: the old one knows no marks
        mixed = worker.work(store, 40) + old.heard()
        assert sorted(mixed) == sorted(f"mixed-{who}-{number}" for who in ("new", "old") for number in range(20))

        rows = sorted(store.deliveries(limit=100), key=lambda row: row.received_at)
        assert {row.state for row in rows} == {"done"}
        assert {row.attempt for row in rows} == {1}
        for number in range(worker.THREADS):
            for before, after in pairwise(_in_order_of_acceptance(store, number)):
                assert before <= after, "a later delivery of a thread ended before an earlier one"
        counters = store.counters()
        assert (counters["webhooks", ""], counters["outcome", "done"], counters["handler", "H:done"]) == (60, 60, 60)

        worker.accept(store, "left", 1)
        old.tell("hold")
        assert old.heard() == ["left-0"]
        old.kill()
        skew.pass_by(seconds=31)
        lease = claim(store)
        assert (lease.guid, lease.attempt) == ("left-0", 2)
        assert store.steps(lease) == {("gather", 0): Remembered("gather", 0, 1, '"by the old one"')}


def _in_order_of_acceptance(store: Store, number: int) -> list[int]:
    """When the deliveries of a thread ended."""
    with store._database.reading() as connection:
        ends = text("SELECT finished_at FROM deliveries WHERE number = :number ORDER BY id")
        return list(connection.execute(ends, {"number": number}).scalars())
