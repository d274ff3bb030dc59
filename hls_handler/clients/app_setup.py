"""What `hls init` asks of GitHub: the manifest of a new App, the exchange of its code, and the App's installations.

https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

import jwt
import requests
import urllib3
from pydantic import BaseModel, Field, TypeAdapter

from hls_handler import __version__
from hls_handler.clients.api import PAGE_SIZE, validate
from hls_handler.clients.github_errors import translate_exception, translate_status, unexpected_response
from hls_handler.clients.transport import find_proxy_settings, redact_secret
from hls_handler.errors import Permanent

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

T = TypeVar("T")

PERMISSIONS: Mapping[str, str] = {
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
    "actions": "read",
    "contents": "read",
    "metadata": "read",
}
EVENTS = ("issues", "pull_request", "pull_request_review", "workflow_run", "issue_comment", "release")
"""Events of the App's webhook. GitHub sends `installation` and `installation_repositories` to every App."""

MAX_NAME_CHARS = 34  # GitHub's limit for the name of an App
TIMEOUT_S = 15.0

UNSERVED_URL = "https://hls.invalid/webhook"
"""Webhook URL of an App without a public address. GitHub rejects `localhost`, and a host of somebody else would receive
the payloads; names below `.invalid` never exist (RFC 2606). The webhook is active nevertheless, because GitHub lists
only deliveries that it tried to send."""


class CreatedApp(BaseModel):
    """The new App. `repr` omits the secrets."""

    id: int
    slug: str
    html_url: str  # "https://github.com/apps/my-hls"
    pem: str = Field(repr=False)  # private key
    webhook_secret: str = Field(repr=False)


_CREATED_APP = TypeAdapter(CreatedApp)


def web_url(base_url: str) -> str:
    """Return the address of GitHub's web pages: "https://github.com" for "https://api.github.com"."""
    parts = urlsplit(base_url)
    host = parts.netloc.removeprefix("api.") if not parts.path else parts.netloc  # Enterprise Server has /api/v3
    return f"{parts.scheme}://{host}"


def new_app_url(base_url: str, organization: str | None, *, state: str) -> str:
    """Return the address to which the form with the manifest is posted."""
    owner = f"/organizations/{quote(organization, safe='')}" if organization else ""
    return f"{web_url(base_url)}{owner}/settings/apps/new?state={quote(state, safe='')}"


def installation_url(app_url: str) -> str:
    """Return the page that installs the App, for its `html_url`."""
    return f"{app_url}/installations/new"


def make_manifest(*, name: str, homepage: str, redirect_url: str, webhook_url: str) -> dict[str, object]:
    return {
        "name": name,
        "url": homepage,
        "description": "Labels and comments on issues and pull requests, written with the help of Claude.",
        "hook_attributes": {"url": webhook_url, "active": True},
        "redirect_url": redirect_url,
        "public": False,
        "default_permissions": dict(PERMISSIONS),
        "default_events": list(EVENTS),
    }


def convert_code(base_url: str, code: str, *, now: Callable[[], datetime]) -> CreatedApp:
    """Exchange the code for the App and its secrets, which GitHub allows once and within an hour.

    Raises `Permanent` if the code is not valid (any more), and `DependencyDown` if GitHub fails: then the code can be
    exchanged later. Messages never contain the code.
    """
    path = f"/app-manifests/{quote(code, safe='')}/conversions"
    call = "POST /app-manifests/CODE/conversions"
    response = _request(base_url, "POST", path, call=call, token=None, now=now)
    if response.status in (404, 422) and response.message is not None:
        reason = "it was used already, or is older than an hour"
        raise Permanent(f"GitHub did not accept the code ({response.status}): {reason}")
    return response.validate(call, _CREATED_APP, secret=code, now=now)


class _Account(BaseModel):
    login: str
    type: str = "User"


class ExistingApp(BaseModel):
    slug: str
    html_url: str  # "https://github.com/apps/my-hls"
    owner: _Account

    def settings_url(self, web: str) -> str:
        """Return the page on which the owner changes the App; `web` is the result of `web_url`."""
        organization = f"/organizations/{self.owner.login}" if self.owner.type == "Organization" else ""
        return f"{web}{organization}/settings/apps/{self.slug}"


class Installation(BaseModel):
    id: int
    account: _Account
    repository_selection: Literal["all", "selected"] = "selected"
    suspended_at: str | None = None


class _Repository(BaseModel):
    full_name: str


class _Repositories(BaseModel):
    total_count: int
    repositories: tuple[_Repository, ...]


class _Hook(BaseModel):
    url: str


