"""GitHub clients. A client has one connection, and returns the bot account and readers and writers of repositories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import Any, ClassVar

from pydantic import BaseModel, TypeAdapter

from hls_handler.clients.api import GithubApi, RateLimitMonitor, WriteGuard, repository_path
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.repository_labels import RepositoryLabels
from hls_handler.clients.writer import GithubWriter
from hls_handler.errors import DependencyDown, Permanent
from hls_handler.events import Account, Issue, PullRequest
from hls_handler.history.conversations import ConversationHistory
from hls_handler.settings.model import Github as GithubSettings

ACCOUNT_REMEDY = (
    "use a personal access token of the account that HLS should use, and check that github.base_url is GitHub's API"
)
_ACCOUNT = TypeAdapter(Account)


class _WireRole(BaseModel):
    triage: bool = False
    push: bool = False


class _WireRepository(BaseModel):  # https://docs.github.com/en/rest/repos/repos#get-a-repository
    archived: bool = False
    disabled: bool = False
    private: bool = False
    has_issues: bool = True
    permissions: _WireRole | None = None  # of the account, not of the token; absent for an anonymous caller


_REPOSITORY = TypeAdapter(_WireRepository)


class Github:
    """GitHub client with one token. Not thread-safe: use one per worker thread, and another for changed settings."""

    is_read_only: ClassVar[bool] = False

    def __init__(self, api: GithubApi, *, labels: RepositoryLabels | None = None) -> None:
        """`labels` are the known labels of repositories; None if this client is the only one."""
        self._api, self._labels = api, labels or RepositoryLabels(monotonic)

    def fetch_bot_account(self) -> Account:
        """Return the token's account. Raises `DependencyDown` if GitHub fails or there is no account (403, 404)."""
        try:
            return self._api.get("/user", _ACCOUNT)
        except Permanent as exc:
            raise DependencyDown(str(exc), dependency="github", remedy=ACCOUNT_REMEDY) from exc

    def find_missing_permissions(self, repository: str) -> list[str]:
        """Return one sentence for each missing permission or other obstacle in "owner/repo"; sends one request.

        Limits of a fine-grained token are not found: GitHub reports only the permissions of the token's account. Raises
        `DependencyDown` if GitHub fails.
        """
        try:
            found, headers = self._api.get_with_headers(repository_path(repository), _REPOSITORY)
        except Permanent as exc:
            return [str(exc)]
        missing = []
        if found.archived or found.disabled:
            state = "archived" if found.archived else "disabled"
            missing.append(f"{repository} is {state}: nothing can be written there")
        if not found.has_issues:
            missing.append(f"issues are disabled in {repository}: only pull requests can be processed")
        role = found.permissions or _WireRole()
        if not (role.triage or role.push):
            missing.append(f"the account may not set labels in {repository}: it needs the role triage or write")
        elif not role.push:
            missing.append(
                f"the account may not create labels in {repository}: give it the role write, or create them yourself"
            )
        scopes = headers.get("x-oauth-scopes")  # only classic tokens have scopes
        sufficient = {"repo"} if found.private else {"repo", "public_repo"}
        if scopes is not None and sufficient.isdisjoint(scope.strip() for scope in scopes.split(",")):
            missing.append(f"the token lacks the scope {'repo' if found.private else 'public_repo'}")
        return missing

    def reader(self, repository: str) -> GithubReader:
        return GithubReader(self._api, repository, self._labels)

    def writer(
        self,
        repository: str,
        *,
        bot: Account,
        history: ConversationHistory,
        begin_write: Callable[[], None],
        check_lease: Callable[[], None],
        dry_run: bool,
    ) -> GithubWriter:
        """Return a writer. Before each write it calls `begin_write`, then `check_lease`; both may raise.

        With `dry_run`, or if this client is read-only, the writer writes nothing.
        """
        guard = None if dry_run or self.is_read_only else WriteGuard(begin_write, check_lease)
        return GithubWriter(self._api, repository, bot=bot, history=history, labels=self._labels, guard=guard)

    def close(self) -> None:
        self._api.close()


NOT_IN_WEBHOOKS = ("permissions", "temp_clone_token")
"""Keys of a repository that the API returns and webhooks do not have; the second is a credential."""

_DOCUMENT = TypeAdapter(dict[str, Any])


def connect_read_only(
    settings: GithubSettings, *, now: Callable[[], datetime], assume_open: bool = False
) -> ReadOnlyGithub:
    """Create a client that never writes. `now` returns aware UTC.

    The call itself sends no request. Raises `SettingsError` if the proxy or certificate settings cannot be used.
    """
    return ReadOnlyGithub(GithubApi(settings, observe=RateLimitMonitor().observe, now=now), assume_open=assume_open)


class ReadOnlyGithub(Github):
    """A client that never writes. With `assume_open`, it reads every conversation as open and unlocked."""

    is_read_only = True

    def __init__(self, api: GithubApi, *, assume_open: bool) -> None:
        super().__init__(api)
        self.assume_open = assume_open

    def opened(self, repository: str, number: int) -> tuple[str, dict[str, object]]:
        """Return the name and payload of an `opened` event, made from the current issue or pull request."""
        base = repository_path(repository)
        repository_json = self._api.get(base, _DOCUMENT)
        conversation = self._api.get(f"{base}/issues/{number}", _DOCUMENT)
        common = {
            "action": "opened",
            "repository": {key: value for key, value in repository_json.items() if key not in NOT_IN_WEBHOOKS},
            "sender": conversation.get("user"),
        }
        if conversation.get("pull_request") is None:
            return "issues", {**common, "issue": conversation}
        pull_request = self._api.get(f"{base}/pulls/{number}", _DOCUMENT)
        return "pull_request", {**common, "number": number, "pull_request": pull_request}

    def reader(self, repository: str) -> GithubReader:
        return (
            _AssumeOpenReader(self._api, repository, self._labels) if self.assume_open else super().reader(repository)
        )


class _AssumeOpenReader(GithubReader):
    def issue(self, number: int) -> Issue:
        return replace(super().issue(number), state="open", locked=False)

    def pull_request(self, number: int) -> PullRequest:
        return replace(super().pull_request(number), state="open", locked=False)
