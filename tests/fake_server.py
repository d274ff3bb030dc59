"""HTTP server on loopback that sends each prepared response once, in their order, and records the
requests.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tests.fake_network import HOST, Quiet, Server

RESET = struct.pack("ii", 1, 0)  # closing sends RST


@dataclass(frozen=True)
class Say:
    """One prepared response."""

    status: int = 200
    body: Any = None  # JSON, or bytes as they are
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["answer", "cut", "reset", "drop", "hang", "drip", "drip_headers"] = "answer"
    """`cut` and `reset` end the connection in the middle of the body. `drip` sends the body byte by byte, `drip_headers` the whole response, until the client gives
    up.
    """


@dataclass(frozen=True)
class Seen:
    """One complete request."""

    call: str  # "GET /repos/o/r"
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: Any  # parsed JSON


class FakeServer:
    def __init__(self) -> None:
        self.says: list[Say] = []
        self.seen: list[Seen] = []
        self.connections = 0
        self._released = threading.Event()
        self._server = Server((HOST, 0), self._handler()).__enter__()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.port}"

    @property
    def calls(self) -> list[str]:
        return [seen.call for seen in self.seen]

    def close(self) -> None:
        self._released.set()
        self._server.__exit__()

    def _drip(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        with suppress(OSError):
            for byte in content:
                handler.wfile.write(bytes([byte]))
                if self._released.wait(0.02):
                    return

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(Quiet):
            def setup(self) -> None:
                super().setup()
                fake.connections += 1

            def serve(self) -> None:
                length, place = int(self.headers.get("Content-Length") or 0), urlsplit(self.path)
                sent = self.rfile.read(length)
                if len(sent) < length:
                    return  # the client gave up
                query = {name: values[0] for name, values in parse_qs(place.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                fake.seen.append(
                    Seen(f"{self.command} {place.path}", query, headers, json.loads(sent or "null"))
                )
                say = fake.says.pop(0)
                if say.kind == "hang":
                    fake._released.wait(30)
                self.close_connection = say.kind != "answer"
                if say.kind not in ("drop", "hang"):
                    self.respond(say)

            def respond(self, say: Say) -> None:
                raw = (
                    b""
                    if say.body is None
                    else say.body
                    if isinstance(say.body, bytes)
                    else json.dumps(say.body).encode()
                )
                self.send_response(say.status)
                if say.kind == "drip_headers":
                    fake._drip(self, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 60_000)
                    return
                headers = {"Content-Type": "application/json", **say.headers}
                if "Transfer-Encoding" not in headers:
                    headers.setdefault("Content-Length", str(len(raw)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if say.kind == "drip":
                    fake._drip(self, raw)
                    return
                self.wfile.write(raw[: len(raw) // 2] if say.kind in ("cut", "reset") else raw)
                if say.kind == "reset":
                    self.wfile.flush()
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    self.connection.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 (the names that http.server looks for)

        return Handler
