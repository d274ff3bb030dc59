"""GitHub's API: each call sends one request and returns validated values or raises an HLS error.

A request is sent twice only if its credential was outdated, so that GitHub has executed nothing.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter

from hls_handler import __version__
from hls_handler.errors import DependencyDown, Permanent, StepFailed
from hls_handler.events import REPOSITORY_NAME
from hls_handler.github.errors import (
    ANONYMOUS_REMEDY,
    GRAPHQL_CALL,
    TOKEN_REMEDY,
    Refused,
    rejects_account,
    translate_graphql_errors,
    translate_redirect,
    translate_status,
    unexpected_response,
)
from hls_handler.settings.model import GithubSettings
from hls_handler.transport import find_proxy_settings, rate_limit_reset, redact_secret

if TYPE_CHECKING:
    from github import Github
    from github.GithubObject import CompletableGithubObject, GithubObject
    from github.PaginatedList import PaginatedList
    from github.Repository import Repository

    from hls_handler.github.connection import Call, Transport

Root = TypeVar("Root", "Github", "Repository")
T = TypeVar("T")

PAGE_SIZE = 100  # items per page, GitHub's maximum
NO_QUERY: Mapping[str, str] = MappingProxyType({})
LINK = re.compile(r'<([^>]*)>;\s*rel="(\w+)"')


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
class ApiResponse(Generic[T]):
    value: T
    headers: Mapping[str, str]  # names in lower case

    @property
    def links(self) -> Mapping[str, Mapping[str, str]]:
        """The queries of other pages of a list: {"next": {"page": "2"}}."""
        links = LINK.findall(self.headers.get("link", ""))
        return {rel: dict(parse_qsl(urlsplit(url).query)) for url, rel in links}


def rest(
    verb: str,
    path: str,
    shape: type[T],
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, object] | None = None,
) -> Callable[[Github | Repository], T]:
    """Return the function that sends a request for which PyGithub has no method, and validates the
    response. `path` begins with a slash and is percent-encoded.
    """

    def send(root: Github | Repository) -> T:
        parameters = dict(query or {})
        _headers, data = root.requester.requestJsonAndCheck(verb, path, parameters, input=body)
        return validate(shape, data)

    return send


def _do_nothing() -> None: ...


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

    def handle_error(self, _authorization: str, _refused: Refused, _error: StepFailed) -> bool:
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

    def handle_error(self, _authorization: str, refused: Refused, error: StepFailed) -> bool:
        if isinstance(error, DependencyDown) and refused.status in (403, 429):
            sentence = f"{error} (without a token, GitHub accepts 60 requests an hour)"
            raise DependencyDown(
                sentence, dependency="github", remedy=self.remedy, not_before=error.not_before
            )
        if refused.status == 404 and isinstance(error, Permanent):
            raise Permanent(f"{error}; for a private repository, {self.remedy}")
        return False


class Api(Generic[Root]):
    """Client for GitHub's API with one connection. Not thread-safe: use one per worker thread.

    A `request` is a function that sends one request by a method of PyGithub. Its argument is
    PyGithub's client, or the object of a repository. Failed requests raise `Permanent`, `Retryable`
    or `DependencyDown`.
    """

    def __init__(
        self: GithubApi,
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
        self.repository = ""  # "owner/repo" of a client of one repository
        self.guard: WriteGuard | None = None
        self._find_root: Callable[[Github], Any] = lambda client: client
        self._observe = observe
        self._credential = credential or Credential(settings.access_tokens[0])
        self._connection = connection.Connection(
            settings.base_url,
            f"hls/{__version__}",
            transport
            or connection.HttpTransport(
                settings.base_url, self.proxy_settings, timeout_s=timeout_s
            ),
            now=now,
            proxy=self.proxy_settings,
        )

    @property
    def requests_sent(self) -> int:
        """Number of requests by this client and by those that `with_credential` returned."""
        return self._connection.requests_sent

    def close(self) -> None:
        self._connection.close()

    def with_credential(self, credential: Credential) -> Self:
        """Return a client that shares this one's connection."""
        other = copy.copy(self)
        other._credential = credential
        return other

    def with_guard(self, guard: WriteGuard | None) -> Self:
        """Return a client that may write, unless `guard` is None."""
        other = copy.copy(self)
        other.guard = guard
        return other

    def of(self, repository: str) -> RepositoryApi:
        """Return a client of "owner/repo" that shares this one's connection.

        Raises `Permanent` for an invalid name, which could address another resource.
        """
        if not REPOSITORY_NAME.fullmatch(repository):
            raise Permanent(f"{repository} is not a repository name; expected owner/repo")
        other: Any = copy.copy(self)
        other.repository = repository
        other._find_root = lambda client: client.get_repo(repository)
        return cast("RepositoryApi", other)

    def token(self) -> str:
        """Return the token of the next request, for git; "" if there is none. Raises as
        `Credential.authorization`.
        """
        return self._credential.authorization().partition(" ")[2]

    def get(self, request: Callable[[Root], CompletableGithubObject], shape: type[T]) -> T:
        """Read the object that `request` returns."""
        return self.read(lambda root: parse(shape, request(root).complete()))

    def read(self, request: Callable[[Root], T], *, expected: Sequence[int] = ()) -> T:
        """Return the result of `request`. Raises `Refused` for a status in `expected`."""
        return self.send(request, expected=expected).value

    def find(self, request: Callable[[Root], T]) -> T | None:
        """Return the result; None if the resource does not exist (404, 410)."""
        try:
            return self.send(request, expected=(404, 410)).value
        except Refused:
            return None

    def page(
        self,
        request: Callable[[Root], PaginatedList[Any]],
        shape: type[T],
        number: int = 0,
        *,
        per_page: int = PAGE_SIZE,
    ) -> ApiResponse[list[T]]:
        """Return the page `number` (from 0) of a list; one request."""
        return self.send(
            lambda root: [parse(shape, element) for element in request(root).get_page(number)],
            per_page=per_page,
        )

    def items(
        self,
        request: Callable[[Root], PaginatedList[Any]],
        shape: type[T],
        *,
        max_pages: int = 1,
        per_page: int = PAGE_SIZE,
    ) -> Iterator[T]:
        """Yield the elements of a list, one request for each page."""
        for number in range(max_pages):
            page = self.page(request, shape, number, per_page=per_page)
            yield from page.value
            if "next" not in page.links:
                return

    def pages(
        self, path: str, shape: type[T], *, max_pages: int, query: Mapping[str, str] = NO_QUERY
    ) -> Iterator[T]:
        """Yield the pages of a list for which PyGithub has no method, one request for each."""
        following: Mapping[str, str] | None = {"per_page": str(PAGE_SIZE), **query}
        for _ in range(max_pages):
            response = self.send(rest("GET", path, shape, query=following))
            yield response.value
            following = response.links.get("next")
            if following is None:
                return

    def write(self, request: Callable[[Root], T], *, expected: Sequence[int] = ()) -> T:
        """Call `request`, which sends one write by PyGithub, and return its result. The client must
        have a guard.

        Raises `Refused` for a status in `expected`. Only `github/writer.py`, `comments.py`,
        `review_writer.py`, `check_writer.py` and, for `hls init`, `webhook_setup.py` write
        (SECURITY.md rule 12). A review has the event COMMENT, and a reply is in a review thread
        that HLS opened.

        The error's `may_have_succeeded` is True if the request was sent and GitHub did not respond.
        A status of 500 or more counts as no response, because a gateway may have sent that status.
        """
        guard = self.guard
        assert guard is not None
        guard.begin_write()
        sent = False

        def before_send() -> None:
            nonlocal sent
            guard.check_lease()
            sent = True

        try:
            return self.send(request, expected=expected, before_send=before_send).value
        except DependencyDown as exc:
            exc.may_have_succeeded = exc.may_have_succeeded and sent
            raise

    def query(self, query: str, variables: Mapping[str, object], shape: type[T]) -> T:
        """Send a GraphQL query, which only reads, and return its validated `data`. "owner/repo" is
        two variables.
        """
        values = dict(variables)
        if self.repository:
            values["owner"], _, values["name"] = self.repository.partition("/")

        def send(root: Root) -> T:
            _headers, response = root.requester.graphql_query(query, values)
            return validate(shape, response.get("data"))

        return self.read(send)

    def send(
        self,
        request: Callable[[Root], T],
        *,
        expected: Sequence[int] = (),
        before_send: Callable[[], None] = _do_nothing,
        per_page: int = PAGE_SIZE,
    ) -> ApiResponse[T]:
        """Return the result of `request`, with the headers of the response."""
        is_repeated = False
        while True:
            authorization = self._credential.authorization()
            call = self._connection.new_call(authorization, before_send, per_page)
            try:
                value = self._connection.send(lambda client: request(self._find_root(client)), call)
                return ApiResponse(value, call.response_headers)
            except Refused as exc:
                refused = exc
            finally:
                self._observe(_read_rate_limit(call))
            error = self._translate(refused, expected, authorization.partition(" ")[2])
            if error is None:
                raise refused
            if is_repeated or not self._credential.handle_error(authorization, refused, error):
                raise error
            is_repeated = True

    def _translate(
        self, refused: Refused, expected: Sequence[int], token: str
    ) -> StepFailed | None:
        """Return the error; None if the status is expected."""
        status = refused.status
        message = refused.details
        if message is not None:
            message = redact_secret(message, token)
        is_ours = status < 400 or (message is not None and not rejects_account(message))
        if status in expected and is_ours:
            return None
        if status >= 400:
            return translate_status(
                refused.call,
                status,
                refused.headers,
                message,
                self.now(),
                token_remedy=self._credential.remedy,
            )
        if status >= 300:
            location = refused.headers.get("location")
            return translate_redirect(refused.call, status, location, message, self.base_url)
        if refused.call == GRAPHQL_CALL:
            errors = refused.get("errors")
            return translate_graphql_errors(errors, refused.headers, self.now(), secret=token)
        return unexpected_response(refused.call, f"{status} (not ready yet)")


GithubApi = Api["Github"]
RepositoryApi = Api["Repository"]


def _read_rate_limit(call: Call) -> RateLimit:
    if call.name == GRAPHQL_CALL:  # which has a quota of its own
        return RateLimit()
    headers = call.response_headers
    try:
        limit = int(headers["x-ratelimit-limit"])
        remaining = int(headers["x-ratelimit-remaining"])
    except (KeyError, ValueError):
        return RateLimit()
    return RateLimit(limit, remaining, rate_limit_reset(headers))


_cached_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter[Any])


def validate(shape: type[T], data: object) -> T:
    """Parse the JSON of a response. Raises `ValidationError`, which the client translates."""
    adapter: TypeAdapter[T] = _cached_adapter(shape)
    return adapter.validate_python(data)


def parse(shape: type[T], element: GithubObject) -> T:
    """Validate an object of PyGithub by the JSON that GitHub sent for it (ADR 12). Sends no
    request, unlike `raw_data`.
    """
    return validate(shape, element._rawData)
