"""GitHub's API: each call sends one request and returns validated values or raises an HLS error.

A request is sent twice only if its credential was outdated, so that GitHub has executed nothing.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter, ValidationError

from hls_handler import __version__
from hls_handler.clients.github_errors import (
    ANONYMOUS_REMEDY,
    GRAPHQL_CALL,
    GRAPHQL_PATH,
    TOKEN_REMEDY,
    rejects_account,
    translate_exception,
    translate_graphql_errors,
    translate_redirect,
    translate_status,
    unexpected_response,
)
from hls_handler.clients.transport import find_proxy_settings, rate_limit_reset, redact_secret
from hls_handler.errors import DependencyDown, Permanent, StepFailed
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.model import Github as GithubSettings
from hls_handler.tracing import annotate, span

T = TypeVar("T")

KEEPALIVE_S = 60.0  # for which an idle connection is kept
PAGE_SIZE = 100  # items per page, GitHub's maximum
HEADERS = {
    "Accept-Encoding": "gzip, deflate",
    "Content-Type": "application/json",
    "User-Agent": f"hls/{__version__}",
    "X-GitHub-Api-Version": "2022-11-28",
}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """GitHub's hourly quota, as last reported. A field is None if GitHub has not reported it."""

    limit: int | None = None  # requests an hour
    remaining: int | None = None
    reset_at: datetime | None = None  # aware UTC


class RateLimitMonitor:
    """Collects the quota and the request count of all workers' clients. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self.rate_limit = RateLimit()

    def observe(self, rate_limit: RateLimit) -> None:
        """Count one request, and store its `rate_limit` if GitHub reported the limit."""
        with self._lock:
            self._requests += 1
            if rate_limit.remaining is not None:
                self.rate_limit = rate_limit

    def take_request_count(self) -> int:
        """Return the number of requests since the previous call of this method."""
        with self._lock:
            new, self._requests = self._requests, 0
            return new


def ignore(_rate_limit: RateLimit) -> None:
    """Do nothing with the quota, for the clients of commands."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case
    data: Any  # parsed JSON; None for an empty body; the bytes themselves if they are not parsed


@dataclass(frozen=True, slots=True)
class _Request:
    verb: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, object] | None = None
    expected: tuple[int, ...] = ()  # statuses of 300 or more that are no errors
    is_parsed: bool = True
    secret: str = ""  # a part of the path that messages do not show
    before_send: Callable[[], None] | None = None
    """Called before headers and body are sent on the open connection, because opening it can take many seconds. An
    exception stops the request."""

    @property
    def call(self) -> str:
        path = self.path.replace(self.secret, "CODE") if self.secret else self.path
        return f"{self.verb} {path}"

    @property
    def template(self) -> str:
        """The call without names, which people choose: "GET /repos/{}/{}/issues/{}"."""
        parts = self.call.partition("?")[0].split("/")
        return "/".join(part if index == 0 or _PATH_WORD.fullmatch(part) else "{}" for index, part in enumerate(parts))


@dataclass(frozen=True, slots=True)
class WriteGuard:
    """Two functions that are called before every write to GitHub. If one of them raises, the write is stopped."""

    begin_write: Callable[[], None]  # waits for the rate limit and records a pending write; called before connecting
    check_lease: Callable[[], None]  # called right before bytes are sent: the lease may expire during the wait


class Credential:
    """Authenticates the requests of a client: here, a token that never changes. Thread-safe."""

    def __init__(self, token: str, *, remedy: str = TOKEN_REMEDY) -> None:
        """`remedy` is the operator's next step after a 401."""
        self.header, self.remedy = f"token {token}", remedy

    def authorization(self) -> str:
        """Return the header of a request, such as "token ghs_..."; may send a request to get a token, and may raise."""
        return self.header

    def handle_error(self, _authorization: str, _response: Response, _error: StepFailed) -> bool:
        """React to a status of 400 or more. Return True to send the request again with another header. May raise."""
        return False


