"""GitHub clients. A client has one connection, and returns the bot account and readers and writers
of repositories.

Several clients share the credentials of their process: a GitHub App, or the tokens in the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel

from hls_handler.errors import AppNotInstalled, DependencyDown, Forbidden, Permanent
from hls_handler.events import Account
from hls_handler.git.mirror import Mirrors
from hls_handler.github.api import (
    Anonymous,
    GithubApi,
    RateLimit,
    RepositoryApi,
    WriteGuard,
    ignore,
    parse,
    validate,
)
from hls_handler.github.check_writer import CHECK_NAME, GithubChecks
from hls_handler.github.comments import History
from hls_handler.github.credentials import JWT_REMEDY, App
from hls_handler.github.hooks import WEBHOOKS_REMEDY, GithubHooks, Hook
from hls_handler.github.identity import Identity, describe_app, describe_tokens, split_scopes
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import CommitFiles
from hls_handler.github.tokens import GITHUB_RATE_LIMIT, AnyToken, Token, Tokens
from hls_handler.github.values import NO_CONTEXT, ReviewContext
from hls_handler.github.writer import GithubWriter, require_permission
from hls_handler.settings.model import GithubSettings
from hls_handler.settings.values import web_url

if TYPE_CHECKING:
    from github.Permissions import Permissions
    from github.Repository import Repository

ACCOUNT_REMEDY = (
    "use a personal access token of the account that HLS should use, "
    "and check that github.base_url is GitHub's API"
)


Credentials = App | Tokens


def make_credentials(
    settings: GithubSettings,
    *,
    observe: Callable[[RateLimit], None] = ignore,
    now: Callable[[], datetime],
    changed: Callable[[], object] = lambda: None,
) -> Credentials:
    """Create the credentials that all clients of a process share.

    `observe` is called after requests of the App, and `changed` when one of several tokens stops or
    starts to work.
    """
    if settings.app is not None:
        return App(settings, observe=observe, now=now)
    return Tokens(settings, now=now, changed=changed)


def uses_same_credentials(before: GithubSettings, other: GithubSettings) -> bool:
    """Return True if both settings have the same App or tokens, at the same address."""
    keys = [(of.base_url, of.app, of.access_tokens) for of in (before, other)]
    return keys[0] == keys[1]


def connect(
    credentials: Credentials,
    *,
    observe: Callable[[RateLimit], None] = ignore,
    now: Callable[[], datetime],
    labels: RepositoryLabels | None = None,
    mirrors: Mirrors | None = None,
) -> Github:
    """Create a client of the App, or of the first token. `observe` is called after each request of
    a token.
    """
    if isinstance(credentials, App):
        return Github(credentials.connect(), credentials, labels=labels, mirrors=mirrors)
    token = credentials.all[0]
    api = GithubApi(credentials.settings, observe=observe, now=now, credential=token)
    return Github(api, token, labels=labels, mirrors=mirrors)


class Github:
    """GitHub client with one account. Not thread-safe: use one per worker thread, and another for
    changed settings.
    """

    is_read_only: ClassVar[bool] = False

    def __init__(
        self,
        api: GithubApi,
        access: App | Token | None = None,
        *,
        labels: RepositoryLabels | None = None,
        mirrors: Mirrors | None = None,
    ) -> None:
        """`access` is the App or the token that authenticates `api`.

        `labels` are the known labels of repositories; None if this client is the only one.
        `mirrors` are None for a client whose readers use no git.
        """
        self._mirrors = mirrors
        self._api = api
        self._access = access
        self._labels = labels or RepositoryLabels(monotonic)

    def with_token(self, token: Token) -> Github:
        """Return a client for another token that shares this one's connection."""
        return Github(
            self._api.with_credential(token), token, labels=self._labels, mirrors=self._mirrors
        )

    def accounts(self) -> tuple[Github, ...]:
        """Return a client for each token, in their order. With an App, return this client."""
        if not isinstance(self._access, Token):
            return (self,)
        return tuple(map(self.with_token, self._access.tokens.all))

    def fetch_identity(self, *, unneeded: Collection[str] = ()) -> Identity:
        """Describe the App and its installations (two requests), or the tokens as far as responses
        described them.

        An App's permissions in `unneeded`, such as "checks", are not reported as missing.
        """
        if isinstance(self._access, App):
            web = web_url(self._access.settings.base_url)
            return describe_app(
                self._access.fetch(), self._access.fetch_installations(), web=web, unneeded=unneeded
            )
        assert self._access is not None
        return describe_tokens(self._access.tokens)

    def rate_limit(self, repository: str) -> str:
        """Return the name of the rate limit that applies to "owner/repo": GitHub limits each
        account or installation.

        The installations of an App have a limit each, and there is one for each owner.
        """
        if isinstance(self._access, App):
            return f"{GITHUB_RATE_LIMIT} {repository.partition('/')[0].lower()}"
        if self._access is None:
            return GITHUB_RATE_LIMIT
        return self._access.rate_limit

    def remember_installation(self, repository: str, installation_id: int) -> None:
        """Store the id of the App's installation, as in a webhook's payload, which saves a
        request.
        """
        if isinstance(self._access, App):
            self._access.credential(repository).remember_installation(installation_id)

    @property
    def requests_sent(self) -> int:
        """Number of requests to GitHub's API since this client was created, failed ones
        included.
        """
        return self._api.requests_sent

    def fetch_bot_account(self) -> Account:
        """Return the account that comments. Raises `DependencyDown` if GitHub fails or there is no
        account (403, 404).

        GitHub does not tell an App the id of its account, so the id is 0.
        """
        try:
            match self._access:
                case App() as app:
                    return Account(f"{app.fetch().slug}[bot]", 0, "Bot")
                case Token() as token:
                    token.require_limit_not_used_up()
                    api = self._api.with_credential(AnyToken(token.tokens, only=token))
                    try:
                        response = api.send(lambda it: parse(Account, it.get_user().complete()))
                    except Forbidden:  # the token of a workflow
                        viewer = api.query(VIEWER_QUERY, {}, dict[str, _Viewer])["viewer"]
                        token.report_success(viewer.login, {})
                        return Account(viewer.login, viewer.id or 0, "Bot")
                    token.report_success(response.value.login, response.headers)
                    return response.value
                case None:
                    return self._api.get(lambda it: it.get_user(), Account)
        except Permanent as exc:
            remedy = ACCOUNT_REMEDY
            if isinstance(self._access, App):
                remedy = JWT_REMEDY
            raise DependencyDown(str(exc), dependency="github", remedy=remedy) from exc

    def _api_for(self, repository: str) -> RepositoryApi:
        api = self._api.of(repository)
        if isinstance(self._access, App):
            return api.with_credential(self._access.credential(repository))
        return api

    def find_missing_permissions(
        self, repository: str, *, with_webhooks: bool = False
    ) -> list[str]:
        """Return one sentence for each missing permission or other obstacle in "owner/repo"; sends
        one request.

        With `with_webhooks`, one more request shows whether a token may list the webhooks, as
        catch-up needs. Limits of a fine-grained token are not found: GitHub reports only the
        permissions of the token's account. Raises `DependencyDown` if GitHub fails.
        """
        is_app = isinstance(self._access, App)
        try:
            missing = self._api_for(repository).read(
                lambda it: _find_obstacles(it.complete(), repository, is_app=is_app)
            )
        except (Permanent, AppNotInstalled) as exc:
            return [str(exc)]
        if with_webhooks and not is_app:
            try:
                GithubHooks(self._api).hooks(f"/repos/{repository}")
            except Permanent:
                missing.append(f"the webhooks of {repository} cannot be listed: {WEBHOOKS_REMEDY}")
        return missing

    def require_write_permission(self, repository: str, number: int) -> None:
        """Raise `Forbidden` if the credential may not change an issue or pull request."""
        guard = WriteGuard(lambda: None, lambda: None)
        require_permission(self._api_for(repository).with_guard(guard), number)

    def has_account(self, login: str) -> bool:
        return self._api.find(lambda it: validate(int, it.get_user(login).id)) is not None

    def has_repository(self, repository: str) -> bool:
        """Return False if GitHub has no such repository, or the credential may not read it."""
        return (
            self._api_for(repository).find(lambda it: validate(int, it.complete().id)) is not None
        )

    def list_hooks(self, path: str) -> tuple[Hook, ...]:
        """Return the webhooks at "/repos/owner/repo" or "/orgs/owner".

        Returns () if there is no such organisation, if the credential may not list them, or if it
        is that of an App.
        """
        if isinstance(self._access, App):
            return ()
        try:
            return GithubHooks(self._api).hooks(path)
        except Permanent:
            return ()

    def reader(self, repository: str, *, bot: Account | None = None) -> GithubReader:
        """Return a reader. `bot` is the bot account; without it, `GithubReader.review_threads`
        finds none.
        """
        return GithubReader(self._api_for(repository), self._labels, bot=bot, mirrors=self._mirrors)

    def writer(
        self,
        repository: str,
        *,
        bot: Account,
        history: History,
        guard: WriteGuard | None,
    ) -> GithubWriter:
        """Return a writer. Without a guard, or if this client is read-only, it writes nothing."""
        if self.is_read_only:
            guard = None
        api = self._api_for(repository).with_guard(guard)
        return GithubWriter(api, bot=bot, history=history, labels=self._labels)

    def checks(self, repository: str, guard: WriteGuard, *, name: str = CHECK_NAME) -> GithubChecks:
        api = self._api_for(repository).with_guard(guard)
        return GithubChecks(api, uses_check_runs=isinstance(self._access, App), name=name)

    def preferred(self) -> Github:
        """Return the client of the token that works; with an App, this client."""
        if not isinstance(self._access, Token):
            return self
        return self.with_token(self._access.tokens.preferred)

    def close(self) -> None:
        self._api.close()


