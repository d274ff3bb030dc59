"""Read-only GitHub client: it reads as usual and never writes, whatever the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from hls_handler.clients.api import GithubApi, repository_path
from hls_handler.clients.github import Github
from hls_handler.clients.memory import ConversationMemory
from hls_handler.clients.rate import RateLimitMonitor
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.writer import DryRunWriter
from hls_handler.events import Account, Issue, PullRequest
from hls_handler.settings.model import Github as GithubSettings

NOT_IN_WEBHOOKS = ("permissions", "temp_clone_token")
"""Keys of a repository that the API returns and webhooks do not have; the second is a credential."""

_DOCUMENT = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Opened:
    """The `opened` event of an issue or pull request, rebuilt from its current state on GitHub."""

    event: str  # "issues" or "pull_request"
    payload: Mapping[str, object]


def look(settings: GithubSettings, *, now: Callable[[], datetime], assume_open: bool = False) -> ReadOnlyGithub:
    """Create a client without sending a request. `now` returns aware UTC.

    Raises `SettingsError` for an invalid token or base URL.
    """
    return ReadOnlyGithub(GithubApi(settings, observe=RateLimitMonitor().observe, now=now), assume_open=assume_open)


class ReadOnlyGithub(Github):
    """With `assume_open`, closed and locked conversations are read as open and not locked."""

    def __init__(self, api: GithubApi, *, assume_open: bool) -> None:
        super().__init__(api)
        self.assume_open = assume_open

    def opened(self, repository: str, number: int) -> Opened:
        """Return the event of the issue or pull request with this number; two or three requests. Raises as reads do."""
        base = repository_path(repository)
        repository_json = self._api.get(base, _DOCUMENT)
        conversation = self._api.get(f"{base}/issues/{number}", _DOCUMENT)
        common = {
            "action": "opened",
            "repository": {key: value for key, value in repository_json.items() if key not in NOT_IN_WEBHOOKS},
            "sender": conversation.get("user"),
        }
        if conversation.get("pull_request") is None:
            return Opened("issues", {**common, "issue": conversation})
        pull_request = self._api.get(f"{base}/pulls/{number}", _DOCUMENT)
        return Opened("pull_request", {**common, "number": number, "pull_request": pull_request})

    def reader(self, repository: str) -> GithubReader:
        return _AssumeOpenReader(self._api, repository) if self.assume_open else super().reader(repository)

    def writer(
        self,
        repository: str,
        *,
        bot: Account,
        memory: ConversationMemory,
        wait_for_slot: Callable[[], None],
        check_lease: Callable[[], None],
        dry_run: bool,
    ) -> DryRunWriter:
        del wait_for_slot, check_lease, dry_run  # nothing is written, so there is no write slot to wait for
        return DryRunWriter(self._api, repository, bot=bot, memory=memory)


class _AssumeOpenReader(GithubReader):
    def issue(self, number: int) -> Issue:
        return replace(super().issue(number), state="open", locked=False)

    def pull_request(self, number: int) -> PullRequest:
        return replace(super().pull_request(number), state="open", locked=False)
