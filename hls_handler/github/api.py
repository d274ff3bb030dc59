"""GitHub's API: each call sends one request and returns validated values or raises an HLS error.

A request is sent twice only if its credential was outdated, so that GitHub has executed nothing.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from hls_handler import __version__
from hls_handler.errors import DependencyDown, Permanent, StepFailed
from hls_handler.events import REPOSITORY_NAME
from hls_handler.github.errors import (
    ANONYMOUS_REMEDY,
    GRAPHQL_CALL,
    TOKEN_REMEDY,
    NoResponse,
    rejects_account,
    translate_exception,
    translate_graphql_errors,
    translate_redirect,
    translate_status,
    unexpected_response,
)
from hls_handler.settings.model import Github as GithubSettings
from hls_handler.transport import find_proxy_settings, rate_limit_reset, redact_secret
from hls_handler.wording import describe_invalid

if TYPE_CHECKING:
    from github import Github
    from github.Repository import Repository

    from hls_handler.github.connection import Transport

T = TypeVar("T")

PAGE_SIZE = 100  # items per page, GitHub's maximum


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
            new = self._requests
            self._requests = 0
            return new


def ignore(_rate_limit: RateLimit) -> None:
    """Do nothing with the quota, for the clients of commands."""


@dataclass(frozen=True, slots=True)
class Response:
    call: str  # "GET /repos/o/r/issues/7"
    status: int
    headers: Mapping[str, str]  # names in lower case
    data: Any  # parsed JSON; None for an empty body; the bytes themselves if they are not parsed

    def parse(self, shape: type[T]) -> T:
        return validate(self.call, shape, self.data)

    def get(self, key: str) -> Any:
        """Return a value of the JSON object; None if it is missing, or the data is no object."""
        if isinstance(self.data, dict):
            return self.data.get(key)
        return None

    @property
    def message(self) -> str | None:
        """The reason that GitHub gives for an error; None if the body is not GitHub's."""
        message = self.get("message")
        if isinstance(message, str):
            return message
        return None


def _do_nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class _Request:
    perform: Callable[[Github], object]  # calls a method of PyGithub that sends one request
    expected: tuple[int, ...] = ()  # statuses of 300 or more that are no errors
    is_parsed: bool = True
    secret: str = ""  # a part of the path that messages do not show
    before_send: Callable[[], None] = _do_nothing
    """Called before headers and body are sent on the open connection, because opening it can take
    many seconds. An exception stops the request.
    """


def _rest(
    verb: str, path: str, query: Mapping[str, Any] | None = None, body: object = None
) -> Callable[[Github], object]:
    """Return the function that sends a request which PyGithub's objects cannot send, or not as one
    request.
    """
    return lambda client: client.requester.requestJson(verb, path, dict(query or {}), None, body)


@dataclass(frozen=True, slots=True)
class WriteGuard:
    """Two functions that are called before every write to GitHub. If one of them raises, the write
    is stopped.
    """

    # waits for the rate limit and records a pending write; called before connecting
    begin_write: Callable[[], None]
    # called right before bytes are sent: the lease may expire during the wait
    check_lease: Callable[[], None]


class Credential:
    """Authenticates the requests of a client: here, a token that never changes. Thread-safe."""

    def __init__(self, token: str, *, remedy: str = TOKEN_REMEDY) -> None:
        """`remedy` is the operator's next step after a 401."""
        self.header = f"token {token}"
        self.remedy = remedy

    def authorization(self) -> str:
        """Return the header of a request, such as "token ghs_..."; may send a request to get a
        token, and may raise.
        """
        return self.header

    def handle_error(self, _authorization: str, _response: Response, _error: StepFailed) -> bool:
        """React to a status of 400 or more. Return True to send the request again with another
        header. May raise.
        """
        return False


class Anonymous(Credential):
    """No token. GitHub then shows public repositories, for 60 requests an hour from each IP
    address, and no GraphQL.
    """

    def __init__(self) -> None:
        self.header = ""
        self.remedy = ANONYMOUS_REMEDY

    def handle_error(self, _authorization: str, response: Response, error: StepFailed) -> bool:
        if isinstance(error, DependencyDown) and response.status in (403, 429):
            sentence = f"{error} (without a token, GitHub accepts 60 requests an hour)"
            raise DependencyDown(
                sentence, dependency="github", remedy=self.remedy, not_before=error.not_before
            )
        if response.status == 404 and isinstance(error, Permanent):
            raise Permanent(f"{error}; for a private repository, {self.remedy}")
        return False


