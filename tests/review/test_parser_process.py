"""Parsers run in a child process, which is replaced if it takes too long."""

from __future__ import annotations

import pytest

from hls_handler.errors import Permanent
from hls_handler.review import parser_process
from hls_handler.review.names import find_named

STUCK = "a<" + "\na<" * 20_000
"""tree-sitter's grammar of Java needs minutes for the end of this text, and asks nobody whether it
may.
"""


def test_a_text_that_a_parser_needs_minutes_for_ends_only_its_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(parser_process, "TIMEOUT_S", 0.5)
        with pytest.raises(Permanent, match="a file could not be parsed in time"):
            find_named(STUCK, "A.java", [0])
    assert [one.name for one in find_named("class Box {}", "A.java", [0])] == ["Box", "Box"]
