"""`--json`: one document on standard output, with the keys that docs/cli.md lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from hls_handler.cli import COMMANDS, load_command
from hls_handler.console.openapi import make_document
from hls_handler.store.storage import Storage
from tests.cli.conftest import SETTINGS, Hls
from tests.prompting.samples import copy_shipped
from tests.queue.builders import dead_letter

PAGE = Path("docs/cli.md").read_text(encoding="utf-8").split("## JSON")[1]
DOCUMENTED = dict(re.findall(r"^- `(hls [^`]+)`: (.*(?:\n  .*)*)$", PAGE, re.MULTILINE))


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
    names = {name for name, command in found if any("--json" in one.opts for one in command.params)}
    batches = {name for name in names if name.startswith("hls batch ")}
    assert len(batches) == 7
    assert (names - batches) | {"hls batch"} == set(DOCUMENTED)


def test_documents_have_the_documented_keys(hls: Hls, folder: Path, store: Storage) -> None:
    def run(*arguments: str) -> Any:
        result = hls(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    dead_letter(store, "dead-1")
    explained = run("config", "explain", "https://github.com/octo/widgets")
    source = f"{folder}/settings.yaml:3 (repositories[0].name)"
    assert explained["settings"][0] == {"key": "name", "value": "octo/widgets", "source": source}
    assert_documented(explained, "hls config explain")
    listed = run("deliveries", "list")
    assert [(one["delivery"], one["state"]) for one in listed["deliveries"]] == [("dead-1", "dead")]
    schemas = make_document()["components"]["schemas"]
    assert set(listed["deliveries"][0]) == set(schemas["ListedDelivery"]["properties"])
    assert run("deliveries", "show", "dead-1")["delivery"] == "dead-1"
    assert run("deliveries", "list", "--state", "queued") == {"deliveries": []}


def test_prompts_are_listed_without_a_database_and_a_token(hls: Hls, folder: Path) -> None:
    copy_shipped(folder, "comments", "issues", "releases")
    settings = SETTINGS.replace("a-token", '"${UNSET}"')
    (folder / "settings.yaml").write_text(f"{settings}prompts: {{directory: prompts}}\n")
    result = hls("prompts", "list", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert (document["prompts"][0]["name"], document["prompts"][0]["on"]) == (
        "comments/reply",
        ["issue_comment.created"],
    )
    assert_documented(document, "hls prompts list")