class GithubApi:
    """Client for GitHub's API with one connection. Not thread-safe: use one per worker thread.

    Failed requests raise `Permanent`, `Retryable` or `DependencyDown`. A `path` begins with a slash
    and is already percent-encoded.
    """

    def __init__(
        self,
        settings: GithubSettings,
        *,
        observe: Callable[[RateLimit], None] = ignore,
        now: Callable[[], datetime],
        timeout_s: float = 15.0,
        credential: Credential | None = None,
        transport: Transport | None = None,
    ) -> None:
        """`observe` is called after every request. `now` returns aware UTC. `credential` is by
        default the first token.

        `transport` is by default a connection. Raises `SettingsError` if proxy or certificate
        settings cannot be used.
        """
        from hls_handler.github import connection  # imports PyGithub, which takes half a second

        self.base_url = settings.base_url
        self.now = now
        self.timeout_s = timeout_s
        self.proxy_settings = find_proxy_settings(settings.base_url)
        self._observe = observe
        self._credential = credential or Credential(settings.access_tokens[0])
        self._connection = connection.Connection(
            settings.base_url,
            f"hls/{__version__}",
            transport
            or connection.HttpTransport(
                settings.base_url, self.proxy_settings, timeout_s=timeout_s
            ),
        )

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
        """Return the token of the next request, for git; "" if there is none. Raises as
        `Credential.authorization`.
        """
        return self._credential.authorization().partition(" ")[2]

    def get(self, path: str, shape: type[T]) -> T:
        return self.fetch(path).parse(shape)

    def fetch(self, path: str, query: Mapping[str, Any] | None = None) -> Response:
        return self._send(_Request(_rest("GET", path, query)))

    def find(
        self, path: str, shape: type[T], *, query: Mapping[str, str] | None = None
    ) -> T | None:
        """Return the validated response; None if the resource does not exist (404, 410)."""
        response = self._send(_Request(_rest("GET", path, query), expected=(404, 410)))
        if response.status in (404, 410):
            return None
        return response.parse(shape)

    def find_content(self, path: str) -> bytes | None:
        """Return the body of the response, which is not parsed; None if the resource does not exist
        (404, 410).
        """
        response = self._send(_Request(_rest("GET", path), expected=(404, 410), is_parsed=False))
        if response.status in (404, 410):
            return None
        return bytes(response.data)

    def find_redirect_url(self, path: str) -> str | None:
        """Return the URL that GitHub redirects a download to; None if the file does not exist (404,
        410).

        The URL is a secret: it gives access to the file without a token.
        """
        response = self._send(_Request(_rest("GET", path), expected=(302, 404, 410)))
        if response.status in (404, 410):
            return None
        location = response.headers.get("location")
        if response.status == 302 and location:
            return location
        raise unexpected_response(response.call, f"{response.status} without a Location header")

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
        """Yield the items of a list, one request for each page. In an object, the list has the key
        `items_key`.
        """
        for number in range(1, max_pages + 1):
            response = self.fetch_page(path, number, query=query, per_page=per_page)
            found = response.data
            if items_key:
                found = response.get(items_key)
            items = validate(response.call, shape, found)
            yield from items
            has_next = len(items) >= per_page
            links = response.headers.get("link")
            if links:
                has_next = 'rel="next"' in links
            if not has_next:
                return

    def fetch_page(
        self,
        path: str,
        number: int = 1,
        *,
        query: Mapping[str, str] | None = None,
        per_page: int = PAGE_SIZE,
    ) -> Response:
        """Return the response with the page `number` (from 1) of a list."""
        return self.fetch(path, {**(query or {}), "per_page": per_page, "page": number})

    def write(
        self,
        verb: Literal["POST", "PATCH", "DELETE"],
        path: str,
        body: Mapping[str, object] | None,
        *,
        guard: WriteGuard,
        expected: tuple[int, ...] = (),
    ) -> Response:
        """Send a write that PyGithub's objects cannot send as one request. See `change`."""
        return self._write(_rest(verb, path, body=body), guard, expected)

    def change(
        self,
        repository: str,
        write: Callable[[Repository], object],
        *,
        guard: WriteGuard,
        expected: tuple[int, ...] = (),
    ) -> Response:
        """Send a write by a method of PyGithub that sends one request, and return the response.

        Raises for a status of 400 or more that is not in `expected`. Only `github/writer.py`,
        `comments.py`, `reviews.py`, `checks.py` and, for `hls init`, `webhook_setup.py` write
        (SECURITY.md rule 12). A review has the event COMMENT, and a reply is in a review thread
        that HLS opened.

        The error's `may_have_succeeded` is True if the request was sent and GitHub did not respond.
        A status of 500 or more counts as no response, because a gateway may have sent that status.
        """
        return self._write(lambda client: write(client.get_repo(repository)), guard, expected)

    def _write(
        self, perform: Callable[[Github], object], guard: WriteGuard, expected: tuple[int, ...]
    ) -> Response:
        guard.begin_write()
        sent = False

        def before_send() -> None:
            nonlocal sent
            guard.check_lease()
            sent = True

        try:
            return self._send(_Request(perform, expected, before_send=before_send))
        except DependencyDown as exc:
            exc.may_have_succeeded = exc.may_have_succeeded and sent
            raise

    def query(
        self, query: str, repository: str, variables: Mapping[str, object], shape: type[T]
    ) -> T:
        """Send a GraphQL query, which only reads, and return its validated `data`. "owner/repo" is
        two variables.
        """
        owner, _, name = repository.partition("/")
        variables = {"owner": owner, "name": name, **variables}
        body = {"query": query, "variables": variables}
        response = self._send(
            _Request(
                lambda client: client.requester.requestJson(
                    "POST", client.requester.graphql_url, input=body
                )
            )
        )
        return validate(GRAPHQL_CALL, shape, response.get("data"))

    def request_token(self, installation_id: int, body: Mapping[str, object]) -> Response:
        """Request a token of an installation. Returns the response also for 403, 404 and 422."""
        path = f"/app/installations/{installation_id}/access_tokens"
        return self._send(_Request(_rest("POST", path, body=body), expected=(403, 404, 422)))

    def convert_code(self, code: str) -> Response:
        """Exchange the code of a new App for the App. Returns the response also for 404 and 422.

        https://docs.github.com/en/rest/apps/apps#create-a-github-app-from-a-manifest
        """
        secret = quote(code, safe="")
        path = f"/app-manifests/{secret}/conversions"
        return self._send(_Request(_rest("POST", path), expected=(404, 422), secret=secret))

    def _send(self, request: _Request) -> Response:
        is_repeated = False
        while True:
            authorization = self._credential.authorization()
            response = self._exchange(request, authorization)
            error = self._find_error(request, response, authorization)
            if error is None:
                return response
            if is_repeated or not self._credential.handle_error(authorization, response, error):
                raise error
            is_repeated = True

    def _exchange(self, request: _Request, authorization: str) -> Response:
        """Send the request once, and return the response with any status."""
        rate_limit = RateLimit()
        try:
            received = self._connection.send(request.perform, authorization, request.before_send)
            if received.call != GRAPHQL_CALL:  # which has a quota of its own
                rate_limit = _read_rate_limit(received.response.headers)
        except NoResponse as exc:
            call = _describe_call(exc.call, request.secret)
            raise translate_exception(call, exc.cause, self.now(), self.proxy_settings) from None
        finally:
            self._observe(rate_limit)
        call = _describe_call(received.call, request.secret)
        status = received.response.status
        content = received.response.content
        data: Any = content
        if request.is_parsed or status >= 300:
            data = _parse_json(content)
        if data is None and content and status < 300:
            raise unexpected_response(call, f"{status} with a body that is not JSON")
        return Response(call, status, received.response.headers, data)

    def _find_error(
        self, request: _Request, response: Response, authorization: str
    ) -> StepFailed | None:
        """Return the error for a status of 400 or more that is not expected. Raise that for another
        response.
        """
        call = response.call
        status = response.status
        headers = response.headers
        if 300 <= status < 400 and status not in request.expected:
            location = headers.get("location")
            raise translate_redirect(call, status, location, response.message, self.base_url)
        if status == 202 and status not in request.expected:
            raise unexpected_response(call, "202 (not ready yet)")
        token = authorization.partition(" ")[2]
        if status >= 400:
            message = _find_message(response)
            if message is not None:
                message = redact_secret(message, request.secret, token)
            if status in request.expected and message is not None and not rejects_account(message):
                return None
            remedy = self._credential.remedy
            return translate_status(call, status, headers, message, self.now(), token_remedy=remedy)
        errors = response.get("errors")
        if call == GRAPHQL_CALL and errors:
            return translate_graphql_errors(errors, headers, self.now(), secret=token)
        return None


