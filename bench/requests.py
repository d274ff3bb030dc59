"""Signed webhook requests: recorded payloads with unique delivery ids and conversation numbers."""

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
"""Payloads of 12 to 24 kB, of events that are processed."""

_NUMBER, _FIRST_NUMBER = 987654321, 100_000_001  # of as many digits


def webhooks() -> Iterator[tuple[str, bytes]]:
    """Yield (event, body) without end. Each has its own conversation and commit: none is a replay
    or blocks another.
    """
    templates = [_template(name) for name in NAMES]
    for number in itertools.count(_FIRST_NUMBER):
        event, parts = templates[number % len(templates)]
        yield event, str(number).encode().join(parts)


def signed_request(event: str, body: bytes, path: str = "/webhook") -> bytes:
    """Return the bytes of the HTTP request, with the headers that GitHub sends."""
    headers = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: GitHub-Hookshot/bench\r\nAccept:"
        f" */*\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nX-GitHub-Event:"
        f" {event}\r\nX-GitHub-Delivery: {uuid.uuid4()}\r\nX-GitHub-Hook-ID:"
        " 109948940\r\nX-GitHub-Hook-Installation-Conversation-ID:"
        " 79929171\r\nX-GitHub-Hook-Installation-Conversation-Type: repository\r\nX-Hub-Signature:"
        f" sha1={'0' * 40}\r\nX-Hub-Signature-256: {sign(SECRET.encode(), body).decode()}\r\n\r\n"
    )
    return headers.encode() + body


def _template(name: str) -> tuple[str, list[bytes]]:
    """Return the event, and the parts of the body between the occurrences of the conversation's
    number.

    The head commit of a pull request contains the number: GitHub accepts 1,000 statuses of one
    commit.
    """
    payload = recorded.load(name)
    fields = payload.payload
    conversation = fields["issue" if payload.event == "issues" else "pull_request"]
    assert isinstance(conversation, dict)
    conversation["number"] = _NUMBER
    if payload.event == "pull_request":
        conversation["head"]["sha"] = f"{_NUMBER:040}"
    return payload.event, json.dumps(fields, separators=(",", ":")).encode().split(
        str(_NUMBER).encode()
    )