class _Token(BaseModel):
    token: str = Field(repr=False)


_APP, _HOOK, _TOKEN = TypeAdapter(ExistingApp), TypeAdapter(_Hook), TypeAdapter(_Token)
_INSTALLATIONS, _REPOSITORIES = TypeAdapter(tuple[Installation, ...]), TypeAdapter(_Repositories)


class AppClient:
    """Reads an App and its installations, as the App itself (with a JWT). Errors are those of `clients/`."""

    def __init__(self, base_url: str, app_id: int, key: RSAPrivateKey, *, now: Callable[[], datetime]) -> None:
        self._base_url, self._app_id, self._key, self._now = base_url, app_id, key, now

    def fetch_app(self) -> ExistingApp:
        """Return the App. Raises `Permanent` if GitHub has no App with this id and key."""
        response = self._request("GET", "/app", self._jwt())
        if response.status in (401, 404) and response.message is not None:
            raise Permanent(
                f"GitHub has no App {self._app_id} with this private key ({response.status}: "
                f"{redact_secret(response.message, '')})"
            )
        return response.validate("GET /app", _APP, now=self._now)

    def fetch_webhook_url(self) -> str:
        return (
            self._request("GET", "/app/hook/config", self._jwt())
            .validate("GET /app/hook/config", _HOOK, now=self._now)
            .url
        )

    def list_installations(self) -> tuple[Installation, ...]:
        """Return the first 100 installations that are not suspended."""
        path = f"/app/installations?per_page={PAGE_SIZE}"
        found = self._request("GET", path, self._jwt()).validate(f"GET {path}", _INSTALLATIONS, now=self._now)
        return tuple(one for one in found if one.suspended_at is None)

    def list_repositories(self, installation: Installation) -> tuple[str, ...]:
        """Return ("owner/repo", ...), or ("owner/*",) for all repositories of an account or more than 100."""
        everything = (f"{installation.account.login}/*",)
        if installation.repository_selection == "all":
            return everything
        path = f"/app/installations/{installation.id}/access_tokens"
        created = self._request("POST", path, self._jwt(), body={"permissions": {"metadata": "read"}})
        token = created.validate(f"POST {path}", _TOKEN, now=self._now).token
        path = f"/installation/repositories?per_page={PAGE_SIZE}"
        listed = self._request("GET", path, token).validate(f"GET {path}", _REPOSITORIES, secret=token, now=self._now)
        names = tuple(one.full_name for one in listed.repositories)
        return names if len(names) == listed.total_count else everything

    def _jwt(self) -> str:
        at = int(self._now().timestamp())
        # One minute in the past, because clocks differ; GitHub allows ten minutes at most.
        return jwt.encode({"iat": at - 60, "exp": at + 480, "iss": str(self._app_id)}, self._key, algorithm="RS256")

    def _request(self, verb: str, path: str, token: str, *, body: Mapping[str, Any] | None = None) -> _Response:
        return _request(self._base_url, verb, path, call=f"{verb} {path}", token=token, body=body, now=self._now)


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    headers: Mapping[str, str]  # names in lower case
    document: Any = field(repr=False)  # None if the body is not JSON

    @property
    def message(self) -> str | None:
        found = self.document.get("message") if isinstance(self.document, dict) else None
        return found if isinstance(found, str) else None

    def validate(self, call: str, shape: TypeAdapter[T], *, secret: str = "", now: Callable[[], datetime]) -> T:
        if 300 <= self.status < 400:
            raise unexpected_response(call, str(self.status))
        if self.status >= 400:
            message = redact_secret(self.message, secret) if self.message is not None else None
            raise translate_status(call, self.status, self.headers, message, now())
        return validate(call, shape, self.document)


def _request(
    base_url: str,
    verb: str,
    path: str,
    *,
    call: str,
    token: str | None,
    body: Mapping[str, Any] | None = None,
    now: Callable[[], datetime],
) -> _Response:
    proxy = find_proxy_settings(base_url)
    headers = {
        "Accept": "application/vnd.github+json",
        "User-Agent": f"hls/{__version__}",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with requests.Session() as session:
        proxy.apply_to(session)
        try:
            response = session.request(
                verb,
                f"{base_url}{path}",
                json=body,
                headers=headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                verify=proxy.ca_path,
            )
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as exc:
            raise translate_exception(call, exc, now(), proxy) from None  # the exception's text may contain a secret
    lower = {name.lower(): value for name, value in response.headers.items()}
    try:
        return _Response(response.status_code, lower, json.loads(response.content))
    except (ValueError, RecursionError):
        return _Response(response.status_code, lower, None)
