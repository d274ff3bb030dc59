"""GitHub client of one worker: the bot account, and a reader and a writer for each repository, over one connection."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from hls_handler.clients.account import RepositoryAccess, access, fetch_bot_account
from hls_handler.clients.api import GithubApi
from hls_handler.clients.memory import ConversationMemory
from hls_handler.clients.rate import RateLimit
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.writer import DryRunWriter, GithubWriter
from hls_handler.events import Account
from hls_handler.settings.model import Github as GithubSettings


def connect(settings: GithubSettings, *, observe: Callable[[RateLimit], None], now: Callable[[], datetime]) -> Github:
    """Create a client without sending a request. `observe` is called after every request; `now` returns aware UTC.

    Raises `SettingsError` for an invalid token or base URL.
    """
    return Github(GithubApi(settings, observe=observe, now=now))


class Github:
    """Not thread-safe: use one per worker thread, until the settings have another token or base URL."""

    def __init__(self, api: GithubApi) -> None:
        self._api = api

    def fetch_bot_account(self) -> Account:
        """Return the bot account. Raises `DependencyDown`, also if the token belongs to no account."""
        return fetch_bot_account(self._api)

    def access(self, repository: str) -> RepositoryAccess:
        return access(self._api, repository)

    def reader(self, repository: str) -> GithubReader:
        return GithubReader(self._api, repository)

    def writer(
        self,
        repository: str,
        *,
        bot: Account,
        memory: ConversationMemory,
        wait_for_slot: Callable[[], None],
        check_lease: Callable[[], None],
        dry_run: bool,
    ) -> GithubWriter | DryRunWriter:
        if dry_run:
            return DryRunWriter(self._api, repository, bot=bot, memory=memory)
        return GithubWriter(
            self._api, repository, bot=bot, memory=memory, wait_for_slot=wait_for_slot, check_lease=check_lease
        )

    def close(self) -> None:
        self._api.close()
