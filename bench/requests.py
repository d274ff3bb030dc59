"""Webhook requests ready to be sent: recorded payloads, each under an id and a thread of its own, signed."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator

from hls_handler.prompting import recorded
from hls_handler.web.webhook import sign

SECRET = "a-secret-for-measurements"
NAMES = (
    "issues.opened.3",
    "pull_request.opened",
    "issues.opened.4",
    "pull_request.opened.2",
    "pull_request.reopened",
    "pull_request.synchronize",
)
"""All between 12 and 24 kB, and all of events that are worked on."""

_PLACE = 987654321


def webhooks() -> Iterator[tuple[str, bytes]]:
    """Events and bodies without end. Their threads' numbers differ: none is a replay, and none waits for another."""
    templates = [_template(name) for name in NAMES]
    for number in itertools.count(1):
        event, parts = templates[number % len(templates)]
        yield event, str(number).encode().join(parts)


def signed_request(event: str, body: bytes, path: str = "/webhook") -> bytes:
    """The whole HTTP request, with the headers that GitHub sends."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: GitHub-Hookshot/bench\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-GitHub-Event: {event}\r\nX-GitHub-Delivery: {uuid.uuid4()}\r\n"
        f"X-GitHub-Hook-ID: 109948940\r\nX-GitHub-Hook-Installation-Conversation-ID: 79929171\r\n"
        f"X-GitHub-Hook-Installation-Conversation-Type: repository\r\nX-Hub-Signature: sha1={'0' * 40}\r\n"
        f"X-Hub-Signature-256: {sign(SECRET.encode(), body).decode()}\r\n\r\n"
    )
    return head.encode() + body


def _template(name: str) -> tuple[str, list[bytes]]:
    """The event, and the body cut where the thread's number belongs."""
    payload = recorded.load(name)
    whole = payload.payload
    thread = whole["issue" if payload.event == "issues" else "pull_request"]
    assert isinstance(thread, dict)
    thread["number"] = _PLACE
    return payload.event, json.dumps(whole, separators=(",", ":")).encode().split(str(_PLACE).encode())