VIEWER_QUERY = "{ viewer { login id: databaseId } }"


class _Viewer(BaseModel):
    login: str
    id: int | None


def _find_obstacles(repository: Repository, name: str, *, is_app: bool) -> list[str]:
    validate(int, repository.id)  # a gateway may answer with another document
    missing = []
    if repository.archived:
        missing.append(f"{name} is archived: nothing can be written there")
    elif repository.disabled:
        missing.append(f"{name} is disabled: nothing can be written there")
    if repository.has_issues is False:
        missing.append(f"issues are disabled in {name}: only pull requests can be processed")
    if is_app:  # its permissions belong to the installation
        return missing
    permissions: Permissions | None = repository.permissions
    if permissions is None or not (permissions.triage or permissions.push):
        missing.append(
            f"the account may not set labels in {name}: it needs the role triage or write"
        )
    elif not permissions.push:
        missing.append(
            f"the account may not create labels in {name}: give it the role write, or create them"
            " yourself"
        )
    scopes = repository.raw_headers.get("x-oauth-scopes")  # only classic tokens have scopes
    if scopes is not None:
        sufficient = {"repo"} if repository.private else {"repo", "public_repo"}
        if sufficient.isdisjoint(split_scopes(str(scopes))):
            missing.append(f"the token lacks the scope {min(sufficient)}")
    return missing


