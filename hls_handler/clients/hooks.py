"""GitHub's records of webhooks: the hooks of a repository or organisation, and the deliveries of each hook.

https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from hls_handler.clients.api import PAGE_SIZE, GithubApi
from hls_handler.deliveries import DeliveryAttempt

MAX_HOOK_PAGES = 3

_NEXT_CURSOR = re.compile(r'<[^>]*[?&]cursor=([^&>]+)[^>]*>;\s*rel="next"')


class _WireConfig(BaseModel):
    url: str = ""


class Hook(BaseModel, frozen=True):
    id: int
    active: bool = True
    config: _WireConfig = _WireConfig()

    @property
    def url(self) -> str:
        return self.config.url


class _WireAttempt(BaseModel):
    id: int
    guid: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]
    delivered_at: AwareDatetime
    status_code: int
    event: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    action: str | None = None
    repository_id: int | None = None


class _WireRequest(BaseModel):
    payload: dict[str, Any] | None


class _WireDetails(BaseModel):
    request: _WireRequest


_HOOKS = TypeAdapter(tuple[Hook, ...])
_ATTEMPTS = TypeAdapter(tuple[_WireAttempt, ...])
_DETAILS = TypeAdapter(_WireDetails)


class HookDeliveries:
    """The deliveries of the hook at `path`: "/repos/owner/repo/hooks/5", "/orgs/owner/hooks/5" or "/app/hook"."""

    def __init__(self, api: GithubApi, path: str) -> None:
        self._api, self._path = api, f"{path}/deliveries"

    def page(self, cursor: str | None) -> tuple[tuple[DeliveryAttempt, ...], str | None]:
        """Return a page of attempts, newest first, and the cursor of the next page; None after the last page."""
        query = {"per_page": str(PAGE_SIZE)} | ({"cursor": cursor} if cursor else {})
        found, headers = self._api.get_with_headers(self._path, _ATTEMPTS, query=query)
        following = _NEXT_CURSOR.search(headers.get("link", ""))
        return tuple(DeliveryAttempt(**dict(one)) for one in found), unquote(following[1]) if following else None

    def find_payload(self, attempt_id: int) -> dict[str, Any] | None:
        """Return the payload as parsed JSON; None if GitHub does not keep it any more."""
        found = self._api.find(f"{self._path}/{attempt_id}", _DETAILS)
        return found.request.payload if found else None


class GithubHooks:
    """The hooks that the credential of `api` may list. A `path` is "/repos/owner/repo" or "/orgs/owner"."""

    def __init__(self, api: GithubApi) -> None:
        self._api = api
        self.base_url = api.base_url

    def close(self) -> None:
        self._api.close()

    def hooks(self, path: str) -> tuple[Hook, ...]:
        """Raises `Permanent` without the permission."""
        pages = self._api.pages(f"{path}/hooks", _HOOKS, max_pages=MAX_HOOK_PAGES)
        return tuple(hook for page in pages for hook in page)

    def deliveries(self, path: str, hook_id: int) -> HookDeliveries:
        return HookDeliveries(self._api, f"{path}/hooks/{hook_id}")
