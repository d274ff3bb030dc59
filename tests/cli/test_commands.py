"""The command `hls` itself: help, version, completion, and what it imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hls_handler import __version__
from hls_handler.cli import COMMANDS, app, load_command
from hls_handler.settings.shipped import find_commit


def test_help_of_hls_shows_the_first_sentence_of_each_command() -> None:
    texts = {name: load_command(name).help or "" for name in COMMANDS}
    assert [name for name, text in texts.items() if not text.startswith(COMMANDS[name][1])] == []


def test_help_leaves_out_what_docs_cli_md_says_once() -> None:
    commands = CliRunner().invoke(app, ["--help"]).stdout
    assert "\n  up " not in commands
    assert "Exit codes" not in commands
    of_a_command = CliRunner().invoke(app, ["check", "--help"]).stdout
    assert "--no-color" not in of_a_command
    assert "Exit codes" not in of_a_command


@pytest.mark.parametrize("group", ["batch", "config", "deliveries", "prompts"])
def test_help_of_a_group_shows_whole_sentences(group: str) -> None:
    shown = CliRunner().invoke(app, [group, "--help"]).stdout
    assert "..." not in shown.partition("Commands:")[2]


def test_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"hls {__version__} ({find_commit()})\n")


def test_unknown_command_is_answered_with_a_similar_one() -> None:
    result = CliRunner().invoke(app, ["prompt"])
    assert result.exit_code == 2
    assert "No such command 'prompt'. Did you mean 'prompts'?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("deliveries list --limit 0", "'--limit': expected at least 1"),
        ("deliveries list --limit x", "'--limit': expected a whole number"),
        ("deliveries list --state bad", "'--state': 'bad' is not one of 'queued', 'running',"),
        ("serve --port 65536", "'--port': expected at most 65535"),
        ("listen --every x", "'--every': expected a number\n"),
    ],
)
def test_wrong_value_of_an_option_is_named_in_our_words(arguments: str, message: str) -> None:
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 2
    assert f"Error: Invalid value for {message}" in result.stderr


def test_recorded_payloads_are_listed_with_a_limit() -> None:
    shown = CliRunner().invoke(app, ["send", "--list", "--json", "--limit", "2"])
    assert json.loads(shown.stdout) == {
        "payloads": ["branch_protection_rule.edited", "branch_protection_rule.created"]
    }
    lines = CliRunner().invoke(app, ["send", "--list", "--limit", "2"])
    assert lines.stdout.splitlines() == [
        "branch_protection_rule.edited",
        "branch_protection_rule.created",
    ]
    assert CliRunner().invoke(app, ["send", "demo/bug", "--json"]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "completed"),
    [("hls prom", "prompts\n"), ("hls deliveries list --li", "--limit\n")],
    ids=["command", "option"],
)
def test_shell_completes_commands_and_options(words: str, completed: str) -> None:
    environ = {
        "_HLS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    result = CliRunner().invoke(app, [], prog_name="hls", env=environ)
    assert (result.exit_code, result.stdout) == (0, completed)


def test_help_imports_no_command_and_no_large_library() -> None:
    code = (
        "import sys, hls_handler.__main__ as program\ntry: program.main()\nfinally:"
        " print(sorted({name.partition('.')[0] for name in sys.modules} & {*sys.argv[2:]}),"
        " file=sys.stderr)"
    )
    libraries = [
        "alembic",
        "anthropic",
        "github",
        "jinja2",
        "psycopg",
        "pydantic",
        "rich",
        "sqlalchemy",
        "typer",
        "yaml",
    ]
    command = [sys.executable, "-c", code, "--help", *libraries]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True, check=True
    )
    assert ended.stderr == "['typer']\n"
    assert "serve       Receive and process webhooks" in ended.stdout
