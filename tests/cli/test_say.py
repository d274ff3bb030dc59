"""What the commands print: no text of anybody acts on a terminal or passes for a line of ours."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from hls_handler.cli.say import say, say_lines


def test_rule_15_a_line_that_is_said_stays_one_line_and_does_nothing_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("\x1b[31mred\x1b]0;title\x07\nDone: forged.\r\x9b2J\u202e\u2028\ud800 Grüße")
    assert (
        capsys.readouterr().out
        == "\\x1b[31mred\\x1b]0;title\\x07\\nDone: forged.\\r\\x9b2J\\u202e\\u2028\\ud800 Grüße\n"
    )


def test_rule_15_many_lines_keep_their_newlines_and_tabs_only(capsys: pytest.CaptureFixture[str]) -> None:
    say_lines("one\n\ttwo\r\x1b[2J\u2066\x0b")
    assert capsys.readouterr().out == "one\n\ttwo\\r\\x1b[2J\\u2066\\x0b\n"


def test_rule_15_every_command_prints_by_say() -> None:
    """`echo`, `print` and their like are called in say.py only."""
    printing = [
        f"{path.name}:{node.lineno}"
        for path in sorted(Path("hls_handler/cli").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in {"echo", "secho", "print", "write"}
        and path.name != "say.py"
    ]
    assert printing == []
