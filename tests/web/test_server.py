"""The real server on loopback, with requests as bytes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hls_handler.errors import SettingsError
from hls_handler.settings.model import Settings
from hls_handler.web.server import MAX_HEADER_BYTES, LimitedProtocol, listen, make_server
from tests.e2e.service import wait_until
from tests.web.fakes import SECRET, WebSetup, headers, payload, settings, signature

BODY = payload()
TIMEOUT_S = 20.0  # only a broken server makes a test wait this long


@dataclass(frozen=True)
class Running:
    setup: WebSetup
    port: int
    connections: Collection[object]  # that are open

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as connection:
            yield connection

    def exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes and read one response."""
        with self.connection() as connection:
            connection.sendall(request)
            return answer_of(connection)


@contextmanager
def serving(
    given: Settings,
    *,
    app: ASGIApp | None = None,
    protocol: type[LimitedProtocol] = LimitedProtocol,
    body_timeout_s: float = TIMEOUT_S,
) -> Iterator[Running]:
    setup = WebSetup(given, body_timeout_s=body_timeout_s)
    bound = listen(given)
    server = make_server(app or setup.app(), given, protocol=protocol)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield Running(setup, bound.getsockname()[1], server.server_state.connections)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serving(settings(server={"port": 0, "max_body_bytes": 20_000}), body_timeout_s=0.2) as one:
        yield one


class ImpatientProtocol(LimitedProtocol):
    head_timeout_s = 0.2


@pytest.fixture
def large() -> Iterator[Running]:
    """A server with a short deadline, whose one response is larger than all buffers."""
    app = Starlette(routes=[Route("/", lambda _: Response(b"x" * 20_000_000))])
    with serving(settings(server={"port": 0}), app=app, protocol=ImpatientProtocol) as one:
        yield one


@pytest.fixture
def impatient() -> Iterator[Running]:
    """A server with a short deadline for heads."""
    with serving(settings(server={"port": 0}), protocol=ImpatientProtocol) as one:
        yield one


def answer_of(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    stream = connection.makefile("rb")
    with stream:
        status = int(stream.readline().split()[1])
        found: dict[str, str] = {}
        while line := stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            found[name.lower()] = value
        return status, found, stream.read(int(found["content-length"]))


def test_rule_6_the_server_leaves_the_address_of_the_peer_as_it_is() -> None:
    proxy = {"networks": ("10.0.0.0/8",), "user_header": "X-User"}
    with serving(settings(server={"port": 0, "trusted_proxy": proxy})) as running:
        as_mona = (b"X-User: mona", b"X-Forwarded-For: 10.0.0.1", b"Forwarded: for=10.0.0.1")
        assert running.exchange(request(*as_mona, start=b"GET /stats HTTP/1.1"))[0] == 401
    proxy["networks"] = ("127.0.0.0/8",)
    with serving(settings(server={"port": 0, "trusted_proxy": proxy})) as running:
        assert running.exchange(request(*as_mona, start=b"GET /stats HTTP/1.1"))[0] == 200


def request(
    *lines: bytes, body: bytes = b"", start: bytes = b"POST /webhook HTTP/1.1", length: bool = True
) -> bytes:
    counted = (b"Content-Length: %d" % len(body),) if length else ()
    return b"\r\n".join((start, b"Host: hls", *lines, *counted, b"", body))


def lines(**replaced: str | bytes | None) -> list[bytes]:
    return [
        name + b": " + value
        for name, value in headers(BODY, event="issues", secret=SECRET, **replaced)
    ]


def test_a_chunked_body_is_joined(running: Running) -> None:
    def is_stored(running: Running, guid: str) -> bool:
        return any(delivery.guid == guid for delivery in running.setup.store.deliveries)

    parts = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in (BODY[:10], BODY[10:]))
    chunks = parts + b"0\r\nServer-Timing: 3\r\n\r\n"
    head = request(*lines(x_github_delivery="chunked"), b"Transfer-Encoding: chunked", length=False)
    assert running.exchange(head + chunks)[0] == 202
    assert is_stored(running, "chunked")


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (request(b"X-Big: " + b"x" * MAX_HEADER_BYTES, length=False)[: MAX_HEADER_BYTES + 1], 400),
        (request(*lines(), b"Content-Length: 20001", length=False), 413),
        (
            request(*lines(), b"Transfer-Encoding: chunked", length=False)
            + b"4e21\r\n"
            + b"x" * 20001,
            413,
        ),
    ],
)
def test_rule_4_invalid_requests_get_4xx_with_an_id_and_one_sentence(
    running: Running, bad: bytes, status: int
) -> None:
    before = len(running.setup.store.deliveries)
    answered, found, body = running.exchange(bad)
    assert answered == status
    assert len(found["x-request-id"]) == 32
    assert found["x-content-type-options"] == "nosniff"
    assert list(json.loads(body)) == ["detail"]
    assert len(running.setup.store.deliveries) == before


