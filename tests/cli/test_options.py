"""Output of the commands: untrusted text cannot control the terminal or imitate a line of
output.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from hls_handler.cli.options import http_origin
from hls_handler.cli.terminal import print_line, print_lines


def test_rule_15_a_printed_line_stays_one_line_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_line("\x1b[31mred\x1b]0;title\x07\nDone: forged.\r\x9b2J\u202e\u2028\ud800 Grüße")
    assert (
        capsys.readouterr().out
        == "\\x1b[31mred\\x1b]0;title\\x07\\nDone: forged.\\r\\x9b2J\\u202e\\u2028\\ud800 Grüße\n"
    )


def test_rule_15_several_lines_keep_only_newlines_and_tabs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_lines("one\n\ttwo\r\x1b[2J\u2066\x0b")
    assert capsys.readouterr().out == "one\n\ttwo\\r\\x1b[2J\\u2066\\x0b\n"


@pytest.mark.parametrize(
    ("host", "origin"), [("127.0.0.1", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000")]
)
def test_printed_address_has_an_ipv6_host_in_brackets(host: str, origin: str) -> None:
    assert http_origin(host, 8000) == origin


def test_rule_15_every_command_prints_with_terminal_py() -> None:
    """`echo`, `print` and similar functions are called only in terminal.py."""
    printing = [
        f"{path.name}:{node.lineno}"
        for path in sorted(Path("hls_handler/cli").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in {"echo", "secho", "print", "write"}
        and path.name != "terminal.py"
        and ast.unparse(node.func) != "self.wfile.write"  # a response of the page of `hls init`
    ]
    assert printing == []
