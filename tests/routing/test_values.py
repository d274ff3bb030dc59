"""The input of routing, built from the envelope and from the parsed event."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from hls_handler.errors import PayloadError
from hls_handler.events import parse_event
from hls_handler.github.comments import marker
from hls_handler.routing import (
    MARKER,
    RoutingInput,
    WebhookEnvelope,
    from_envelope,
    from_event,
    parse_envelope,
)


def test_input_has_title_labels_author_and_sender_of_an_issue() -> None:
    body = {
        "action": "edited",
        "repository": {"id": 1, "full_name": "octo/hello"},
        "sender": {"login": "renovate[bot]", "id": 2, "type": "Bot"},
        "issue": {
            "number": 7,
            "title": "Crash",
            "labels": [{"name": "bug"}, {"name": "ui"}],
            "user": {"login": "mona", "id": 3, "type": "User"},
        },
        "changes": {"body": {"from": "x"}},
    }
    assert from_envelope("issues", parse_envelope(json.dumps(body).encode())) == RoutingInput(
        event="issues",
        action="edited",
        repository="octo/hello",
        sender="renovate[bot]",
        sender_is_bot=True,
        author="mona",
        author_is_bot=False,
        title="Crash",
        labels=("bug", "ui"),
        draft=False,
        changed=frozenset({"body"}),
    )


@pytest.mark.parametrize(
    ("part", "author", "marked"),
    [
        (
            {
                "comment": {
                    "id": 5,
                    "user": {"login": "hls", "id": 9},
                    "body": f"Hi\n\n{marker('issues')}",
                }
            },
            "hls",
            True,
        ),
        (
            {
                "review": {
                    "id": 1,
                    "state": "approved",
                    "user": {"login": "mona", "id": 3},
                    "body": "LGTM",
                }
            },
            "mona",
            False,
        ),
        ({"review": {"id": 1, "state": "commented", "user": None, "body": None}}, None, False),
        ({}, None, False),
    ],
    ids=["our comment", "a review", "a ghost's", "none"],
)
def test_input_has_author_and_text_of_the_comment_or_review(
    part: dict[str, Any], author: str | None, marked: bool
) -> None:
    body = {"repository": {"id": 1, "full_name": "octo/hello"}, "action": "created", **part}
    routing_input = from_event(parse_event("commit_comment", "guid", json.dumps(body).encode()))
    assert (routing_input.comment_author, MARKER in routing_input.comment_body) == (author, marked)
    assert not routing_input.draft


@pytest.mark.parametrize("number", ["1e400", "9" * 5000], ids=["float", "integer"])
def test_number_out_of_range_is_rejected_in_the_envelope_and_elsewhere_by_the_worker(
    number: str,
) -> None:
    with pytest.raises(PayloadError, match=r"repository\.id"):
        parse_envelope(f'{{"repository": {{"id": {number}}}}}'.encode())
    body = f'{{"x": "{"x" * 63}", "y": {number}, "z": 1}}'.encode()
    assert parse_envelope(body) == WebhookEnvelope()
    with pytest.raises(
        PayloadError, match=r"the body of the event push cannot be read: .* out of range"
    ):
        parse_event("push", "guid", body)


def test_text_that_is_not_utf8_is_rejected_in_every_field() -> None:
    with pytest.raises(PayloadError, match="not UTF-8"):
        parse_envelope(b'{"x": {"title": "\xed\xa0\x80"}}')


FIRST_ENVELOPES_IN_THREADS = """
import os, sys, threading
from hls_handler.prompting import recorded
from hls_handler.routing import from_event

event = recorded.load("demo/bug")

def build_at_once():
    sys.setswitchinterval(1e-6)
    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=lambda: (barrier.wait(), from_event(event))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

for _ in range(8):
    child = os.fork()
    if not child:
        build_at_once()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "a process crashed"
"""
"""Without the first use at import, 8 of 20 processes crashed."""


def test_workers_that_build_the_first_routing_input_at_once_do_not_crash_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_ENVELOPES_IN_THREADS],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
