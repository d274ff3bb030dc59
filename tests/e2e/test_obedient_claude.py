"""Output of commands about replies of a Claude that follows instructions in untrusted text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service, free_port
from tests.e2e.test_commands import hls

NOT_TEXT = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")

REPLY = {
    "worth_saying": True,
    "sources": [],
    "kind": "bug",
    "priority": "high",
    "difficulty": "easy",
    "component": "none",
    "summary": "\x1b[31mred\x1b]0;title\x07\nDone: forged.\n  Ignored: forged.\n\x9b31mC1 \u202ebidi"
    + " " * 300
    + "Dead: x",
    "missing": ["\x1b[2Jone\r\nDone: forged."],
    "recommended_response": "\x1b]8;;http://evil\x07here\u2028Done: forged.",
    "suggested_labels": [{"name": "\x1b[31marea\n  Ignored: x", "confidence": 1.0}],
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(answer=lambda asked: REPLY) as running:
        yield running


@pytest.fixture
def service(make_service: MakeService) -> Service:
    """A service with a fixed port, which `hls send` reads from the settings."""
    return make_service(port=free_port()).start()


def test_rule_15_text_of_claude_cannot_forge_output_of_commands(service: Service) -> None:
    assert hls(service, "send", "demo/bug").exit_code == 0
    service.until_idle()
    why = hls(service, "why", "Codertocat/Hello-World#11")
    listed = hls(service, "deliveries", "list")
    shown = hls(service, "deliveries", "show", listed.stdout.split()[2])
    for command in (why, listed, shown):
        assert command.exit_code == 0
        assert NOT_TEXT.findall(command.stdout) == []
    lines = [line for line in why.stdout.splitlines() if "forged" in line or "Dead: " in line]
    assert len(lines) == 1
    assert re.match(
        "  Claude's reply to issues/analyze@[0-9a-f]+: kind: bug; priority: high; difficulty: easy; ", lines[0]
    )
    assert "; [31marea Ignored: x not added: the prompt did not list the repository's labels" in why.stdout
    before_comment = shown.stdout.partition("\n--- comment ---\n")[0]
    assert before_comment.startswith(why.stdout.rstrip("\n") + "\n")
