"""Fixtures of the client tests: clients of a server with prepared responses, and of the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from time import monotonic

import pytest

from hls_handler.github.api import GithubApi, RateLimitMonitor
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.reader import GithubReader
from tests.fake_server import FakeServer
from tests.github.review_world import NOON, ReviewWorld, github_settings, open_review_world
from tests.github_fake.server import Sandbox


@pytest.fixture
def meter() -> RateLimitMonitor:
    return RateLimitMonitor()


@pytest.fixture
def api(server: FakeServer, meter: RateLimitMonitor) -> Iterator[GithubApi]:
    """A client of the server with prepared responses."""
    settings = github_settings(server.url)
    with closing(
        GithubApi(settings, observe=meter.observe, now=lambda: NOON, timeout_s=5.0)
    ) as client:
        yield client


@pytest.fixture
def reader(api: GithubApi) -> GithubReader:
    return GithubReader(api.of("o/r"), RepositoryLabels(monotonic))


@pytest.fixture(scope="module")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def world(running_sandbox: Sandbox) -> Iterator[ReviewWorld]:
    with open_review_world(running_sandbox) as opened:
        yield opened
