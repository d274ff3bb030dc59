"""Connection of PyGithub to GitHub: each request is sent once, within one limit of time, and
follows no redirect.

PyGithub creates a connection for each request by a function of the process, `_find_call`. So the
present request is a `Call` in a context variable; it is the connection, over the client's
`Transport`.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import github
import httpx2
from github.Requester import Requester
from pydantic import ValidationError

from hls_handler.errors import Retryable
from hls_handler.github.errors import (
    GRAPHQL_CALL,
    GRAPHQL_PATH,
    Refused,
    translate_exception,
    unexpected_response,
)
from hls_handler.transport import ProxySettings, read_body
from hls_handler.wording import describe_invalid

T = TypeVar("T")

BEFORE_SENDING = ("http11.send_request_headers.started", "http11.send_request_body.started")
"""Events of httpcore2 on an open connection."""

MAX_BODY_BYTES = 64_000_000
"""Limit for a response, which protects the memory of the process. A page of comments has 16 MB if
62 of them have the longest text, and a page of review threads may have hundreds.
"""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response; PyGithub reads it by the methods."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    content: bytes

    def getheaders(self) -> Iterable[tuple[str, str]]:
        # PyGithub fails at a limit that is no number
        return [item for item in self.headers.items() if not item[0].startswith("x-ratelimit-")]

    def read(self) -> str:
        return self.content.decode()


class SecondRequest(Exception):
    """PyGithub would send another request, such as for an attribute that the response lacks."""


UNREADABLE = (
    github.BadAttributeException,
    github.IncompletableObject,
    AttributeError,
    KeyError,
    RecursionError,
    SecondRequest,
    TypeError,
    ValueError,
)
"""What is raised if a response has not the form that PyGithub expects."""

PYGITHUB = str(Path(github.__file__).parent)
CODE = re.compile(r"(?<=^/app-manifests/)[^/]+")  # of a new App: a secret


@dataclass(slots=True)
class Call:
    """One request, and PyGithub's connection for it: PyGithub calls `request` and `getresponse`."""

    transport: Transport
    base_path: str  # of github.base_url: "/api/v3"
    authorization: str  # header; "" for none
    before_send: Callable[[], None]
    """Called on the open connection before headers and body are sent, because opening it can take
    many seconds; an exception stops the request.
    """
    per_page: int  # items per page, if the response is a list
    verb: str = ""
    target: str = ""  # path with query
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    # PyGithub keeps its last connection, so the body of the response is not stored
    response_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return "GET /repos/o/r/issues/7"."""
        path = self.target.partition("?")[0]
        if path == self.base_path.removesuffix("/v3") + GRAPHQL_PATH:
            return GRAPHQL_CALL
        path = CODE.sub("CODE", path.removeprefix(self.base_path))
        return f"{self.verb} {path}"

    def request(
        self,
        verb: str,
        url: str,
        input: Any,  # noqa: A002 (the names are PyGithub's)
        headers: dict[str, str],
        stream: bool = False,  # noqa: ARG002
    ) -> None:
        if self.verb:
            raise SecondRequest(f"it would send {verb} {url}")
        self.verb = verb
        self.target = url
        self.headers = headers
        self.body = input
        if self.authorization:
            # in a copy, because PyGithub logs its own
            self.headers = {**headers, "Authorization": self.authorization}

    def getresponse(self) -> HttpResponse:
        response = self.transport.send(self)
        self.response_headers = response.headers
        # PyGithub would follow a redirect, and repeat a read that was answered 202
        if response.status == 202 or not 200 <= response.status < 300:
            raise Refused(self.name, response.status, response.headers, _parse(response.content))
        # PyGithub takes other text for a value, and an empty body for an object without fields. The
        # body is also empty if the response ends within its headers.
        has_body = response.status not in (204, 205)
        if has_body and response.content.lstrip()[:1] not in (b"{", b"["):
            what = f"{response.status} without an object or list of JSON"
            raise unexpected_response(self.name, what)
        return response

    def close(self) -> None:
        """Do nothing: the transport stays open for the next request."""


_call: ContextVar[Call] = ContextVar("hls_github_call")


class Transport(Protocol):
    """Sends the requests of a client. Not thread-safe."""

    def send(self, call: Call) -> HttpResponse: ...

    def close(self) -> None: ...


class Connection:
    """A client of PyGithub over a transport. Not thread-safe."""

    def __init__(
        self,
        base_url: str,
        user_agent: str,
        transport: Transport,
        *,
        now: Callable[[], datetime],
        proxy: ProxySettings,
    ) -> None:
        """Send nothing yet."""
        # for both schemes
        Requester.injectConnectionClasses(_find_call, _find_call)  # type: ignore[arg-type]
        # PyGithub's own handler would write what is not masked
        logging.getLogger("github").handlers.clear()
        self.requests_sent = 0
        self._transport = transport
        self._now = now
        self._proxy = proxy
        self._base_path = urlsplit(base_url).path.rstrip("/")
        self._client = github.Github(
            base_url=base_url,
            user_agent=user_agent,
            api_version="2022-11-28",
            lazy=True,
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,
        )

    def new_call(
        self,
        authorization: str,
        before_send: Callable[[], None],
        per_page: int,
    ) -> Call:
        return Call(self._transport, self._base_path, authorization, before_send, per_page)

    def send(self, request: Callable[[github.Github], T], call: Call) -> T:
        """Call `request`, which sends one request by PyGithub, and return its result.

        Raises `Refused`, or `DependencyDown` without a response that can be read.
        """
        self.requests_sent += 1
        self._client.per_page = call.per_page
        token = _call.set(call)
        try:
            return request(self._client)
        except httpx2.HTTPError as exc:
            # `from None`, because the exception's text may contain the request's headers, and with
            # them the token
            raise translate_exception(call.name, exc, self._now(), self._proxy) from None
        except ValidationError as exc:
            first = exc.errors(include_input=False, include_url=False)[0]
            what = describe_invalid(first, whole="the response")
            raise unexpected_response(call.name, what) from None
        except UNREADABLE as exc:
            if not call.verb:  # no request was made: a defect of ours
                raise
            what = f"PyGithub cannot read {_find_member(exc)} ({type(exc).__name__}: {exc})"
            raise unexpected_response(call.name, what) from None
        except github.GithubException as exc:  # of GraphQL, whose status is 200
            raise Refused(call.name, 200, exc.headers or {}, exc.data) from None
        finally:
            _call.reset(token)

    def close(self) -> None:
        self._transport.close()


def _find_member(exc: BaseException) -> str:
    """Return the attribute or method of PyGithub that raised, such as "html_url"."""
    frames = traceback.extract_tb(exc.__traceback__)
    return next((frame.name for frame in frames if PYGITHUB in frame.filename), "it")


def _find_call(*_address: object, **_options: object) -> Call:
    """Return the present request, where PyGithub creates a connection."""
    return _call.get()


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):  # also of an empty body
        return None


class HttpTransport:
    """One connection to GitHub's API. Another thread needs another one, but the TLS context is that
    of the process.
    """

    def __init__(self, base_url: str, proxy: ProxySettings, *, timeout_s: float) -> None:
        """`timeout_s` limits a request as a whole, up to the last byte of the response."""
        address = urlsplit(base_url)
        self._origin = f"{address.scheme}://{address.netloc}"
        self._transport = proxy.new_transport(timeout_s)

    def send(self, call: Call) -> HttpResponse:
        """Raise an exception of httpx2 without a response, and what `before_send` raises."""

        def check(event: str, sent: Mapping[str, Any]) -> None:
            # the CONNECT that opens a proxy's tunnel is not the request
            if event in BEFORE_SENDING and sent["request"].method != b"CONNECT":
                call.before_send()

        request = httpx2.Request(
            call.verb,
            f"{self._origin}{call.target}",
            headers={"Accept-Encoding": "gzip, deflate", **call.headers},
            content=call.body,
            # as it is: a URL of httpx2 has no "." and "..", which may be names of labels
            extensions={"trace": check, "target": call.target.encode()},
        )
        with closing(self._transport.handle_request(request)) as response:
            body = read_body(response.iter_bytes(), MAX_BODY_BYTES)
        if body is None:
            limit_mb = MAX_BODY_BYTES // 10**6
            raise Retryable(f"{call.name}: the response is larger than {limit_mb} MB")
        return HttpResponse(response.status_code, response.headers, body)

    def close(self) -> None:
        self._transport.close()
