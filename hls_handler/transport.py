"""Outgoing HTTP connections to GitHub and Claude: proxy and certificate settings, causes of
failures, Retry-After.

httpx2 gets explicit values for proxies and certificates from this module, and reads no variables of
the environment itself. A request ends in time, also if a server sends byte by byte.
"""

from __future__ import annotations

import math
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

import certifi
import httpcore2
import httpx2

from hls_handler.errors import Permanent, SettingsError
from hls_handler.settings.environment import (
    CA_VARIABLES,
    NO_PROXY_VARIABLES,
    PROXY_VARIABLES,
    both_cases,
)
from hls_handler.settings.values import is_loopback
from hls_handler.untrusted.redaction import mask_secrets
from hls_handler.wording import shorten

SocketOption = tuple[int, int, int]

MAX_CONNECT_S = 10.0
MAX_IDLE_CONNECTIONS = 100  # of one client
IDLE_S = 60.0  # for which they are kept
# limit for the body of an error response; real ones have a few hundred bytes
MAX_ERROR_BYTES = 65_536
PIECE_BYTES = 16_384
_BODY_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})
HTTPCORE_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)

MAX_ANSWER_BYTES = 100_000  # limit for `exchange`

PROXY_STATUS = re.compile("([1-5][0-9]{2}) ")
"""Message of httpx2 about a proxy's response: "407 Proxy Authentication Required"."""

MAX_WAIT = timedelta(hours=2)
"""Longest wait that a response can cause. A longer one is shortened, because its cause may end
earlier.
"""


class Deadline:
    """The end of a request that may take `limit_s` seconds from now, and wait for the next byte
    `idle_s`.
    """

    def __init__(self, limit_s: float, idle_s: float = math.inf) -> None:
        self._at = monotonic() + limit_s
        self._idle_s = idle_s

    def timeout_s(self, max_s: float = math.inf) -> float:
        """Return how long the next wait may take, at most `max_s`. Raises `TimeoutError` if the end
        has passed.
        """
        remaining_s = self._at - monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        return min(remaining_s, self._idle_s, max_s)


