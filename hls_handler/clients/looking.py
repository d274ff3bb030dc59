"""GitHub for a look: read as ever, and never written to, whatever settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from hls_handler.clients.api import Api, repository_path
from hls_handler.clients.github import Github
from hls_handler.clients.memory import Memory
from hls_handler.clients.rate import RateMeter
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.writer import DryRunWriter
from hls_handler.events import Account, Issue, PullRequest
from hls_handler.settings.model import Github as GithubSettings

NOT_IN_WEBHOOKS = ("permissions", "temp_clone_token")
"""What the API tells of a repository to the account that asks, the second being a credential."""

_DOCUMENT = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Opened:
    """The event with which a thread began, made of what GitHub shows of the thread now."""

    event: str  # "issues" or "pull_request"
    payload: Mapping[str, object]


def look(settings: GithubSettings, *, now: Callable[[], datetime], as_if_open: bool = False) -> Looking:
    """Build a client; nothing is sent yet. `now` gives aware UTC.

    Raises `SettingsError` for a token or an address that cannot be used.
    """
    return Looking(Api(settings, observe=RateMeter().observe, now=now), as_if_open=as_if_open)


class Looking(Github):
    """With `as_if_open`, closed and locked threads are read as if they were neither."""

    def __init__(self, api: Api, *, as_if_open: bool) -> None:
        super().__init__(api)
        self.as_if_open = as_if_open

    def opened(self, repository: str, number: int) -> Opened:
        """Of an issue or a pull request, whichever the number is; two requests or three. Raises as reads do."""
        base = repository_path(repository)
        home = self._api.get(base, _DOCUMENT)
        thread = self._api.get(f"{base}/issues/{number}", _DOCUMENT)
        shared = {
            "action": "opened",
            "repository": {key: value for key, value in home.items() if key not in NOT_IN_WEBHOOKS},
            "sender": thread.get("user"),
        }
        if thread.get("pull_request") is None:
            return Opened("issues", {**shared, "issue": thread})
        pull_request = self._api.get(f"{base}/pulls/{number}", _DOCUMENT)
        return Opened("pull_request", {**shared, "number": number, "pull_request": pull_request})

    def reader(self, repository: str) -> GithubReader:
        return _AsIfOpen(self._api, repository) if self.as_if_open else super().reader(repository)

    def writer(
        self,
        repository: str,
        *,
        we: Account,
        memory: Memory,
        before_write: Callable[[], None],
        still_ours: Callable[[], None],
        dry_run: bool,
    ) -> DryRunWriter:
        del before_write, still_ours, dry_run  # nothing is written, so nothing has to wait for its turn
        return DryRunWriter(self._api, repository, we=we, memory=memory)


class _AsIfOpen(GithubReader):
    def issue(self, number: int) -> Issue:
        return replace(super().issue(number), state="open", locked=False)

    def pull_request(self, number: int) -> PullRequest:
        return replace(super().pull_request(number), state="open", locked=False)
