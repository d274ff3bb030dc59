"""GitHub client of one worker: the bot account, and a reader and a writer for each repository, over one connection."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from hls_handler.clients.account import Access, access, who_am_i
from hls_handler.clients.api import Api
from hls_handler.clients.memory import Memory
from hls_handler.clients.rate import RateLimit
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.writer import DryRunWriter, GithubWriter
from hls_handler.events import Account
from hls_handler.settings.model import Github as GithubSettings


def connect(settings: GithubSettings, *, observe: Callable[[RateLimit], None], now: Callable[[], datetime]) -> Github:
    """Create a client without sending a request. `observe` is called after every request; `now` returns aware UTC.

    Raises `SettingsError` for an invalid token or base URL.
    """
    return Github(Api(settings, observe=observe, now=now))


class Github:
    """Not thread-safe: use one per worker thread, until the settings have another token or base URL."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def who_am_i(self) -> Account:
        """Return the bot account. Raises `DependencyDown`, also if the token belongs to no account."""
        return who_am_i(self._api)

    def access(self, repository: str) -> Access:
        return access(self._api, repository)

    def reader(self, repository: str) -> GithubReader:
        return GithubReader(self._api, repository)

    def writer(
        self,
        repository: str,
        *,
        we: Account,
        memory: Memory,
        before_write: Callable[[], None],
        still_ours: Callable[[], None],
        dry_run: bool,
    ) -> GithubWriter | DryRunWriter:
        if dry_run:
            return DryRunWriter(self._api, repository, we=we, memory=memory)
        return GithubWriter(
            self._api, repository, we=we, memory=memory, before_write=before_write, still_ours=still_ours
        )

    def close(self) -> None:
        self._api.close()