ANONYMOUS_ACCOUNT = Account("hls[bot]", 0, "Bot")
"""Stands for the account that the service would have."""

NOT_IN_WEBHOOKS = ("permissions", "temp_clone_token")
"""Keys of a repository that the API returns and webhooks do not have; the second is a
credential.
"""


@dataclass(frozen=True, slots=True)
class OpenedEvent:
    """An event `issues.opened` or `pull_request.opened`, as GitHub would send it."""

    name: Literal["issues", "pull_request"]
    payload: Mapping[str, object]


def make_opened(repository: Mapping[str, Any], issue: Mapping[str, Any]) -> OpenedEvent:
    """Make the event `issues.opened` from an issue as it is now."""
    sender = issue.get("user")
    payload = {"action": "opened", "repository": repository, "sender": sender, "issue": issue}
    return OpenedEvent("issues", payload)


def connect_read_only(
    settings: GithubSettings,
    *,
    now: Callable[[], datetime],
    assume_open: bool = False,
    anonymous: bool = False,
    mirrors: Mirrors | None = None,
) -> ReadOnlyGithub:
    """Create a client that never writes; if `anonymous`, it sends no token. `now` returns aware
    UTC.

    The call itself sends no request. Raises `SettingsError` if the proxy or certificate settings
    cannot be used.
    """
    if anonymous:
        api = GithubApi(settings, now=now, credential=Anonymous())
        return ReadOnlyGithub(api, None, assume_open=assume_open, account=ANONYMOUS_ACCOUNT)
    access = make_credentials(settings, now=now)
    if isinstance(access, App):
        return ReadOnlyGithub(access.connect(), access, assume_open=assume_open, mirrors=mirrors)
    api = GithubApi(settings, now=now, credential=AnyToken(access))
    return ReadOnlyGithub(api, access.preferred, assume_open=assume_open, mirrors=mirrors)


class ReadOnlyGithub(Github):
    """A client that never writes. With `assume_open`, it reads every conversation as open and
    unlocked.
    """

    is_read_only = True

    def __init__(
        self,
        api: GithubApi,
        access: App | Token | None,
        *,
        assume_open: bool,
        account: Account | None = None,
        mirrors: Mirrors | None = None,
    ) -> None:
        """`account` is that of an anonymous client."""
        super().__init__(api, access, mirrors=mirrors)
        self.assume_open = assume_open
        self._account = account

    def fetch_bot_account(self) -> Account:
        return self._account or super().fetch_bot_account()

    def repository_document(self, repository: str) -> dict[str, Any]:
        """Return the repository as webhooks contain it."""
        document = self._api_for(repository).get(lambda it: it, dict[str, Any])
        return {key: value for key, value in document.items() if key not in NOT_IN_WEBHOOKS}

    def opened(self, repository: str, number: int) -> OpenedEvent:
        """Make an event from the current issue or pull request."""
        api = self._api_for(repository)
        common = self.repository_document(repository)
        conversation = api.get(lambda it: it.get_issue(number), dict[str, Any])
        opened = make_opened(common, conversation)
        if conversation.get("pull_request") is None:
            return opened
        pull_request = api.get(lambda it: it.get_pull(number), dict[str, Any])
        rest = {key: value for key, value in opened.payload.items() if key != "issue"}
        payload = {**rest, "number": number, "pull_request": pull_request}
        return OpenedEvent("pull_request", payload)

    def reader(self, repository: str, *, bot: Account | None = None) -> GithubReader:
        kind = GithubReader
        if self._account is not None:
            kind = _AnonymousReader
            bot = None
        return kind(
            self._api_for(repository),
            self._labels,
            bot=bot,
            assume_open=self.assume_open,
            mirrors=self._mirrors,
        )


class _AnonymousReader(GithubReader):
    """Reads what GitHub shows without a token. GraphQL needs one, so nothing that only GraphQL
    shows.
    """

    def review_context(self, *_arguments: object, **_options: object) -> ReviewContext:
        return NO_CONTEXT

    def files_at(self, commit: str) -> CommitFiles:
        return CommitFiles(None, None, commit)