class Anonymous(Credential):
    """No token. GitHub then shows public repositories, for 60 requests an hour from each IP address, and no GraphQL."""

    def __init__(self) -> None:
        self.header, self.remedy = "", ANONYMOUS_REMEDY

    def handle_error(self, _authorization: str, response: Response, error: StepFailed) -> bool:
        if isinstance(error, DependencyDown) and response.status in (403, 429):
            sentence = f"{error} (without a token, GitHub accepts 60 requests an hour)"
            raise DependencyDown(sentence, dependency="github", remedy=self.remedy, not_before=error.not_before)
        if response.status == 404 and isinstance(error, Permanent):
            raise Permanent(f"{error}; for a private repository, {self.remedy}")
        return False


class _Connection:
    """Sends each request once. Clients with different credentials share it."""

    def __init__(self, transport: httpx2.BaseTransport, timeout_s: float) -> None:
        self._transport, self._timeout = transport, httpx2.Timeout(timeout_s).as_dict()
        self.requests_sent = 0

    def send(self, request: _Request, url: str, headers: Mapping[str, str]) -> httpx2.Response:
        self.requests_sent += 1
        content = None if request.body is None else json.dumps(request.body)
        extensions: dict[str, object] = {"timeout": self._timeout}
        if request.before_send is not None:
            extensions["trace"] = partial(_call_before_send, request.before_send)
        sent = httpx2.Request(
            request.verb, url, params=request.query or None, headers=headers, content=content, extensions=extensions
        )
        response = self._transport.handle_request(sent)
        response.read()
        return response

    def close(self) -> None:
        self._transport.close()


def _call_before_send(before_send: Callable[[], None], event: str, _info: object) -> None:
    if event in ("http11.send_request_headers.started", "http11.send_request_body.started"):
        before_send()