def without_host(sent: bytes) -> bytes:
    return sent.replace(b"Host: hls\r\n", b"")


GET = b"GET /health HTTP/1.1"


@pytest.mark.parametrize(
    ("ambiguous", "detail"),
    [
        (without_host(request(start=GET)), "there must be one header Host"),
        (without_host(request(*lines(), body=BODY)), "there must be one header Host"),
        (request(b"HOST: hls", start=GET), "there must be one header Host"),
        (request(b"Host: other", start=b"GET /health HTTP/1.0"), "there must be one header Host"),
    ],
)
def test_rule_4_request_without_one_host_is_400(
    running: Running, ambiguous: bytes, detail: str
) -> None:
    status, found, body = running.exchange(ambiguous)
    assert (status, found["connection"], json.loads(body)) == (400, "close", {"detail": detail})


def test_http_1_0_needs_no_host(running: Running) -> None:
    assert running.exchange(without_host(request(start=b"GET /health HTTP/1.0")))[0] == 200


@pytest.mark.parametrize(
    "encoding",
    [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: identity",
        b"transfer-encoding: xchunked",
        b"Transfer-Encoding:",
    ],
)
def test_rule_4_only_chunked_bodies_are_accepted(running: Running, encoding: bytes) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    status, found, _ = running.exchange(request(*lines(), encoding, length=False) + chunks)
    assert (status, found["connection"]) == (400, "close")


@pytest.mark.parametrize(
    "encoding", [b"Transfer-Encoding: Chunked", b"transfer-encoding:\tchunked "]
)
def test_chunked_is_accepted_in_any_case_and_with_blanks(running: Running, encoding: bytes) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert running.exchange(request(*lines(), encoding, length=False) + chunks)[0] in (200, 202)


def test_rule_3_a_slow_body_is_408_and_closes_the_connection(running: Running) -> None:
    with running.connection() as connection:
        connection.sendall(request(*lines(), b"Content-Length: 1000", length=False) + b"{")
        status, found, _ = answer_of(connection)
        assert (status, found["connection"]) == (408, "close")
        assert connection.recv(1) == b""