def _find_message(response: Response) -> str | None:
    """Return GitHub's own message, with the details of a 422; None if the body is not GitHub's."""
    message = response.message
    if message is None or response.status != 422:
        return message
    details = describe_errors(response.data)
    if details == message:
        return message
    return f"{message}: {details}"


def _describe_call(call: str, secret: str) -> str:
    if not secret:
        return call
    return call.replace(secret, "CODE")


def _read_rate_limit(headers: Mapping[str, str]) -> RateLimit:
    try:
        limit = int(headers["x-ratelimit-limit"])
        remaining = int(headers["x-ratelimit-remaining"])
    except (KeyError, ValueError):
        return RateLimit()
    return RateLimit(limit, remaining, rate_limit_reset(headers))


def repository_path(repository: str) -> str:
    """Return "/repos/owner/repo". Raises `Permanent` for an invalid name, which could address
    another resource.
    """
    if not REPOSITORY_NAME.fullmatch(repository):
        raise Permanent(f"{repository} is not a repository name; expected owner/repo")
    return f"/repos/{repository}"


def _parse_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):  # also of an empty body
        return None


def describe_errors(data: Any) -> str:
    """Return what GitHub says in a 422: "name: is too long; color: invalid". The list `errors` may
    have sentences.
    """
    errors = data.get("errors")
    parts: list[str] = []
    if isinstance(errors, list):
        parts = [_describe_error(error) for error in errors]
    return "; ".join(filter(None, parts)) or str(data.get("message"))


def _describe_error(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    reason = error.get("message") or error.get("code")
    return ": ".join(str(part) for part in (error.get("field"), reason) if part)


_cached_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter[Any])


def validate(call: str, shape: type[T], data: object) -> T:
    """Parse the response to `call` ("GET /user"). Raises `DependencyDown` if a field is missing or
    invalid.
    """
    adapter: TypeAdapter[T] = _cached_adapter(shape)
    try:
        return adapter.validate_python(data)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        raise unexpected_response(call, describe_invalid(first, whole="the response")) from None
