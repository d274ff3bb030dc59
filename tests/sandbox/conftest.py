"""A running sandbox, and requests to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from hls_handler.prompting import recorded
from tests.github_fake.server import Sandbox

REPOSITORY = "Codertocat/Hello-World"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    text: str

    @property
    def document(self) -> Any:
        return json.loads(self.text)


def ask(
    base_url: str,
    method: str,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one HTTP request; a body that is not bytes is sent as JSON."""
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    raw = (
        body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    )
    sent = {
        "User-Agent": "test",
        **({"Content-Type": "application/json"} if raw is not None else {}),
        **(headers or {}),
    }
    try:
        connection.request(
            method, parts.path.rstrip("/") + path, raw, {k: v for k, v in sent.items() if v}
        )
        response = connection.getresponse()
        text = response.read().decode()
        return Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, text
        )
    finally:
        connection.close()


def seed_story(sandbox: Sandbox, *names: str) -> None:
    for name in names or ("demo/bug", "demo/question", "demo/feature"):
        one = recorded.load(name)
        sandbox.state.seed(one.event, one.payload)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running
