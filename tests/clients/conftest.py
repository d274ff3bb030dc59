"""Fixtures of the client tests."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

import pytest
from pydantic import SecretStr

from hls_handler.actions import Outcome
from hls_handler.clients.api import GithubApi, RateLimitMonitor
from hls_handler.clients.comments import History
from hls_handler.clients.github import Github
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.repository_labels import RepositoryLabels
from hls_handler.clients.writer import GithubWriter
from hls_handler.events import Account
from hls_handler.settings.model import Github as GithubSettings
from tests.clients.fake_github import HLS, TOKEN, FakeGithub
from tests.clients.fake_history import FakeHistory

BOT = Account(str(HLS["login"]), 9001, "User")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def github_settings(base_url: str, token: str = TOKEN) -> GithubSettings:
    return GithubSettings(token=SecretStr(token), webhook_secret=SecretStr("sixteen bytes at least"), base_url=base_url)


def make_writer(
    client: Github, history: History, begin_write: Callable[[], None] = lambda: None, *, dry_run: bool = False
) -> GithubWriter:
    return client.writer(
        "o/r", bot=BOT, history=history, begin_write=begin_write, check_lease=lambda: None, dry_run=dry_run
    )


Keep = Callable[..., Outcome]  # writes labels or a comment of issue 7


@dataclass
class Peak:
    bytes: int = 0  # allocated at most at one time, beyond what was allocated before


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure Python's memory; the result is set at the end of the block."""
    peak = Peak()
    tracemalloc.start()
    try:
        yield peak
    finally:
        _, peak.bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()


@pytest.fixture
def history() -> FakeHistory:
    return FakeHistory()


@pytest.fixture
def github() -> Iterator[FakeGithub]:
    fake = FakeGithub()
    yield fake
    fake.close()


@pytest.fixture
def meter() -> RateLimitMonitor:
    return RateLimitMonitor()


@pytest.fixture
def reader(api: GithubApi) -> GithubReader:
    return GithubReader(api, "o/r", RepositoryLabels(monotonic))


@pytest.fixture
def api(github: FakeGithub, meter: RateLimitMonitor) -> Iterator[GithubApi]:
    client = GithubApi(github_settings(github.base_url), observe=meter.observe, now=lambda: NOON, timeout_s=5.0)
    yield client
    client.close()
