"""A transport of httpx2 whose requests end in time, also if a server sends byte by byte."""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpcore2
import httpx2

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


class Deadline:
    """The end of a request that may take `limit_s` seconds from now, and wait for the next byte
    `idle_s`.
    """

    def __init__(self, limit_s: float, idle_s: float = math.inf) -> None:
        self._at = monotonic() + limit_s
        self._idle_s = idle_s

    def timeout_s(self, most: float = math.inf) -> float:
        """Return how long the next wait may take, at most `most`. Raises `TimeoutError` if the end
        has passed.
        """
        remaining_s = self._at - monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        return min(remaining_s, self._idle_s, most)


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
