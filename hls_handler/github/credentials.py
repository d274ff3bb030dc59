"""Credentials for GitHub: tokens of a GitHub App's installations. Shared by all threads of a
process.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from hls_handler.errors import AppNotInstalled, DependencyDown, Permanent, StepFailed
from hls_handler.github.api import (
    Credential,
    GithubApi,
    RateLimit,
    ignore,
    rest,
)
from hls_handler.github.errors import Refused
from hls_handler.settings.model import GithubApp, GithubSettings

log = logging.getLogger(__name__)

PermissionLevel = Literal["read", "write"]

REQUESTED_PERMISSIONS: Mapping[str, PermissionLevel] = {
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
    "actions": "read",
    "contents": "read",
    "metadata": "read",
}
"""Permissions of an installation token (SECURITY.md rule 20)."""

JWT_LIFETIME = timedelta(minutes=9)  # GitHub allows 10
# GitHub rejects a JWT from the future, so its `iat` is this much in the past
CLOCK_SKEW = timedelta(minutes=1)
RENEW_BEFORE = timedelta(minutes=5)  # a token that expires within this time is renewed
# pause after a failed renewal, while the old token is valid
RENEW_AGAIN_AFTER = timedelta(seconds=30)
MIN_LIFETIME = timedelta(seconds=30)  # a token that expires within this time is not used any more
# a younger token has the current permissions, so it is not renewed after a 403 or 404
MIN_AGE = timedelta(minutes=1)
MAX_INSTALLATION_PAGES = 10
DENIED = (403, 404, 422)

JWT_REMEDY = (
    "check that github.app has the App's id and its private key (GitHub's page of the App lists the"
    " fingerprints of valid keys), and that this machine's clock is right"
)
INSTALLATION_REMEDY = (
    "wait: the token of the GitHub App is requested anew; if it lasts, check the App's installation"
)


class Owner(BaseModel):
    login: str = ""
    type: str = "User"

    @property
    def is_organization(self) -> bool:
        return self.type == "Organization"


class AppAccount(BaseModel, frozen=True):
    """The App itself. https://docs.github.com/en/rest/apps/apps#get-the-authenticated-app"""

    id: int
    slug: str
    html_url: str = ""  # "https://github.com/apps/my-hls"
    owner: Owner = Owner()
    events: frozenset[str] | None = None  # that its webhook sends

    def settings_url(self, web: str) -> str:
        """Return the page on which the owner changes the App; `web` is the result of `web_url`."""
        if self.owner.is_organization:
            web += f"/organizations/{self.owner.login}"
        return f"{web}/settings/apps/{self.slug}"


class Installation(BaseModel, frozen=True):
    """The App on one account.
    https://docs.github.com/en/rest/apps/apps#get-an-installation-for-the-authenticated-app
    """

    id: int
    account: Annotated[Owner | None, Field(default=None)]
    permissions: dict[str, str] = Field(default_factory=dict)  # {"issues": "write"}
    repository_selection: str = "selected"  # or "all"
    suspended_at: AwareDatetime | None = None

    @property
    def owner(self) -> str:
        if self.account is None:
            return "an unknown account"
        return self.account.login


class InstallationToken(BaseModel):
    token: str = Field(min_length=1, repr=False)
    expires_at: AwareDatetime

    @property
    def authorization(self) -> str:
        return f"token {self.token}"


class AppJwt(Credential):
    """Authenticates as the App itself, which may read its installations and request their
    tokens.
    """

    def __init__(self, app: GithubApp, *, now: Callable[[], datetime]) -> None:
        self.remedy = JWT_REMEDY
        self._id = app.id
        self._key = app.rsa_key
        self._now = now

    def authorization(self) -> str:
        from github.Auth import AppAuth

        auth = AppAuth(self._id, sign_func=self._sign)
        return f"{auth.token_type} {auth.token}"

    def _sign(self, claims: dict[str, object]) -> str:
        """Sign with the parsed key, because parsing takes 30 ms, and with the times of our
        clock.
        """
        import jwt

        issued_at = self._now() - CLOCK_SKEW
        times = {
            "iat": int(issued_at.timestamp()),
            "exp": int((issued_at + JWT_LIFETIME).timestamp()),
        }
        return jwt.encode({**claims, **times}, self._key, algorithm="RS256")


