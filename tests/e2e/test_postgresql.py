"""The service on PostgreSQL: a kill, and two processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.service import Waiting
from tests.e2e.test_life import assert_each_done_once, deliver_issues
from tests.postgres import Cluster, postgres

__all__ = ["postgres"]


@pytest.fixture
def storage_url(postgres: Cluster) -> Iterator[str]:
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


def test_a_killed_service_on_postgresql_loses_and_duplicates_nothing(
    storage_url: str, make_service: MakeService, sandbox: Sandbox
) -> None:
    service = make_service(storage_url=storage_url, limits="lease_s: 5").start()
    deliver_issues(service, sandbox, range(501, 507))
    waiting = Waiting(60)
    while len(sandbox.requests.all()) < 12 and waiting.more():
        pass
    service.stop(signal.SIGKILL)
    service.start()
    service.until_idle()
    assert_each_done_once(sandbox, range(501, 507))
    assert service.get("/stats").body["successful_processing"] == 6


def test_two_services_on_one_postgresql_process_each_delivery_once(
    storage_url: str, make_service: MakeService, sandbox: Sandbox
) -> None:
    first = make_service(storage_url=storage_url).start()
    second = make_service(storage_url=storage_url).start()
    deliver_issues(first, sandbox, range(601, 605))
    deliver_issues(second, sandbox, range(605, 609))
    first.until_idle()
    assert_each_done_once(sandbox, range(601, 609))
    assert sum(request.writes for request in sandbox.requests.all("claude")) == 8
