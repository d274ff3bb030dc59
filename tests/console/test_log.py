"""The page of the log, and its stream of new lines."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hls_handler.console.log import MAX_LINES_AT_ONCE, MAX_STREAMS, LogStream, LogStreams, StreamTimes
from hls_handler.console.pages import FOLDER
from hls_handler.log_ring import MAX_LINES, LogFilter, LogRing
from hls_handler.web.server import listen, make_server
from tests.console.browser import KEY, Browser
from tests.web.fakes import settings

EVIL = "</script><img src=x onerror=alert(2)>\u202e"
TIMEOUT_S = 20.0  # only a defect makes a test wait this long
FAST = StreamTimes(poll_s=0.002)


def line(message: str, level: str = "INFO", **fields: object) -> str:
    fixed = {
        "timestamp": "2026-11-20T12:00:00.123Z",
        "level": level,
        "logger": "hls_handler.engine",
        "message": message,
    }
    return json.dumps(fixed | fields)


def ring_of(*messages: str) -> LogRing:
    ring = LogRing()
    for message in messages:
        ring.add(line(message))
    return ring


def shown(page: str) -> list[str]:
    return re.findall(r'<span class="message">(.*?)</span>', page)


def test_page_lists_the_newest_lines_with_their_fields(browser: Browser) -> None:
    browser.sign_in()
    assert "No line matches these filters." in browser.get("/log").body.decode()
    for number in range(201):
        browser.log_ring.add(line(str(number)))
    browser.log_ring.add(line("last", "ERROR", delivery="g 1", due=None, took_s=1.5, exception="Traceback\n  x"))
    page = browser.get("/log").body.decode()
    assert shown(page)[:2] == ["last", "200"]
    assert len(shown(page)) == 200
    assert "These are the newest 200; filters find older ones." in page
    assert "Lines of this process only, since 2026-11-20 12:00:00; it keeps the newest 5,000." in page
    assert '<li class="error"><time>2026-11-20 12:00:00.123</time>' in page
    assert '<span class="name">delivery</span> <a href="/deliveries/g%201">g 1</a>' in page
    assert '<span class="name">took_s</span> <span>1.5</span>' in page
    assert '<span class="name">due' not in page
    assert '<pre tabindex="0">Traceback\n  x</pre>' in page


def test_page_has_filters(browser: Browser) -> None:
    browser.sign_in()
    browser.log_ring.add(line("a", "WARNING", delivery="g-1", repository="o/r"))
    browser.log_ring.add(line("b", delivery="g-2", request_id="r-2"))
    for query, found in (
        ("level=WARNING", ["a"]),
        ("id=g-1", ["a"]),
        ("id=+r-2+", ["b"]),
        ("repository=O%2FR", ["a"]),
        ("text=G-2&level=", ["b"]),
    ):
        assert shown(browser.get(f"/log?{query}").body.decode()) == found
    page = browser.get("/log?level=ERROR&id=x%26y").body.decode()
    assert '<option value="ERROR" selected>ERROR and above</option>' in page
    assert 'data-events="/log/events?level=ERROR&amp;id=x%26y"' in page
    assert "DEBUG" not in page  # logging.level is INFO


@pytest.mark.parametrize("path", ["/log", "/log/events"])
def test_invalid_filter_is_named(browser: Browser, path: str) -> None:
    response = browser.get(f"{path}?level=info", x_api_key=KEY)
    assert response.status == 400
    assert "level: found &#39;info&#39;, expected one of DEBUG, INFO, WARNING," in response.body.decode()
    unknown = browser.get(f"{path}?guid=1", x_api_key=KEY).body.decode()
    assert "there is no filter &#39;guid&#39;; expected one of level, id, repository, text." in unknown


def test_untrusted_text_is_escaped_and_truncated(browser: Browser) -> None:
    browser.sign_in()
    browser.log_ring.add(line(EVIL, delivery=EVIL, reason=[EVIL], exception=EVIL))
    browser.log_ring.add(line("x" * 2_001))
    page = browser.get("/log").body.decode()
    assert "x… [1 character cut]" in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;\\u202e" in page
    assert "<img" not in page
    assert "\u202e" not in page
    page = browser.get(f"/log?text={quote(EVIL)}").body.decode()
    assert "<img" not in page
    script = (FOLDER / "static/log.js").read_text()
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(", script)


class OwnConnection:
    """Stands for a connection of our server, under which a stream lasts as long as possible."""

    @contextmanager
    def pinned(self) -> Iterator[None]:
        yield

    def abort(self) -> None:
        raise AssertionError("the client accepts all data")


class Stream:
    """A client that reads a stream until `enough` events have arrived, and then disconnects."""

    def __init__(self, app: ASGIApp, path: str = "/", query: str = "", **headers: str) -> None:
        self._app, self.text, self.status = app, "", 0
        self.headers: dict[str, str] = {}
        given = {"host": "127.0.0.1:8000", "x_api_key": KEY, **headers}
        encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
        self.scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": encoded}
        self.scope["query_string"] = query.encode()
        self.scope["extensions"] = {"hls.stream": {"connection": OwnConnection()}}

    def read(self, enough: int = 10_000, *, then: Callable[[], object] = lambda: None, after: int = 0) -> None:
        asyncio.run(self.run(enough, then=then, after=after))

    async def run(self, enough: int = 10_000, *, then: Callable[[], object] = lambda: None, after: int = 0) -> None:
        """Read. Call `then` once, when `after` events have arrived. Ends at the latest with the stream."""
        gone, called = asyncio.Event(), False

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal called
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                return
            self.text += message["body"].decode()
            if len(self.events) >= after and not called:
                called = True
                then()
            if len(self.events) >= enough:
                gone.set()

        await asyncio.wait_for(self._app(self.scope, receive, send), TIMEOUT_S)

    @property
    def events(self) -> list[tuple[str, str, Any]]:
        """Name, id and content of each event."""
        found = re.findall(r"^event: (.*)\nid: (.*)\ndata: (.*)\n\n", self.text, re.MULTILINE)
        return [(name, position, json.loads(content)) for name, position, content in found]

    @property
    def messages(self) -> list[str]:
        return [content["message"] if name == "line" else name for name, _, content in self.events]


def stream_of(streams: LogStreams, position: str = "", wanted: LogFilter = LogFilter()) -> Stream:
    return Stream(LogStream(streams, wanted, position))


def test_stream_sends_the_lines_after_the_page_and_then_new_ones(browser: Browser) -> None:
    browser.log_ring.add(line("on the page"))
    page = browser.get("/log", x_api_key=KEY).body.decode()
    position = page.partition('data-position="')[2].partition('"')[0]
    browser.log_ring.add(line("between \u202e", "ERROR", delivery="g-1"))
    stream = Stream(browser.app, "/log/events", f"after={position}")
    stream.read(2, then=lambda: browser.log_ring.add(line("new")), after=1)
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert stream.text.startswith("retry: 2000\n\nevent: line\nid: ")
    assert stream.messages == ["between \\u202e", "new"]
    assert stream.events[0][2] == {
        "time": "2026-11-20 12:00:00.123",
        "level": "ERROR",
        "logger": "engine",
        "message": "between \\u202e",
        "fields": [{"name": "delivery", "value": "g-1", "link": "/deliveries/g-1"}],
        "trace": None,
    }


def test_lines_that_are_gone_are_counted() -> None:
    streams = LogStreams(ring_of(*map(str, range(MAX_LINES + 10))), FAST)
    stream = stream_of(streams, streams.position(4), LogFilter(text="4999"))
    stream.read(2)
    assert [(name, content.get("lines")) for name, _, content in stream.events] == [("missed", 6), ("line", None)]
    newest = stream_of(streams)  # without a position
    newest.read(1)
    assert (newest.messages[0], newest.messages[-1], len(newest.messages)) == ("4010", "5009", 1_000)


@pytest.mark.parametrize("position", ["00000000-2", "00000000-²"])
def test_position_of_another_process_leads_to_all_lines_of_this_one(position: str) -> None:
    stream = stream_of(LogStreams(ring_of("a", "b"), FAST), position)
    stream.read(3)
    assert stream.messages == ["other", "a", "b"]


def test_streams_are_limited_and_end_with_the_service() -> None:
    streams = LogStreams(ring_of("a"), FAST)

    async def open_streams(number: int) -> list[asyncio.Task[None]]:
        opened = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(stream_of(streams).run(then=opened.release, after=1)) for _ in range(number)]
        for _ in tasks:
            await asyncio.wait_for(opened.acquire(), TIMEOUT_S)
        return tasks

    async def scenario() -> None:
        tasks = await open_streams(MAX_STREAMS)
        full = stream_of(streams)
        await full.run()
        assert (full.status, full.headers["retry-after"]) == (503, "30")
        streams.end_all()
        await asyncio.gather(*tasks)
        (last,) = await open_streams(1)
        streams.stop()
        await last
        stopped = stream_of(streams)
        await stopped.run()
        assert stopped.status == 503

    asyncio.run(scenario())


@contextmanager
def serving(streams: LogStreams, ended: threading.Event) -> Iterator[int]:
    """A real server that allows 16 connections; the port. `ended` is set at the end of each stream."""

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await LogStream(streams, LogFilter(), "")(scope, receive, send)
        ended.set()

    given = settings(server={"port": 0, "max_connections": 16})
    bound = listen(given)
    short = Route("/short", lambda _request: Response("short"))
    server = make_server(Starlette(routes=[short, Mount("/log", app=stream)]), lambda: given)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield bound.getsockname()[1]
    finally:
        streams.stop()
        server.should_exit = True
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@contextmanager
def connected(port: int, path: str = "/log/") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: hls\r\n\r\n".encode())
        yield connection


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    text = b""
    while wanted not in text:
        more = connection.recv(65_536)
        assert more, text
        text += more
    return text


def test_open_stream_is_no_idle_connection() -> None:
    streams, ended = LogStreams(ring_of("first"), FAST), threading.Event()
    with serving(streams, ended) as port, connected(port) as stream, ExitStack() as idle:
        read_until(stream, b"first")
        silent = [idle.enter_context(connected(port, "/short")) for _ in range(40)]
        read_until(silent[-1], b"short")
        assert sum(not is_closed(one) for one in silent) == 16  # the stream does not count
        streams.ring.add(line("second"))
        read_until(stream, b"second")
        streams.end_all()
        read_until(stream, b"0\r\n\r\n")
        stream.sendall(b"GET /short HTTP/1.1\r\nHost: hls\r\n\r\n")  # counts again, as the newest
        read_until(stream, b"short")
        assert sum(not is_closed(one) for one in silent) == 15


def is_closed(connection: socket.socket) -> bool:
    """Return True if the server has closed the connection. Reads what has arrived."""
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


def test_client_that_reads_nothing_is_disconnected(caplog: pytest.LogCaptureFixture) -> None:
    streams, ended = LogStreams(LogRing(), replace(FAST, stalled_s=0.05)), threading.Event()
    with caplog.at_level(logging.WARNING), serving(streams, ended) as port, connected(port) as stream:
        read_until(stream, b"alive")
        while not ended.wait(0.005):
            for _ in range(MAX_LINES_AT_ONCE):
                streams.ring.add(line("x" * 2_000))
    assert caplog.messages == []


def test_changed_settings_end_open_streams(browser: Browser) -> None:
    stream = Stream(browser.app, "/log/events")
    stream.read(then=lambda: browser.apply(api_key="another-key-of-the-service"))
    assert stream.messages == ["alive"]
    again = Stream(browser.app, "/log/events")
    again.read()
    assert again.status == 303
    browser.console.stop()
    stopped = Stream(browser.app, "/log/events", x_api_key="another-key-of-the-service")
    stopped.read()
    assert stopped.status == 503