class App:
    """A GitHub App: its installations, and a token for each repository. Thread-safe.

    PyGithub has these requests only in another client, `GithubIntegration`, which sends the media
    type of a preview and cannot read the installation on an enterprise.

    `observe` is called after every request. `now` returns aware UTC.
    """

    def __init__(
        self,
        settings: GithubSettings,
        *,
        now: Callable[[], datetime],
        observe: Callable[[RateLimit], None] = ignore,
    ) -> None:
        assert settings.app is not None
        self.id = settings.app.id
        self.settings = settings
        self._observe = observe
        self.now = now
        self._jwt = AppJwt(settings.app, now=now)
        self._lock = threading.Lock()
        self._tokens: dict[str, RepositoryToken] = {}

    def connect(self) -> GithubApi:
        """Return a client that authenticates as the App itself. The caller must close it."""
        return GithubApi(self.settings, observe=self._observe, now=self.now, credential=self._jwt)

    def fetch(self) -> AppAccount:
        with closing(self.connect()) as api:
            return api.read(rest("GET", "/app", AppAccount))

    def fetch_installations(self) -> tuple[Installation, ...]:
        """Return the installations, at most 1,000."""
        with closing(self.connect()) as api:
            pages = api.pages(
                "/app/installations", tuple[Installation, ...], max_pages=MAX_INSTALLATION_PAGES
            )
            return tuple(installation for page in pages for installation in page)

    def find_installation(self, repository: str) -> Installation:
        """Return the installation on "owner/repo". Raises `AppNotInstalled` if there is none, or it
        is suspended.
        """
        with closing(self.connect()) as api:
            request = rest("GET", f"/repos/{repository}/installation", Installation)
            installation = api.of(repository).find(request)
        if installation is None:
            raise AppNotInstalled(f"the GitHub App is not installed on {repository}")
        if installation.suspended_at is not None:
            raise AppNotInstalled(
                f"the installation of the GitHub App on {repository} is suspended"
            )
        return installation

    def credential(self, repository: str) -> RepositoryToken:
        """Return the credential for "owner/repo": a token that is limited to this repository."""
        with self._lock:
            name = repository.lower()
            if name not in self._tokens:
                self._tokens[name] = RepositoryToken(self, repository)
            return self._tokens[name]

    def forget(self, repositories: Iterable[str] | None, *, owner: str) -> None:
        """Delete the cached tokens of these repositories; None for all repositories of `owner`."""
        prefix = f"{owner.lower()}/"
        with self._lock:
            if repositories is None:
                names = [name for name in self._tokens if name.startswith(prefix)]
            else:
                names = [name.lower() for name in repositories]
            for name in names:
                self._tokens.pop(name, None)


class RepositoryToken(Credential):
    """A token of the App's installation for one repository, renewed before it expires.
    Thread-safe.
    """

    def __init__(self, app: App, repository: str) -> None:
        self.remedy = INSTALLATION_REMEDY
        self._app = app
        self._repository = repository
        self._renewing = threading.Lock()
        self._token: InstallationToken | None = None
        self._requested_at = datetime.min.replace(tzinfo=UTC)
        self._renew_at: datetime | None = None  # after a failed renewal
        self._installation_id: int | None = None

    def remember_installation(self, installation_id: int) -> None:
        """Store the id in a payload, which saves a request."""
        if self._installation_id is None:
            self._installation_id = installation_id

    def authorization(self) -> str:
        """Return the header; renew the token before it expires. Raises `AppNotInstalled`, or a
        `StepFailed`.

        If the renewal fails, the old token is used until shortly before its end.
        """
        with self._renewing:
            token = self._token
            now = self._app.now()
            if token is None or now >= (self._renew_at or token.expires_at - RENEW_BEFORE):
                try:
                    token = self._request()
                    self._renew_at = None
                except StepFailed as exc:
                    if token is None or now >= token.expires_at - MIN_LIFETIME:
                        raise
                    self._renew_at = now + RENEW_AGAIN_AFTER
                    log.warning(
                        "the token of the GitHub App could not be renewed yet",
                        extra={"error": str(exc)},
                    )
                self._token = token
            return token.authorization

    def handle_error(self, authorization: str, refused: Refused, error: StepFailed) -> bool:
        """Request the token anew after a 401. After a 403 or 404, do so only if its permissions may
        have changed.

        Raises `AppNotInstalled` if the App is not installed on the repository any more.
        """
        is_denied = isinstance(error, Permanent) and refused.status in (403, 404)
        if refused.status != 401 and not is_denied:
            return False
        with self._renewing:
            token = self._token
            if token is None or authorization != token.authorization:
                return True  # another thread has renewed it
            if is_denied:
                self._installation_id = self._app.find_installation(self._repository).id
                if self._app.now() - self._requested_at < MIN_AGE:
                    return False
            self._token = None
        return True

    def _request(self) -> InstallationToken:
        body: dict[str, object] = {
            "repositories": [self._repository.partition("/")[2]],
            "permissions": REQUESTED_PERMISSIONS,
        }
        token: InstallationToken | None = None
        with closing(self._app.connect()) as api:
            requested_at = self._app.now()
            if self._installation_id is not None:
                with suppress(Refused):
                    token = request_token(api, self._installation_id, body, expected=DENIED)
            if token is None:
                # The installation is not known or was replaced, the repository was removed, or a
                # permission is missing.
                installation = self._app.find_installation(self._repository)
                self._installation_id = installation.id
                body["permissions"] = _restrict(REQUESTED_PERMISSIONS, installation.permissions)
                try:
                    token = request_token(api, installation.id, body)
                except DependencyDown:
                    raise
                except StepFailed as exc:
                    raise DependencyDown(
                        str(exc), dependency="github", remedy=INSTALLATION_REMEDY
                    ) from None
        self._requested_at = requested_at
        return token


def request_token(
    api: GithubApi,
    installation_id: int,
    body: Mapping[str, object],
    *,
    expected: Sequence[int] = (),
) -> InstallationToken:
    # PyGithub cannot limit a token to repositories
    path = f"/app/installations/{installation_id}/access_tokens"
    return api.read(rest("POST", path, InstallationToken, body=body), expected=expected)


def _restrict(
    requested: Mapping[str, PermissionLevel], granted: Mapping[str, str]
) -> dict[str, PermissionLevel]:
    """Return the wanted permissions, without those that are not granted: {"issues": "read"} if only
    reading is.
    """
    restricted: dict[str, PermissionLevel] = {}
    for name, level in requested.items():
        if name in granted:
            restricted[name] = level
            if granted[name] not in ("write", "admin"):
                restricted[name] = "read"
    return restricted
