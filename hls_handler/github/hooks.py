"""GitHub's records of webhooks: the hooks of a repository or organisation, and the deliveries of
each hook.

https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import AliasPath, BaseModel, Field

from hls_handler.deliveries import DeliveryAttempt
from hls_handler.errors import PayloadError
from hls_handler.github.api import PAGE_SIZE, GithubApi, rest

if TYPE_CHECKING:
    from github import Github
    from github.Organization import Organization
    from github.Repository import Repository

MAX_HOOK_PAGES = 3

WEBHOOKS_REMEDY = (
    "give the token the permission `Webhooks: read` (a classic token: the scope read:repo_hook)"
    " with an account that administers the repository. Without it, `hls listen` cannot work; for"
    " `hls serve`, `catch_up.enabled: false` switches catch-up off"
)


class Hook(BaseModel, frozen=True):
    id: int
    active: bool = True
    events: frozenset[str] = frozenset({"*"})  # "*" is every event
    url: str = Field("", validation_alias=AliasPath("config", "url"))


class _WireDetails(BaseModel):
    payload: Any = Field(validation_alias=AliasPath("request", "payload"))


def find_owner(client: Github, path: str) -> Repository | Organization:
    """Return the object that has the hooks of "/repos/owner/repo" or "/orgs/owner"; no request."""
    name = path.removeprefix("/repos/")
    if name != path:
        return client.get_repo(name)
    return client.get_organization(path.removeprefix("/orgs/"))


@dataclass(frozen=True, slots=True)
class AttemptPage:
    attempts: tuple[DeliveryAttempt, ...]  # newest first
    next_cursor: str | None = None  # None: this is the last page


class GithubHooks:
    """The hooks that the credential of `api` may list, and the deliveries of each.

    Deliveries are read by path, because PyGithub has no method for those of an App's webhook, and
    none that begins at a cursor.
    """

    def __init__(self, api: GithubApi) -> None:
        self._api = api
        self.base_url = api.base_url

    def close(self) -> None:
        self._api.close()

    def hooks(self, path: str) -> tuple[Hook, ...]:
        """Return the hooks of "/repos/owner/repo" or "/orgs/owner". Raises `Permanent` without the
        permission.
        """
        hooks = self._api.items(
            lambda it: find_owner(it, path).get_hooks(), Hook, max_pages=MAX_HOOK_PAGES
        )
        return tuple(hooks)

    def page(self, path: str, cursor: str | None = None) -> AttemptPage:
        """Return the newest attempts, or those at `cursor`.

        `path` is that of the hook: "/repos/owner/repo/hooks/5", "/orgs/owner/hooks/5" or
        "/app/hook".
        """
        query = {"per_page": str(PAGE_SIZE)}
        if cursor is not None:
            query["cursor"] = cursor
        request = rest("GET", f"{path}/deliveries", tuple[DeliveryAttempt, ...], query=query)
        response = self._api.send(request)
        following = response.links.get("next", {})
        return AttemptPage(response.value, following.get("cursor"))

    def payload(self, path: str, attempt_id: int) -> bytes:
        """Return the payload as JSON, which is not validated. Raises `PayloadError` if GitHub no
        longer keeps it.
        """
        request = rest("GET", f"{path}/deliveries/{attempt_id}", _WireDetails)
        details = self._api.find(request)
        if details is None or details.payload is None:
            raise PayloadError("GitHub no longer keeps the payload")
        return json.dumps(details.payload).encode()