class GithubApi:
    """Client for GitHub's API with one connection. Not thread-safe: use one per worker thread.

    Failed requests raise `Permanent`, `Retryable` or `DependencyDown`. A `path` begins with a slash and is already
    percent-encoded.
    """

    def __init__(
        self,
        settings: GithubSettings,
        *,
        observe: Callable[[RateLimit], None] = ignore,
        now: Callable[[], datetime],
        timeout_s: float = 15.0,
        credential: Credential | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """`observe` is called after every request. `now` returns aware UTC. `credential` is by default the first token.

        `transport` is by default a connection. Raises `SettingsError` if proxy or certificate settings cannot be used.
        """
        self.base_url, self.now, self.timeout_s = settings.base_url, now, timeout_s
        self._observe = observe
        self._credential = credential or Credential(settings.access_tokens[0])
        self.proxy_settings = find_proxy_settings(settings.base_url)
        limits = httpx2.Limits(keepalive_expiry=KEEPALIVE_S)
        self._connection = _Connection(transport or self.proxy_settings.new_transport(limits=limits), timeout_s)

    @property
    def requests_sent(self) -> int:
        """Number of requests by this client and by those that `with_credential` returned."""
        return self._connection.requests_sent

    def close(self) -> None:
        self._connection.close()

    def with_credential(self, credential: Credential) -> GithubApi:
        """Return a client that shares this one's connection."""
        other = copy.copy(self)
        other._credential = credential
        return other

    def token(self) -> str:
        """Return the token of the next request, for git; "" if there is none. Raises as `Credential.authorization`."""
        return self._credential.authorization().partition(" ")[2]

    def get(self, path: str, shape: type[T]) -> T:
        return self.get_with_headers(path, shape)[0]

    def get_with_headers(
        self, path: str, shape: type[T], *, query: Mapping[str, str] | None = None
    ) -> tuple[T, Mapping[str, str]]:
        response = self._send(_Request("GET", path, query or {}))
        return validate(f"GET {path}", shape, response.data), response.headers

    def find(self, path: str, shape: type[T], *, query: Mapping[str, str] | None = None) -> T | None:
        """Return the validated response; None if the resource does not exist (404, 410)."""
        response = self._send(_Request("GET", path, query or {}, expected=(404, 410)))
        return None if response.status in (404, 410) else validate(f"GET {path}", shape, response.data)

    def find_content(self, path: str) -> bytes | None:
        """Return the body of the response, which is not parsed; None if the resource does not exist (404, 410)."""
        response = self._send(_Request("GET", path, expected=(404, 410), is_parsed=False))
        return None if response.status in (404, 410) else bytes(response.data)

    def find_redirect_url(self, path: str) -> str | None:
        """Return the URL that GitHub redirects a download to; None if the file does not exist (404, 410).

        The URL is a secret: it gives access to the file without a token.
        """
        response = self._send(_Request("GET", path, expected=(302, 404, 410)))
        if response.status in (404, 410):
            return None
        location = response.headers.get("location")
        if response.status == 302 and location:
            return location
        raise unexpected_response(f"GET {path}", f"{response.status} without a Location header")

    def items(
        self,
        path: str,
        shape: type[tuple[T, ...]],
        *,
        max_pages: int,
        items_key: str | None = None,
        query: Mapping[str, str] | None = None,
        per_page: int = PAGE_SIZE,
    ) -> Iterator[T]:
        """Yield the items of a list, one request for each page. In an object, the list has the key `items_key`."""
        for number in range(1, max_pages + 1):
            items, headers = self.page(path, shape, number, items_key=items_key, query=query, per_page=per_page)
            yield from items
            links = headers.get("link")
            if 'rel="next"' not in links if links else len(items) < per_page:
                return

    def page(
        self,
        path: str,
        shape: type[tuple[T, ...]],
        number: int,
        *,
        items_key: str | None = None,
        query: Mapping[str, str] | None = None,
        per_page: int = PAGE_SIZE,
    ) -> tuple[tuple[T, ...], Mapping[str, str]]:
        """Return the page `number` (from 1) of a list, and the response headers."""
        response = self._send(_Request("GET", path, {**(query or {}), "per_page": per_page, "page": number}))
        items = response.data
        if items_key:
            items = items.get(items_key) if isinstance(items, dict) else None
        return validate(f"GET {path}", shape, items), response.headers

    def write(
        self,
        verb: Literal["POST", "PATCH", "DELETE"],
        path: str,
        body: Mapping[str, object] | None,
        *,
        guard: WriteGuard,
        expected: tuple[int, ...] = (),
    ) -> Response:
        """Send a write and return the response. Raises for a status of 400 or more that is not in `expected`.

        Only `clients/writer.py`, `comments.py`, `reviews.py`, `checks.py` and, for `hls init`, `webhook_setup.py` call
        this. A review has the event COMMENT, and a reply is in a review thread that HLS opened (SECURITY.md rule 12).

        The error's `may_have_succeeded` is True if the request was sent and GitHub did not respond. A status of 500 or
        more counts as no response, because a gateway may have sent that status.
        """
        guard.begin_write()
        sent = False

        def before_send() -> None:
            nonlocal sent
            guard.check_lease()
            sent = True

        try:
            return self._send(_Request(verb, path, body=body, expected=expected, before_send=before_send))
        except DependencyDown as exc:
            exc.may_have_succeeded = exc.may_have_succeeded and sent
            raise

    def query(self, query: str, repository: str, variables: Mapping[str, object], shape: type[T]) -> T:
        """Send a GraphQL query, which only reads, and return its validated `data`. "owner/repo" is two variables."""
        owner, _, name = repository.partition("/")
        variables = {"owner": owner, "name": name, **variables}
        response = self._send(_Request("POST", GRAPHQL_PATH, body={"query": query, "variables": variables}))
        found = response.data.get("data") if isinstance(response.data, dict) else None
        return validate(GRAPHQL_CALL, shape, found)

    def request_token(self, installation_id: int, body: Mapping[str, object]) -> Response:
        """Request a token of an installation. Returns the response also for 403, 404 and 422."""
        path = f"/app/installations/{installation_id}/access_tokens"
        return self._send(_Request("POST", path, body=body, expected=(403, 404, 422)))

    def convert_code(self, code: str) -> Response:
        """Exchange the code of a new App for the App. Returns the response also for 404 and 422.

        https://docs.github.com/en/rest/apps/apps#create-a-github-app-from-a-manifest
        """
        secret = quote(code, safe="")
        return self._send(_Request("POST", f"/app-manifests/{secret}/conversions", expected=(404, 422), secret=secret))

    def _send(self, request: _Request) -> Response:
        is_repeated = False
        while True:
            authorization = self._credential.authorization()
            with span(request.template, {"peer.service": "github", "http.request.method": request.verb}, kind="CLIENT"):
                response, error = self._exchange(request, authorization)
                annotate({"http.response.status_code": response.status}, failed=error is not None)
            if error is None:
                return response
            if is_repeated or not self._credential.handle_error(authorization, response, error):
                raise error
            is_repeated = True

    def _exchange(self, request: _Request, authorization: str) -> tuple[Response, StepFailed | None]:
        call, rate_limit = request.call, RateLimit()
        headers = {**HEADERS, "Authorization": authorization} if authorization else HEADERS
        # Of a GitHub Enterprise Server, the REST API is at /api/v3, and GraphQL at /api/graphql.
        base_url = self.base_url.removesuffix("/v3") if call == GRAPHQL_CALL else self.base_url
        try:
            received = self._connection.send(request, f"{base_url}{request.path}", headers)
            if call != GRAPHQL_CALL:  # which has a quota of its own
                rate_limit = _read_rate_limit(received.headers)
        except httpx2.HTTPError as exc:
            # `from None`, because the exception's text may contain the request's headers, and with them the token
            raise translate_exception(call, exc, self.now(), self.proxy_settings) from None
        finally:
            self._observe(rate_limit)
        status, content = received.status_code, received.content
        data = _parse_json(content) if request.is_parsed or status >= 400 else content
        response = Response(status, received.headers, data)
        if received.is_redirect:
            if status in request.expected:
                return response, None
            raise translate_redirect(call, status, received.headers.get("location"), self.base_url)
        if status == 202 and status not in request.expected:
            raise unexpected_response(call, "202 (not ready yet)")
        message = data.get("message") if isinstance(data, dict) else None
        if status == 422 and isinstance(message, str) and (details := describe_errors(data)) != message:
            message = f"{message}: {details}"
        secrets = (request.secret, authorization.partition(" ")[2])
        error_message = redact_secret(message, *secrets) if isinstance(message, str) else None
        is_expected = status in request.expected and error_message is not None and not rejects_account(error_message)
        if status >= 400 and not is_expected:
            remedy = self._credential.remedy
            error = translate_status(call, status, received.headers, error_message, self.now(), token_remedy=remedy)
            return response, error
        if data is None and content:
            raise unexpected_response(call, f"{status} with a body that is not JSON")
        if call == GRAPHQL_CALL and isinstance(data, dict) and data.get("errors"):
            return response, translate_graphql_errors(data["errors"], received.headers, self.now(), secret=secrets[1])
        return response, None


def _read_rate_limit(headers: Mapping[str, str]) -> RateLimit:
    try:
        limit, remaining = int(headers["x-ratelimit-limit"]), int(headers["x-ratelimit-remaining"])
    except (KeyError, ValueError):
        return RateLimit()
    return RateLimit(limit, remaining, rate_limit_reset(headers))


_PATH_WORD = re.compile(
    "|access_tokens|actions|app|attempts|check-runs|collaborators|comments|commits|compare|config|contents|deliveries|"
    "files|graphql|hooks?|installations?|issues|jobs|labels|logs|permission|pings|pulls|reactions|replies|repos|repositories|"
    "reviews|runs|statuses|users?"
)


def repository_path(repository: str) -> str:
    """Return "/repos/owner/repo". Raises `Permanent` for an invalid name, which could address another resource."""
    if not REPOSITORY_NAME.fullmatch(repository):
        raise Permanent(f"{repository} is not a repository name; expected owner/repo")
    return f"/repos/{repository}"


def _parse_json(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except (ValueError, RecursionError):
        return None


def describe_errors(data: Any) -> str:
    """Return what GitHub says in a 422: "name: is too long; color: invalid". The list `errors` may have sentences."""
    errors = data.get("errors")
    parts = [
        ": ".join(str(error[key]) for key in ("field", "message" if error.get("message") else "code") if error.get(key))
        if isinstance(error, dict)
        else str(error)
        for error in (errors if isinstance(errors, list) else ())
    ]
    return "; ".join(filter(None, parts)) or str(data.get("message"))


_cached_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter[Any])


def validate(call: str, shape: type[T], data: object) -> T:
    """Parse the response to `call` ("GET /user"). Raises `DependencyDown` if a field is missing or invalid."""
    adapter: TypeAdapter[T] = _cached_adapter(shape)
    try:
        return adapter.validate_python(data)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the response"
        raise unexpected_response(call, f"{where}: {first['msg']}") from None
