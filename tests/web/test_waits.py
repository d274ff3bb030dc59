"""How long a connection is waited for, on a clock that only the test moves: no socket, no loop, no waiting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from hls_handler.web.protocol import Protocol
from hls_handler.web.serving import Server, server
from tests.web.fakes import Surroundings, settings

HEAD = b"POST /webhook HTTP/1.1\r\nHost: hls\r\nContent-Length: 10\r\n"


class Handle:
    def cancel(self) -> None:
        """uvicorn's own timer for kept connections: here it never rings."""


class StoppedLoop:
    """A loop that keeps what it is asked to run, and runs it never or by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tasks: list[Coroutine[Any, Any, None]] = []

    def time(self) -> float:
        return self.now

    def create_task(self, work: Coroutine[Any, Any, None]) -> StoppedLoop:
        self.tasks.append(work)
        return self

    def add_done_callback(self, _call: Callable[..., None]) -> None:
        """The tasks here are nobody's business but the test's."""

    def call_later(self, _delay_s: float, _call: Callable[..., None]) -> Handle:
        return Handle()


@dataclass
class Wire(asyncio.Transport):
    """A transport that keeps what is written; `closing` and then `aborted` are what a socket would see."""

    written: bytes = b""
    closing: bool = False
    aborted: bool = False
    extra: dict[str, object] = field(default_factory=dict)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.extra.get(name, default)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        """Nothing is read here but what the test hands on."""

    def resume_reading(self) -> None:
        """Likewise."""


class Clients:
    """The server, and clients that connect to it one after the other."""

    def __init__(self, most: int = 500) -> None:
        self.loop = StoppedLoop()
        self.allow(most)
        self.server: Server = server(Surroundings(self.settings).app(), lambda: self.settings)
        self.server.config.load()

    def allow(self, most: int) -> None:
        self.settings = settings(server={"max_connections": most, "header_timeout_s": 10})

    def connect(self, sent: bytes = b"") -> tuple[Wire, Protocol]:
        wire = Wire()
        make = cast("Callable[..., Protocol]", self.server.config.http_protocol_class)
        protocol = make(config=self.server.config, server_state=self.server.server_state, app_state={}, _loop=self.loop)
        protocol.connection_made(wire)
        if sent:
            protocol.data_received(sent)
        return wire, protocol

    def after(self, seconds: float) -> None:
        self.loop.now += seconds
        self.server.end_waits(self.loop.now)

    def answer(self, protocol: Protocol) -> None:
        """To its newest request, in a word."""
        send: Callable[[Any], Coroutine[Any, Any, None]] = protocol.cycle.send
        for message in (
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]},
            {"type": "http.response.body", "body": b"ok"},
        ):
            with pytest.raises(StopIteration):
                send(message).send(None)

    def close(self) -> None:
        for task in self.loop.tasks:
            task.close()


@pytest.fixture
def clients() -> Any:
    made = Clients()
    yield made
    made.close()


@pytest.fixture
def few() -> Any:
    made = Clients(most=16)
    yield made
    made.close()


def test_rule_3_a_connection_that_sends_nothing_is_closed_without_a_word(clients: Clients) -> None:
    wire, _ = clients.connect()
    clients.after(9.9)
    assert not wire.closing
    clients.after(0.1)
    assert (wire.closing, wire.written) == (True, b"")


def test_rule_3_headers_that_drip_are_408_however_they_drip(clients: Clients) -> None:
    wire, protocol = clients.connect()
    for piece in HEAD[:10]:
        clients.after(0.9)
        protocol.data_received(bytes((piece,)))
    assert not wire.closing
    clients.after(1.1)
    assert wire.closing
    assert wire.written.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert wire.written.endswith(b'{"detail":"the headers did not arrive within 10 s"}')


def test_rule_3_empty_lines_before_a_request_gain_no_time(clients: Clients) -> None:
    wire, protocol = clients.connect()
    for _ in range(10):
        clients.after(1)
        protocol.data_received(b"\r\n")
    assert wire.closing


def test_rule_3_a_kept_connection_is_closed_when_nothing_more_comes(clients: Clients) -> None:
    wire, protocol = clients.connect(b"GET /health HTTP/1.1\r\nHost: hls\r\n\r\n")
    clients.after(100)
    assert not wire.closing, "it was our turn"
    clients.answer(protocol)
    clients.after(14.9)
    assert not wire.closing
    clients.after(0.1)
    assert wire.closing
    assert wire.written.count(b"HTTP/1.1") == 1


def test_rule_3_the_next_headers_on_a_kept_connection_have_their_deadline_from_their_first_byte(
    clients: Clients,
) -> None:
    wire, protocol = clients.connect(b"GET /health HTTP/1.1\r\nHost: hls\r\n\r\n")
    clients.answer(protocol)
    clients.after(14)
    protocol.data_received(b"G")
    clients.after(9.9)
    assert not wire.closing
    clients.after(0.1)
    assert wire.closing
    assert b"408 Request Timeout" in wire.written


def test_rule_3_who_does_not_read_the_answer_is_cut_off(clients: Clients) -> None:
    wire, protocol = clients.connect(b"GET /health HTTP/1.1\r\nHost: hls\r\n\r\n")
    protocol.pause_writing()
    protocol.data_received(b"GET /stats HTTP/1.1\r\n")
    clients.after(9.9)
    assert not wire.aborted
    clients.after(0.1)
    assert wire.aborted


def test_rule_3_who_reads_again_in_time_is_served_on(clients: Clients) -> None:
    wire, protocol = clients.connect(b"GET /health HTTP/1.1\r\nHost: hls\r\n\r\n")
    protocol.pause_writing()
    clients.after(9)
    protocol.resume_writing()
    clients.after(9)
    assert not wire.closing


def test_rule_3_a_connection_that_cannot_be_closed_in_peace_is_cut_off(clients: Clients) -> None:
    """What we wrote last is still on the way, and nobody takes it."""
    wire, _ = clients.connect(b"not HTTP\r\n\r\n")
    silent, _ = clients.connect()
    clients.after(10)
    assert (wire.aborted, silent.closing, silent.aborted) == (True, True, False)
    clients.after(10)
    assert silent.aborted


@pytest.mark.parametrize(
    "sent", [b"", b"P", HEAD, HEAD + b"\r\n", HEAD + b"\r\n123"], ids=["nothing", "a byte", "head", "no body", "body"]
)
def test_rule_3_at_the_bound_the_longest_silent_connection_makes_room(few: Clients, sent: bytes) -> None:
    wires = []
    for _ in range(16):
        wires.append(few.connect(sent)[0])
        few.after(0.1)
    webhook, _ = few.connect(HEAD + b"\r\n0123456789")
    assert [wire.aborted for wire in wires] == [True] + [False] * 15
    few.connect()
    assert [wire.aborted for wire in wires] == [True, True] + [False] * 14
    assert not webhook.closing


def test_a_lower_bound_holds_from_the_next_connection_on(clients: Clients) -> None:
    wires = [clients.connect()[0] for _ in range(20)]
    clients.allow(16)
    clients.connect()
    assert [wire.aborted for wire in wires] == [True] * 5 + [False] * 15


def test_rule_3_a_whole_request_never_makes_room(few: Clients) -> None:
    served = [few.connect(HEAD + b"\r\n0123456789")[0] for _ in range(15)]
    for _ in range(3):
        few.connect()
    assert [wire.closing for wire in served] == [False] * 15


def test_rule_3_when_all_are_being_served_who_comes_is_told_to_try_again(few: Clients) -> None:
    served = [few.connect(HEAD + b"\r\n0123456789")[0] for _ in range(16)]
    wire, _ = few.connect()
    assert wire.closing
    assert wire.written.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 30\r\n" in wire.written
    assert [wire.closing for wire in served] == [False] * 16


def test_a_full_house_is_told_once_a_minute(few: Clients, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(20):
        few.connect()
    few.after(1)
    few.connect()
    few.after(1)
    told = [(record.message, record.__dict__["closed"]) for record in caplog.records]
    assert told == [("too many connections: the longest silent ones were closed", 4)]


def test_rule_3_more_than_a_hundred_headers_are_400(clients: Clients) -> None:
    for many, rest in ((b"a:\r\n" * 102, b""), (b"a:\r\n" * 101, b"\r\n"), (b"a:\r\n" * 60_000, b"")):
        wire, _ = clients.connect(b"GET /health HTTP/1.1\r\n" + many + rest)
        assert wire.closing
        assert wire.written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    wire, _ = clients.connect(b"GET /health HTTP/1.1\r\n" + b"a:\r\n" * 100 + b"\r\n")
    assert not wire.closing
