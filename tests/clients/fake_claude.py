"""Fake Claude server on loopback: sends each prepared response once and records the requests."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from tests.clients.fake_network import HOST, Quiet, Server

KEY = "sk-ant-secretsecretsecret"


@dataclass(frozen=True)
class Say:
    """One prepared response."""

    status: int = 200
    body: Any = None  # JSON, or bytes as they are
    headers: dict[str, str] = field(default_factory=dict)
    kind: Literal["answer", "cut", "drop", "hang"] = "answer"


def message(text: str, *, stop_reason: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    """Return a response of the Messages API."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 1000},
        **more,
    }


def error(kind: str, text: str, **details: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": text, **({"details": details} if details else {})}}


class FakeClaude:
    def __init__(self) -> None:
        self.says: list[Say] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._released = threading.Event()
        self._server = Server((HOST, 0), self._handler()).__enter__()

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self._server.port}"

    def close(self) -> None:
        self._released.set()
        self._server.__exit__()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(Quiet):
            def serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                fake.paths.append(f"{self.command} {self.path}")
                fake.headers.append({name.lower(): value for name, value in self.headers.items()})
                fake.asked.append(json.loads(self.rfile.read(length)) if length else {})
                say = fake.says.pop(0)
                if say.kind == "hang":
                    fake._released.wait(30)
                if say.kind in ("drop", "hang"):
                    self.close_connection = True
                    return
                raw = say.body if isinstance(say.body, bytes) else json.dumps(say.body).encode()
                self.send_response(say.status)
                headers = {"Content-Type": "application/json", **say.headers, "Content-Length": str(len(raw))}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.close_connection = say.kind == "cut"
                self.wfile.write(raw[: len(raw) // 2] if say.kind == "cut" else raw)

            do_GET = do_POST = serve  # noqa: N815 (the names that http.server looks for)

        return Handler
