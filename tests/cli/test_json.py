"""`--json`: one document on standard output, with the keys that docs/cli.md lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from hls_handler.cli import COMMANDS, app, load_command
from hls_handler.storage import Storage
from tests.prompting.samples import copy_shipped
from tests.queue.builders import dead_letter
from tests.sqlite import create_database

SETTINGS = """\
github: {token: "${UNSET}", webhook_secret: "0123456789abcdef"}
claude: {api_key: a-key}
repositories: [{name: octo/widgets}]
storage: {url: "sqlite:///hls.db"}
prompts: {directory: prompts}
"""
PAGE = Path("docs/cli.md").read_text(encoding="utf-8").split("## JSON")[1]
DOCUMENTED = dict(re.findall(r"^- `(hls [^`]+)`: (.*(?:\n  .*)*)$", PAGE, re.MULTILINE))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HLS_CONFIG", "settings.yaml")
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    copy_shipped(tmp_path, "comments", "issues", "releases")
    return tmp_path


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def keys(document: object) -> Iterator[str]:
    """Names of all keys, also of nested documents, except those of Claude's reply."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            if key != "reply":
                yield from keys(value)
    elif isinstance(document, list):
        for item in document:
            yield from keys(item)


def assert_documented(document: object, *commands: str) -> None:
    documented = " ".join(DOCUMENTED[command] for command in commands)
    assert set(keys(document)) <= set(re.findall("`([a-z_]+)`", documented))


def commands(command: TyperCommand | TyperGroup, name: str) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for sub_name, sub_command in command.commands.items():
            assert isinstance(sub_command, TyperCommand | TyperGroup)
            yield from commands(sub_command, f"{name} {sub_name}")
    else:
        yield name, command


def test_document_lists_the_commands_that_have_the_option() -> None:
    found = [one for name in COMMANDS for one in commands(load_command(name), f"hls {name}")]
    assert {name for name, command in found if any("--json" in one.opts for one in command.params)} == set(DOCUMENTED)


def test_prompts_are_listed_without_a_database(folder: Path) -> None:
    document = run("prompts", "list")
    assert document["prompts"][0]["name"] == "comments/reply"
    assert document["prompts"][0]["on"] == ["issue_comment.created"]
    assert_documented(document, "hls prompts list")


def test_settings_are_listed_with_their_sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSET", "a-token")
    document = run("config", "explain", "https://github.com/octo/widgets")
    assert document["settings"][0] == {
        "key": "name",
        "value": "octo/widgets",
        "source": f"{folder}/settings.yaml:3 (repositories[0].name)",
    }
    assert_documented(document, "hls config explain")


def test_deliveries_are_listed_and_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSET", "a-token")
    with closing(Storage.open(create_database(folder / "hls.db"))) as store:
        dead_letter(store, "dead-1")
    listed = run("deliveries", "list")
    assert [(one["delivery"], one["state"]) for one in listed["deliveries"]] == [("dead-1", "dead")]
    assert_documented(listed, "hls deliveries list")
    assert run("deliveries", "show", "dead-1")["delivery"] == "dead-1"
    assert run("deliveries", "list", "--state", "queued") == {"deliveries": []}
