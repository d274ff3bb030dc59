"""Fixtures: a database for each test, and one fleet for all tests of the package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import sandbox, violations
from tests.github_fake.server import Sandbox
from tests.machines.fleet import Fleet, make_fleet
from tests.postgres import Cluster, postgres

__all__ = ["postgres", "sandbox"]


@pytest.fixture
def storage_url(postgres: Cluster) -> Iterator[str]:
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(scope="package")
def package_fleet(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    url = postgres.url(postgres.create())
    with Sandbox() as shared_sandbox:
        with make_fleet(
            shared_sandbox, url, tmp_path_factory.mktemp("fleet"), size=4, limits="concurrency: 4"
        ) as fleet:
            yield fleet
        assert violations(request.document() for request in shared_sandbox.requests.all()) == []


@pytest.fixture
def fleet(package_fleet: Fleet) -> Iterator[Fleet]:
    """The fleet of the package. None of its services runs before and after a test."""
    yield package_fleet
    package_fleet.kill_all()
    package_fleet.sandbox.faults.clear()
