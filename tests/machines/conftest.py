"""One fleet for all tests that need one: its zygote costs as much as all that a test does with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import sandbox, violations
from tests.machines.fleet import Fleet, fleet
from tests.postgres import Cluster, postgres

__all__ = ["postgres", "sandbox"]


@pytest.fixture
def storage_url(postgres: Cluster) -> Iterator[str]:
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(scope="package")
def the_fleet(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    limits = "lease_s: 5, concurrency: 4, max_crashes: 100"
    url = postgres.url(postgres.create())
    with Sandbox() as stand_ins:
        with fleet(stand_ins, url, tmp_path_factory.mktemp("fleet"), size=4, limits=limits) as ships:
            yield ships
        assert violations(request.document() for request in stand_ins.requests.all()) == []


@pytest.fixture
def ships(the_fleet: Fleet) -> Iterator[Fleet]:
    """None of its processes runs, before and after."""
    yield the_fleet
    the_fleet.sink()
    the_fleet.sandbox.faults.clear()