class LimitedTransport(httpx2.BaseTransport):
    """Sends a request once, within a limit for the whole of it. Thread-safe.

    It reads error responses, but no body over `MAX_ERROR_BYTES`, which becomes empty. A client of
    httpx2 reads credentials from a `.netrc`; its transport does not. httpcore2 passes the timeouts
    of a request to its network streams as they are.
    """

    def __init__(
        self,
        proxy: httpcore2.Proxy | None,
        ssl_context: ssl.SSLContext,
        limit_s: float,
        idle_s: float,
        socket_options: Sequence[SocketOption],
    ) -> None:
        self._limit_s = limit_s
        self._idle_s = idle_s
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=None,
            max_keepalive_connections=MAX_IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_S,
            network_backend=_DeadlineBackend(),
            socket_options=socket_options,
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        deadline = Deadline(self._limit_s, self._idle_s)
        timeouts = {"connect": deadline, "read": deadline, "write": deadline}
        url = request.url
        sent = httpcore2.Request(
            request.method,
            httpcore2.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions={**request.extensions, "timeout": timeouts},
        )
        with _as_httpx_errors():
            received = self._pool.handle_request(sent)
        response = httpx2.Response(
            received.status,
            headers=received.headers,
            stream=_Body(received.stream),
            extensions=received.extensions,
        )
        if response.is_success:
            return response
        try:
            body = read_body(response.iter_bytes(), MAX_ERROR_BYTES)
        finally:
            response.close()
        headers = [
            (name, value)
            for name, value in response.headers.multi_items()
            if name not in _BODY_HEADERS
        ]
        return httpx2.Response(
            response.status_code, headers=headers, content=body, extensions=response.extensions
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx_errors():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    """Raise the errors of httpcore2 as those of httpx2, which have the same names."""
    try:
        yield
    except TimeoutError as exc:
        raise httpx2.ReadTimeout("the limit of the request is over") from exc
    except HTTPCORE_ERRORS as exc:
        raise getattr(httpx2, type(exc).__name__)(str(exc)) from exc


class _DeadlineBackend(httpcore2.NetworkBackend):
    """Opens connections that read and write until the deadline that a request has in place of
    timeouts.

    A timeout of httpcore2 is a limit between two bytes.
    """

    def __init__(self) -> None:
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> _DeadlineStream:
        timeout_s = timeout.timeout_s(MAX_CONNECT_S)
        return _DeadlineStream(
            self._backend.connect_tcp(host, port, timeout_s, local_address, socket_options)
        )


class _DeadlineStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        return self._stream.read(max_bytes, timeout.timeout_s())

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        # httpcore2 gives the timeout to each piece that it sends
        for begin in range(0, len(buffer), PIECE_BYTES):
            self._stream.write(buffer[begin : begin + PIECE_BYTES], timeout.timeout_s())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> _DeadlineStream:
        timeout_s = timeout.timeout_s(MAX_CONNECT_S)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, timeout_s))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def read_body(chunks: Iterable[bytes], max_bytes: int) -> bytes | None:
    """Return the body, or None if it is larger; the rest is not read."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            return None
    return bytes(body)


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Proxy and certificate authorities for one address. Messages show `proxy_without_credentials`,
    never `proxy`.
    """

    proxy: str | None = field(repr=False)  # "http://user:password@proxy.example:3128"
    ca_path: str  # file or folder with the certificates of the trusted authorities
    # the environment variable that names `ca_path`; None for the system's authorities
    ca_variable: str | None = None

    @property
    def proxy_without_credentials(self) -> str | None:
        if self.proxy is None:
            return None
        return str(httpx2.URL(self.proxy).copy_with(userinfo=b""))

    def new_transport(
        self,
        limit_s: float,
        *,
        idle_s: float = math.inf,
        socket_options: Sequence[SocketOption] = (),
    ) -> LimitedTransport:
        """Return a transport with the proxy and the authorities.

        A request takes at most `limit_s` seconds, and waits for the next byte at most `idle_s`.
        """
        server = None
        if self.proxy_without_credentials is not None:
            server = httpcore2.Proxy(
                self.proxy_without_credentials, headers=[*self.proxy_headers.items()]
            )
        context = ssl_context(self.ca_path)
        return LimitedTransport(server, context, limit_s, idle_s, socket_options)

    @property
    def proxy_headers(self) -> dict[str, str]:
        """The header with user name and password of the proxy."""
        userinfo = httpx2.URL(self.proxy or "").userinfo
        if not userinfo:
            return {}
        name, _, password = userinfo.partition(b":")
        credentials = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
        return {"Proxy-Authorization": f"Basic {b64encode(credentials).decode()}"}

    def explain_failure(self, exc: BaseException, *, otherwise: str) -> tuple[str, str]:
        """Return the cause, such as ": Connection refused", and the remedy. `otherwise` is the
        default remedy.
        """
        through = ""
        if self.proxy is not None:
            through = f" through the proxy {self.proxy_without_credentials}"
        certificate_problems = [
            e.verify_message for e in _causes(exc) if isinstance(e, ssl.SSLCertVerificationError)
        ]
        if certificate_problems:
            source = f"the system's {self.ca_path}"
            if self.ca_variable is not None:
                source = f"{self.ca_variable} ({self.ca_path})"
            remedy = (
                "set SSL_CERT_FILE to a PEM file with the certificate of the server's authority,"
                f" and restart; the trusted authorities now come from {source}"
            )
            return f"{through}: certificate verification failed: {certificate_problems[0]}", remedy
        if self.proxy is None:
            return f": {describe_cause(exc)}", otherwise
        status = _find_proxy_status(exc)
        if status == 407:
            remedy = "correct the user name and password in HTTPS_PROXY, and restart"
            return f"{through}: it rejected the user name or password (407)", remedy
        cause = describe_cause(exc)
        if status is not None:
            cause = f"it answered {status}"
        remedy = "check the proxy that HTTPS_PROXY names, or add the host to NO_PROXY"
        return f"{through}: {cause}", f"{remedy}; {otherwise}"


def exchange(address: str, path: str, question: object, timeout_s: float) -> bytes:
    """Send a POST with `question` as JSON, or a GET if it is None, and return the body of the
    response.

    Nothing is repeated or redirected. Raises `Permanent` without a response of status 200 and at
    most 100 kB.
    """
    proxy = find_proxy_settings(address)
    method = "POST"
    if question is None:
        method = "GET"
    try:
        with (
            httpx2.Client(transport=proxy.new_transport(timeout_s), trust_env=False) as client,
            client.stream(method, f"{address}{path}", json=question) as response,
        ):
            body = read_body(response.iter_bytes(), MAX_ANSWER_BYTES)
    except httpx2.HTTPError as exc:
        raise Permanent(f"no answer{proxy.explain_failure(exc, otherwise='')[0]}") from None
    if body is None:
        raise Permanent("the answer is too long")
    if response.status_code != 200:
        raise Permanent(f"the answer has status {response.status_code}")
    return body


@cache  # loading all authorities takes tens of milliseconds, and a megabyte for each context
def ssl_context(ca_path: str) -> ssl.SSLContext:
    """Return the process's TLS context that trusts only the authorities in the file or folder."""
    if Path(ca_path).is_dir():
        return ssl.create_default_context(capath=ca_path)
    return ssl.create_default_context(cafile=ca_path)


