"""GitHub's REST API under one credential: one call is one request, and ends in checked values or in one of our errors.

PyGithub does authentication, addresses and rate limits; its objects are not used, because they make hidden requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

import github
import requests
import urllib3
from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass
from pydantic import TypeAdapter, ValidationError
from requests.adapters import HTTPAdapter

from hls_handler import __version__
from hls_handler.clients.rate import RateLimit
from hls_handler.clients.refusals import redirected, refused, unexpected, unreachable
from hls_handler.clients.watched import watched_pools
from hls_handler.clients.way import find_way
from hls_handler.clients.wording import hush, usable_secret
from hls_handler.errors import DependencyDown, Permanent, SettingsError
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.model import Github as GithubSettings

T = TypeVar("T")

PAGE = 100
"""Items a page, the most that GitHub gives."""

_LAST_SECOND = 32_503_680_000  # of the year 2999


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]  # names in lower case
    data: Any  # parsed JSON; None for an empty body


class _NotFinalError(Exception):
    """An answer that PyGithub must not see."""

    def __init__(self, status: int, location: str | None) -> None:
        super().__init__(status)
        self.status = status
        self.location = location


class _OneExchange(HTTPAdapter):
    """Sends a request once and takes the first answer.

    PyGithub itself would follow a 301 without the query of its address, take the 307 that answers a write to a renamed
    repository for success, and repeat a request answered with 202 every two seconds without end.
    """

    def __init__(self, timeout_s: float) -> None:
        self.before_bytes: Callable[[], None] = _nothing
        """Asked right before bytes of a request leave; what it raises stops them."""
        self._pools = watched_pools(lambda: self.before_bytes())
        super().__init__(max_retries=0)
        self._timeout_s = timeout_s

    def init_poolmanager(self, *given: Any, **options: Any) -> None:
        super().init_poolmanager(*given, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *given: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*given, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def send(self, request: requests.PreparedRequest, *given: Any, **options: Any) -> requests.Response:
        response = super().send(request, *given, **{**options, "timeout": self._timeout_s})
        if response.status_code == 202 or 300 <= response.status_code < 400:
            response.close()
            raise _NotFinalError(response.status_code, response.headers.get("location"))
        return response


def _nothing() -> None:
    pass


class Api:
    """Not thread-safe: one per worker thread.

    All methods raise `Permanent`, `Retryable` or `DependencyDown` as `refusals` says. `path` begins with a slash and is
    already quoted.
    """

    def __init__(
        self,
        settings: GithubSettings,
        *,
        observe: Callable[[RateLimit], None],
        now: Callable[[], datetime],
        timeout_s: float = 15.0,
    ) -> None:
        """`observe` is called once after every request, answered or not; `now` gives aware UTC."""
        self.base_url, self.now, self.timeout_s = settings.base_url, now, timeout_s
        self._observe = observe
        self._token = settings.token.get_secret_value()
        place = _place(settings.base_url)
        if not usable_secret(self._token):
            raise SettingsError(["github.token: a token has no spaces, line breaks or special characters in it"])
        client = github.Github(
            auth=github.Auth.Token(self._token),
            base_url=settings.base_url,
            user_agent=f"hls/{__version__}",
            per_page=PAGE,
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,
            timeout=15,
            lazy=True,
            api_version="2022-11-28",
        )
        self._requester = client.requester
        kind = HTTPSRequestsConnectionClass if place.scheme == "https" else HTTPRequestsConnectionClass
        self.way = find_way(settings.base_url)
        self._connection = kind(place.hostname or "", place.port, verify=self.way.authorities)
        self.way.lead(self._connection.session)
        self._exchanges = _OneExchange(timeout_s)
        self._connection.session.mount(f"{place.scheme}://", self._exchanges)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, shape: TypeAdapter[T]) -> T:
        return self.get_with_headers(path, shape)[0]

    def get_with_headers(self, path: str, shape: TypeAdapter[T]) -> tuple[T, Mapping[str, str]]:
        reply = self._send("GET", path)
        return _fit(f"GET {path}", shape, reply.data), reply.headers

    def find(self, path: str, shape: TypeAdapter[T], *, query: Mapping[str, str] | None = None) -> T | None:
        """What is there, or None where GitHub says that there is nothing (404, 410)."""
        reply = self._send("GET", path, parameters=dict(query) if query else None, expected=(404, 410))
        return None if reply.status in (404, 410) else _fit(f"GET {path}", shape, reply.data)

    def find_address(self, path: str) -> str | None:
        """Where GitHub sends one who asks for a file, or None where it says that there is none (404, 410).

        The address is a secret: whoever has it may read the file.
        """
        call = f"GET {path}"
        try:
            reply = self._exchange("GET", path, expected=(404, 410))
        except _NotFinalError as exc:
            if exc.status != 302:
                self._not_final(call, exc)
            if exc.location:
                return exc.location
            raise unexpected(call, "302 without an address") from None
        if reply.status in (404, 410):
            return None
        raise unexpected(call, f"{reply.status} where it should have pointed to a file")

    def pages(
        self,
        path: str,
        shape: TypeAdapter[tuple[T, ...]],
        *,
        most: int,
        inside: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[T, ...]]:
        """A list page by page, one request each, `most` pages at most. `inside`: the key that GitHub wraps it in."""
        for number in range(1, most + 1):
            items, headers = self.page(path, shape, number, inside=inside, query=query)
            yield items
            links = headers.get("link")
            if 'rel="next"' not in links if links else len(items) < PAGE:
                return

    def page(
        self,
        path: str,
        shape: TypeAdapter[tuple[T, ...]],
        number: int,
        *,
        inside: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> tuple[tuple[T, ...], Mapping[str, str]]:
        """One page of a list, counted from 1, and the headers."""
        reply = self._send("GET", path, parameters={**(query or {}), "per_page": PAGE, "page": number})
        items = reply.data
        if inside:
            items = items.get(inside) if isinstance(items, dict) else None
        return _fit(f"GET {path}", shape, items), reply.headers

    def write(
        self,
        verb: Literal["POST", "PATCH", "DELETE"],
        path: str,
        body: Mapping[str, object] | None,
        *,
        still_ours: Callable[[], None],
        expected: tuple[int, ...] = (),
    ) -> Reply:
        """Change something. Only `writes` calls this (SECURITY.md rule 12). `expected` refusals are returned.

        `still_ours` is called right before bytes leave, over a connection that stands; what it raises stops them.
        Of what was sent and not answered by GitHub's own word (a gateway's 502 is none), the error says that it may
        still be carried out.
        """
        sent = False

        def before_bytes() -> None:
            nonlocal sent
            still_ours()
            sent = True

        self._exchanges.before_bytes = before_bytes
        try:
            return self._send(verb, path, body=body, expected=expected)
        except DependencyDown as exc:
            exc.maybe_done = exc.maybe_done and sent
            raise
        finally:
            self._exchanges.before_bytes = _nothing

    def _send(
        self,
        verb: str,
        path: str,
        *,
        parameters: dict[str, Any] | None = None,
        body: Mapping[str, object] | None = None,
        expected: tuple[int, ...] = (),
    ) -> Reply:
        try:
            return self._exchange(verb, path, parameters=parameters, body=body, expected=expected)
        except _NotFinalError as exc:
            self._not_final(f"{verb} {path}", exc)

    def _exchange(
        self,
        verb: str,
        path: str,
        *,
        parameters: dict[str, Any] | None = None,
        body: Mapping[str, object] | None = None,
        expected: tuple[int, ...] = (),
    ) -> Reply:
        """Raises `_NotFinalError` for redirects, and our errors for all else that is not an answer."""
        call = f"{verb} {path}"
        try:
            status, headers, text = self._requester.requestJson(
                verb, path, parameters, input=body, cnx=self._connection
            )
        except (OSError, urllib3.exceptions.HTTPError) as exc:
            raise unreachable(call, exc, self.now(), self.way) from None  # its text may quote our headers
        except (ValueError, ArithmeticError):
            raise unexpected(call, "a header that cannot be read") from None
        finally:
            self._observe(self._rate_limit())
        data = _json(text)
        message = data.get("message") if isinstance(data, dict) else None
        told = hush(message, self._token) if isinstance(message, str) else None
        if status >= 400 and (status not in expected or told is None):
            raise refused(call, status, headers, told, self.now())
        if data is None and text:
            raise unexpected(call, f"{status} with a body that is not JSON")
        return Reply(status, headers, data)

    def _not_final(self, call: str, exc: _NotFinalError) -> NoReturn:
        if exc.status == 202:
            raise unexpected(call, "202, not ready yet") from None
        raise redirected(call, exc.status, exc.location, self.base_url) from None

    def _rate_limit(self) -> RateLimit:
        remaining, limit = self._requester.rate_limiting
        reset = self._requester.rate_limiting_resettime
        if limit < 0:
            return RateLimit(None, None, None)
        return RateLimit(limit, remaining, datetime.fromtimestamp(reset, UTC) if 0 < reset < _LAST_SECOND else None)


def repository_path(repository: str) -> str:
    """ "/repos/owner/repo". Raises `Permanent` for a name that would lead elsewhere."""
    if not REPOSITORY_NAME.fullmatch(repository):
        raise Permanent(f"{repository} is not the name of a repository: owner/repo is")
    return f"/repos/{repository}"


def _place(base_url: str) -> Any:
    """The parts of an address that can be called. Raises `SettingsError`."""
    try:
        place = urlsplit(base_url)
        if place.scheme in ("http", "https") and place.hostname and (place.port is None or place.port > 0):
            return place
    except ValueError:
        pass
    raise SettingsError([f"github.base_url: {base_url} is not an address such as https://api.github.com"])


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _fit(call: str, shape: TypeAdapter[T], data: object) -> T:
    try:
        return shape.validate_python(data)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise unexpected(call, f"{where}: {first['msg']}") from None
