"""The number of connections that the limit of open files allows."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from hls_handler.web.server import ConnectionLimit, raise_file_limit
from tests.web.fakes import settings


@pytest.fixture(autouse=True)
def restored_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_rule_3_the_limit_leaves_files_for_the_service_itself(caplog: pytest.LogCaptureFixture) -> None:
    given = settings(server={"max_connections": 500}, limits={"concurrency": 4})
    assert ConnectionLimit(lambda: given)() == 500
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 596
    assert caplog.records == []


def test_the_limit_is_raised_as_needed_and_never_lowered() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    assert raise_file_limit(150) == 150
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, hard)
    assert raise_file_limit(250) == 250
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (250, hard)
    assert raise_file_limit(hard + 1) == hard
