"""Requests of `hls init`: the manifest of a new App, the exchange of its code, and the App's
installations.

https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from urllib.parse import quote

from pydantic import BaseModel, Field, SecretStr

from hls_handler.errors import Permanent
from hls_handler.events import HANDLED_EVENTS
from hls_handler.github.api import PAGE_SIZE, Anonymous, Credential, GithubApi, rest
from hls_handler.github.credentials import (
    REQUESTED_PERMISSIONS,
    App,
    Installation,
    request_token,
)
from hls_handler.github.errors import Refused
from hls_handler.settings.model import GithubApp, GithubSettings
from hls_handler.settings.values import AppKey, web_url

PERMISSIONS: Mapping[str, str] = {
    **{event.permission: "read" for event in HANDLED_EVENTS.values()},
    **REQUESTED_PERMISSIONS,
    "merge_queues": "read",  # GitHub sends `merge_group` only with it
}
EVENTS = (
    *(name for name in HANDLED_EVENTS if name != "check_run"),
    "pull_request_review_comment",
    "pull_request_review_thread",
    "repository",
)
"""Events of a webhook; comments and review threads also for commands, `repository` for new
names.
"""

APP_EVENTS = (*EVENTS, "check_run", "merge_group")
"""Events of the App's webhook; `check_run` for its checks that people run again, `merge_group` for
merge queues.

GitHub sends `installation` and `installation_repositories` to every App.
"""

MAX_NAME_CHARS = 34  # GitHub's limit for the name of an App
TIMEOUT_S = 15.0


class CreatedApp(BaseModel, frozen=True):
    """The new App. `repr` omits the secrets."""

    id: int
    slug: str
    html_url: str  # "https://github.com/apps/my-hls"
    pem: str = Field(repr=False)  # private key
    webhook_secret: str = Field(repr=False)


_UNUSED = SecretStr("x" * 16)


def new_app_url(base_url: str, organization: str | None, *, state: str) -> str:
    """Return the address to which the form with the manifest is posted."""
    owner = ""
    if organization:
        owner = f"/organizations/{quote(organization, safe='')}"
    return f"{web_url(base_url)}{owner}/settings/apps/new?state={quote(state, safe='')}"


def installation_url(app_url: str) -> str:
    return f"{app_url}/installations/new"


def make_manifest(
    *, name: str, homepage: str, redirect_url: str, webhook_url: str
) -> dict[str, object]:
    return {
        "name": name,
        "url": homepage,
        "description": (
            "Labels and comments on issues and pull requests, written with the help of Claude."
        ),
        "hook_attributes": {"url": webhook_url, "active": True},
        "redirect_url": redirect_url,
        "public": False,
        "default_permissions": dict(PERMISSIONS),
        "default_events": list(APP_EVENTS),
    }


def convert_code(base_url: str, code: str, *, now: Callable[[], datetime]) -> CreatedApp:
    """Exchange the code for the App and its secrets, which GitHub allows once and within an hour;
    no credential.

    Raises `Permanent` if the code is not valid (any more), and `DependencyDown` if GitHub fails:
    then the code can be exchanged later. Messages never contain the code.
    """
    settings = GithubSettings(token=_UNUSED, webhook_secret=_UNUSED, base_url=base_url)
    with closing(GithubApi(settings, now=now, credential=Anonymous())) as api:
        # PyGithub has no method for this
        path = f"/app-manifests/{quote(code, safe='')}/conversions"
        request = rest("POST", path, CreatedApp)
        try:
            return api.read(request, expected=(404, 422))
        except Refused as refused:
            reason = "it was used already, or is older than an hour"
            raise Permanent(
                f"GitHub did not accept the code ({refused.status}): {reason}"
            ) from None


class _Repository(BaseModel):
    full_name: str


class _Repositories(BaseModel):
    total_count: int
    repositories: tuple[_Repository, ...]


class _Hook(BaseModel):
    url: str


def connect_app(base_url: str, app_id: int, key: AppKey, *, now: Callable[[], datetime]) -> App:
    section = GithubApp(id=app_id, private_key=key)
    return App(GithubSettings(app=section, webhook_secret=_UNUSED, base_url=base_url), now=now)


def fetch_webhook_url(app: App) -> str:
    with closing(app.connect()) as api:
        # PyGithub has no method for this
        return api.read(rest("GET", "/app/hook/config", _Hook)).url


def list_repositories(app: App) -> tuple[str, ...]:
    """Return the repositories of all installations that are not suspended: ("owner/repo", ...).

    It is ("owner/*",) for an installation on all repositories of an account, or on more than 100.
    """
    names: list[str] = []
    for installation in app.fetch_installations():
        if installation.suspended_at is None:
            names += _list_repositories(app, installation)
    return tuple(names)


def _list_repositories(app: App, installation: Installation) -> tuple[str, ...]:
    everything: tuple[str, ...] = ()
    if installation.account is not None:
        everything = (f"{installation.account.login}/*",)
    if installation.repository_selection == "all":
        return everything
    with closing(app.connect()) as api:
        created = request_token(api, installation.id, {"permissions": {"metadata": "read"}})
        credential = Credential(created.token)
        # PyGithub reads this with the token of an installation only by `GithubIntegration`
        path = f"/installation/repositories?per_page={PAGE_SIZE}"
        page = api.with_credential(credential).read(rest("GET", path, _Repositories))
    names = tuple(repository.full_name for repository in page.repositories)
    if len(names) < page.total_count:
        return everything
    return names