def send_without_end(connection: socket.socket, piece: bytes) -> None:
    """Send more than all buffers between client and server can hold."""
    for _ in range(32_000_000 // len(piece)):
        connection.sendall(piece)


LINES = b"".join(b"a%d: %b\r\n" % (number, b"b" * 20) for number in range(2000))


@pytest.mark.parametrize(
    ("path", "body", "endless"),
    [
        ("/webhook", b"0\r\n", LINES),
        ("/health", b"", b"2710\r\n" + b"z" * 10_000 + b"\r\n"),
    ],
)
def test_rule_3_an_endless_chunked_request_is_closed(
    running: Running, path: str, body: bytes, endless: bytes
) -> None:
    start = f"POST {path} HTTP/1.1".encode()
    head = request(*lines(), b"Transfer-Encoding: chunked", start=start, length=False)
    with running.connection() as connection:
        connection.sendall(head + body)
        with pytest.raises(ConnectionError):
            send_without_end(connection, endless)


def test_rule_3_pipelining_is_limited_although_the_responses_are_read(running: Running) -> None:
    def read_to_end(connection: socket.socket) -> None:
        with suppress(ConnectionError):
            while connection.recv(65_536):
                pass

    large = request(b"X-Padding: " + b"x" * 6_000, start=b"GET /health HTTP/1.1")
    with running.connection() as connection:
        reader = threading.Thread(target=read_to_end, args=(connection,))
        reader.start()
        with pytest.raises(ConnectionError):
            send_without_end(connection, large * 10)
        reader.join()


def test_rule_3_an_unread_body_closes_the_connection(running: Running) -> None:
    with running.connection() as connection:
        start = b"GET /health HTTP/1.1"
        connection.sendall(request(b"Content-Length: 1000", start=start, length=False))
        answer_of(connection)
        with suppress(ConnectionError):
            connection.sendall(b"x" * 1000 + request(start=start))
            assert connection.recv(1) == b""


def test_rule_4_a_signature_in_a_trailer_is_ignored(running: Running) -> None:
    head = request(*lines(x_hub_signature_256=None), b"Transfer-Encoding: chunked", length=False)
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    trailer = b"X-Hub-Signature-256: " + signature(BODY) + b"\r\n\r\n"
    assert running.exchange(head + chunk + trailer)[0] == 401


def test_a_port_in_use_raises_an_error_with_the_settings_key() -> None:
    taken = listen(settings(server={"port": 0}))
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError) as rejected:
            listen(settings(server={"port": port}))
    assert rejected.value.problems == (
        (
            f"settings (server.port): cannot listen on 127.0.0.1:{port}: Address already in use;"
            " choose a free port with server.port or --port"
        ),
    )


def test_a_host_that_is_not_of_this_machine_is_named_by_its_key() -> None:
    for host in ("192.0.2.1", "no-such-name.invalid"):
        with pytest.raises(SettingsError) as rejected:
            listen(settings(server={"host": host, "port": 0}))
        (problem,) = rejected.value.problems
        assert problem.startswith(f"settings (server.host): cannot listen on {host}:0: ")


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses_are_those_of_ipv4_too(host: str) -> None:
    with listen(settings(server={"host": host, "port": 0})) as listening:
        port = listening.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=5).close()


def test_rule_3_connection_that_sends_nothing_is_closed_without_a_response(
    impatient: Running,
) -> None:
    with impatient.connection() as connection:
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "sent", [b"POST /webhook HTTP/1.1\r\nHost:", b"\r\n"], ids=["headers", "empty lines"]
)
def test_rule_3_connection_whose_head_is_late_is_closed(impatient: Running, sent: bytes) -> None:
    with impatient.connection() as connection:
        connection.sendall(sent)
        assert connection.recv(1) == b""


def test_rule_3_slow_sending_does_not_extend_the_time_of_a_head(impatient: Running) -> None:
    def is_closed_while_sending(connection: socket.socket, sent: bytes) -> bool:
        """Send one byte each 10 ms; return True if the server closes the connection before the
        last.
        """
        connection.settimeout(0.01)
        with suppress(ConnectionError):
            for byte in sent:
                connection.sendall(bytes([byte]))
                with suppress(TimeoutError):
                    return connection.recv(1) == b""
            return False
        return True

    with impatient.connection() as connection:
        assert is_closed_while_sending(connection, request(b"X: " + b"x" * 1000, start=GET))


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\n"], ids=["nothing", "a part"])
def test_rule_3_connection_without_a_second_request_is_closed(
    impatient: Running, sent: bytes
) -> None:
    with impatient.connection() as connection:
        connection.sendall(request(start=GET))
        assert answer_of(connection)[0] == 200
        connection.sendall(sent)
        assert connection.recv(1) == b""


def test_rule_3_connection_whose_client_does_not_read_is_closed(large: Running) -> None:
    with large.connection() as connection:
        connection.sendall(request(start=b"GET / HTTP/1.1"))
        assert connection.recv(1) == b"H"
        wait_until(lambda: not large.connections)
