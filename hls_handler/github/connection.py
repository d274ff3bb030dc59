"""Connection of PyGithub to GitHub: each request is sent once, within one limit of time, and
follows no redirect.

PyGithub creates its connections itself and passes no values of ours to them. So the present request
is a `Call` in a context variable, and PyGithub's connection hands it to the client's `Transport`.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import re
import socket
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import github
import urllib3
from github.Auth import Auth
from github.Requester import HTTPSRequestsConnectionClass, Requester
from pydantic import ValidationError
from urllib3.connection import HTTPConnection, HTTPSConnection

from hls_handler.errors import Retryable
from hls_handler.github.errors import (
    GRAPHQL_CALL,
    GRAPHQL_PATH,
    Refused,
    translate_exception,
    unexpected_response,
)
from hls_handler.transport import (
    MAX_CONNECT_S,
    MAX_ERROR_BYTES,
    Deadline,
    ProxySettings,
    read_body,
    ssl_context,
)
from hls_handler.wording import describe_invalid

T = TypeVar("T")

KEEPALIVE_S = 60.0  # for which an idle connection is kept
CHUNK_BYTES = 65_536
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
NO_RESPONSE = HttpResponse(0, {}, b"")
CODE = re.compile(r"(?<=^/app-manifests/)[^/]+")  # of a new App: a secret


@dataclass(slots=True)
class Call:
    """One request: what PyGithub's methods cannot be given, and what PyGithub made of it."""

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
    deadline: Deadline | None = None
    response: HttpResponse = NO_RESPONSE

    @property
    def name(self) -> str:
        """Return "GET /repos/o/r/issues/7"."""
        path = self.target.partition("?")[0]
        if path == self.base_path.removesuffix("/v3") + GRAPHQL_PATH:
            return GRAPHQL_CALL
        path = CODE.sub("CODE", path.removeprefix(self.base_path))
        return f"{self.verb} {path}"


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
        Requester.injectConnectionClasses(_Connection, _Connection)  # type: ignore[arg-type]
        # PyGithub's own handler would write what is not masked
        logging.getLogger("github").handlers.clear()
        self.requests_sent = 0
        self._transport = transport
        self._now = now
        self._proxy = proxy
        self._base_path = urlsplit(base_url).path.rstrip("/")
        self._client = github.Github(
            auth=_CallAuth(),
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
        except (urllib3.exceptions.HTTPError, TimeoutError) as exc:
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


class _CallAuth(Auth):
    """Adds the authorization of the call. One client serves credentials that change."""

    token_type = token = _masked_token = ""

    def authentication(self, headers: dict[str, Any]) -> None:
        authorization = _call.get().authorization
        if authorization:
            headers["Authorization"] = authorization


class _Connection(HTTPSRequestsConnectionClass):
    """The connection that PyGithub creates for each request, over the transport of the call."""

    def __init__(self, host: str, *_options: object, **_named: object) -> None:
        self.host = host

    def request(
        self,
        verb: str,
        url: str,
        input: Any,  # noqa: A002 (the names are PyGithub's)
        headers: dict[str, str],
        stream: bool = False,  # noqa: ARG002
    ) -> None:
        call = _call.get()
        if call.verb:
            raise SecondRequest(f"it would send {verb} {url}")
        call.verb = verb
        call.target = url
        call.headers = headers
        call.body = input

    def getresponse(self) -> Any:  # an HttpResponse
        call = _call.get()
        response = call.transport.send(call)
        call.response = response
        # PyGithub would follow a redirect, and repeat a read that was answered 202
        if response.status == 202 or not 200 <= response.status < 300:
            raise Refused(call.name, response.status, response.headers, _parse(response.content))
        # PyGithub takes other text for a value, and an empty body for an object without fields. The
        # body is also empty if the response ends within its headers.
        has_body = response.status not in (204, 205)
        if has_body and response.content.lstrip()[:1] not in (b"{", b"["):
            what = f"{response.status} without an object or list of JSON"
            raise unexpected_response(call.name, what)
        return response

    def close(self) -> None:
        """Do nothing: the transport stays open for the next request."""


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
        self._timeout_s = timeout_s
        self._manager = _new_manager(base_url, proxy)
        self._manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        self._pool = self._manager.connection_from_url(base_url)

    def send(self, call: Call) -> HttpResponse:
        """Raise an exception of urllib3 without a response, and what `before_send` raises."""
        call.deadline = Deadline(self._timeout_s)
        response = self._pool.urlopen(
            call.verb,
            call.target,
            body=call.body,
            headers={"Accept-Encoding": "gzip, deflate", **call.headers},
            retries=False,
            redirect=False,
            timeout=urllib3.Timeout(
                connect=min(self._timeout_s, MAX_CONNECT_S), read=self._timeout_s
            ),
            preload_content=False,
        )
        # http.client takes 102 and 103 for the response, which is still to come
        if response.status < 200:
            response.close()
            raise urllib3.exceptions.ProtocolError(f"interim response {response.status}")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, headers, _read(call, response))

    def close(self) -> None:
        self._manager.clear()


def _new_manager(base_url: str, proxy: ProxySettings) -> urllib3.PoolManager:
    context = None
    if base_url.startswith("https:"):
        context = ssl_context(proxy.ca_path)
    server = proxy.proxy_without_credentials
    if server is None:
        return urllib3.PoolManager(ssl_context=context)
    return urllib3.ProxyManager(server, proxy_headers=proxy.proxy_headers, ssl_context=context)


def _read(call: Call, response: urllib3.BaseHTTPResponse) -> bytes:
    """Return the body. A larger one raises `Retryable`; of an error, it is empty.

    `response.read` would allocate as many bytes as the response announces.
    """
    is_error = response.status >= 300
    limit = MAX_ERROR_BYTES if is_error else MAX_BODY_BYTES
    body = read_body(response.stream(CHUNK_BYTES), limit)
    if body is not None:
        return body
    response.close()
    if is_error:
        return b""
    raise Retryable(f"{call.name}: the response is larger than {limit // 10**6} MB")


def _timeout_s() -> float:
    deadline = _call.get().deadline
    assert deadline is not None
    return deadline.timeout_s()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until the deadline of the exchange."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_timeout_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach()))


class _Guarded(HTTPConnection):
    """Calls `before_send` on the open connection, and reads until the deadline."""

    response_class = _Response
    _is_connecting = False
    _idle_since = 0.0

    def connect(self) -> None:
        self._is_connecting = True  # a proxy's tunnel is opened by bytes that are not the request's
        try:
            super().connect()
        finally:
            self._is_connecting = False

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        if not self._is_connecting:
            _call.get().before_send()
        self.sock.settimeout(_timeout_s())
        super().send(data)
        self._idle_since = monotonic()

    @property
    def is_connected(self) -> bool:
        # A middlebox may have forgotten a connection that was idle for long, and would not say so.
        return super().is_connected and monotonic() - self._idle_since < KEEPALIVE_S


class _GuardedTls(_Guarded, HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Guarded


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _GuardedTls