def find_proxy_settings(address: str, environ: Mapping[str, str] = os.environ) -> ProxySettings:
    """Return the settings for an address such as "https://api.github.com". Raises
    `SettingsError`.
    """
    proxy = _find_proxy(urlsplit(address), environ)
    for variable in CA_VARIABLES:
        ca_path = environ.get(variable)
        if ca_path:
            _require_certificates(variable, ca_path)
            return ProxySettings(proxy, ca_path, variable)
    return ProxySettings(proxy, _find_system_authorities())


def _find_system_authorities() -> str:
    system = ssl.get_default_verify_paths()
    for path in (system.openssl_cafile, system.openssl_capath):
        if Path(path).is_file() or (Path(path).is_dir() and any(Path(path).glob("*.[0-9]"))):
            return path
    return certifi.where()


def _require_certificates(variable: str, value: str) -> None:
    try:
        if not Path(value).is_dir():
            Path(value).open().close()  # it may be gone since the context was made
            ssl_context(value)
    except ssl.SSLError:
        raise SettingsError(
            [f"the variable {variable} names {value}, which has no certificates in PEM form"]
        ) from None
    except OSError as exc:
        raise SettingsError(
            [f"the variable {variable} names {value}, which cannot be read: {exc.strerror}"]
        ) from exc


def _find_proxy(address: SplitResult, environ: Mapping[str, str]) -> str | None:
    host = address.hostname or ""
    # A proxy cannot reach a loopback address, and the settings allow http only for loopback.
    if (
        address.scheme != "https"
        or is_loopback(host)
        or _bypasses_proxy(host, address.port, environ)
    ):
        return None
    for variable in both_cases(*PROXY_VARIABLES):
        value = environ.get(variable)
        if value:
            return _parse_proxy_url(variable, value)
    return None


def _parse_proxy_url(variable: str, value: str) -> str:
    full = value
    if "://" not in value:
        full = f"http://{value}"
    try:
        url = httpx2.URL(full)
        if url.scheme == "http" and url.host and url.port != 0:
            return str(url)
    except httpx2.InvalidURL:
        pass
    # raised outside of `except`, because the parser's error may contain a password
    problem = (
        f"the variable {variable} must be the URL of an http:// proxy, such as"
        " http://proxy.example:3128"
    )
    raise SettingsError([problem])


def _bypasses_proxy(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    entries = next(
        (environ[name] for name in both_cases(*NO_PROXY_VARIABLES) if environ.get(name)), ""
    )
    return any(
        _matches_entry(entry, host, port) for entry in entries.replace(",", " ").lower().split()
    )


def _matches_entry(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, entry_port = entry.rpartition(":")
    if colon and entry_port.isdigit():
        if int(entry_port) != (port or 443):
            return False
        entry = name.strip("[]")
    name = entry.removeprefix("*").removeprefix(".")
    return name != "" and (host == name or host.endswith(f".{name}"))


def redact_secret(text: str, *secrets: str) -> str:
    """Return the text as one line of at most 300 characters, with the secrets (in any encoding) as
    `***`.
    """
    return shorten(mask_secrets(text, secrets))


def describe_cause(exc: BaseException) -> str:
    """Return the operating system's message, such as "Connection refused", or else the exception's
    class name.

    Messages of HTTP libraries are not used: they may contain headers, and with them a key.
    """
    messages = [
        link.strerror
        for link in _causes(exc)
        if isinstance(link, OSError) and link.errno is not None and isinstance(link.strerror, str)
    ]
    if not messages:
        return type(exc).__name__
    return messages[-1]


def timed_out(exc: BaseException) -> bool:
    """Return True if a connection was open when the time was over."""
    is_connecting = isinstance(exc, httpx2.ConnectTimeout)
    return not is_connecting and any(isinstance(link, TimeoutError) for link in _causes(exc))


def _find_proxy_status(exc: BaseException) -> int | None:
    """Return the status with which the proxy rejected a tunnel."""
    for link in _causes(exc):
        status = PROXY_STATUS.match(str(link))
        if status is not None:
            return int(status[1])
    return None


def _causes(exc: BaseException) -> list[BaseException]:
    causes = list[BaseException]()
    link: BaseException | None = exc
    while link is not None and link not in causes:
        causes.append(link)
        link = link.__cause__ or link.__context__
    return causes


def retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Return the time given by `retry-after` in seconds; None if it is absent or not a number.

    `headers` has lower-case names. The wait is limited to two hours.
    """
    try:
        wait_s = float(headers.get("retry-after", "nan"))
    except ValueError:  # a date, which neither GitHub nor Claude sends
        return None
    if math.isnan(wait_s):
        return None
    return now + timedelta(seconds=min(max(wait_s, 0.0), MAX_WAIT.total_seconds()))


def rate_limit_reset(headers: Mapping[str, str]) -> datetime | None:
    """Return when GitHub's quota resets; None if GitHub does not say so."""
    reset = headers.get("x-ratelimit-reset", "")
    if not re.fullmatch("[0-9]{1,10}", reset):
        return None
    return datetime.fromtimestamp(int(reset), UTC)
