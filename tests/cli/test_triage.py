"""`hls triage` against the sandbox, without a service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.cli.conftest import Hls
from tests.handlers.conversation import HOME, REPOSITORY, person

SETTINGS = """\
github: {{token: {sandbox.token}, webhook_secret: "0123456789abcdef", base_url: "{sandbox.github_url}"}}
claude: {{api_key: {sandbox.api_key}, base_url: "{sandbox.claude_url}"}}
storage: {{url: "sqlite:///hls.db"}}
repositories: [{{name: octo/hello, events: [issues]}}]
"""
OPEN = ("triage", REPOSITORY, "--open")


@pytest.fixture
def sandbox(folder: Path) -> Iterator[Sandbox]:
    """octo/hello with the open issues 7 and 8, of which 8 is locked."""
    with Sandbox() as running:
        for number in (7, 8):
            issue: dict[str, Any] = {"number": number, "title": "\x1b[31mCrash", "body": "It is."}
            issue |= {"user": person("mona"), "state": "open", "labels": [], "locked": number == 8}
            known = {"action": "opened", "repository": HOME, "sender": person("mona")}
            running.state.seed("issues", {**known, "issue": issue})
        (folder / "settings.yaml").write_text(SETTINGS.format(sandbox=running))
        yield running


def test_preview_says_what_it_costs_and_starts_nothing(
    hls: Hls, store: Storage, sandbox: Sandbox
) -> None:
    shown = hls(*OPEN)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[:4] == [
        "     #8  no: locked  [31mCrash",
        "     #7  yes  [31mCrash",
        "1 issue of octo/hello to process",
        "skipped: 1 locked",
    ]
    assert "cost: about $0.000" in shown.stdout
    assert shown.stdout.endswith("nothing was started; add --yes to start\n")
    assert store.triage.newest(most=9) == []


def test_run_without_a_service_waits_and_says_so(
    hls: Hls, store: Storage, sandbox: Sandbox
) -> None:
    shown = hls(*OPEN, "--yes")
    assert shown.exit_code == 0
    assert "#7      queued: waits" in shown.stdout
    assert "start it with `hls serve`" in shown.stderr
    again = hls(*OPEN, "--yes", "--comments", "--max-usd", "0.5")
    assert "run 1 goes on with at most $0.500, with comments" in again.stdout
    assert "run 1 goes on; `hls triage --undo 1` takes it back" in again.stdout
    assert "started" not in again.stdout
    (run,) = store.triage.newest(most=9)
    assert (run.max_usd, run.comments) == (0.5, True)


def test_run_of_a_paused_repository_says_why_it_waits(
    hls: Hls, store: Storage, sandbox: Sandbox
) -> None:
    assert hls("pause", "--reason", "a migration").exit_code == 0
    shown = hls(*OPEN, "--yes")
    assert "`hls resume` ends the pause" in shown.stderr


def test_json_is_one_document(hls: Hls, store: Storage, sandbox: Sandbox) -> None:
    plan = json.loads(hls(*OPEN, "--json").stdout)
    assert (plan["run"], plan["skipped"]) == (None, {"locked": 1})
    run = json.loads(hls(*OPEN, "--json", "--yes").stdout)
    assert (run["run"], run["state"], len(run["issues"])) == (1, "running", 1)
    undone = json.loads(hls("triage", "--undo", "1", "--yes", "--json").stdout)
    assert (undone["state"], undone["undo"]) == ("undone", [])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("triage", "--undo", "9", "--yes"), 1, "there is no triage run 9"),
        (("triage", "octo/gone", "--open"), 1, "octo/gone"),
        (("triage", "octo/hello"), 2, "--open"),
    ],
)
def test_wrong_use_is_explained(
    hls: Hls, store: Storage, sandbox: Sandbox, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = hls(*arguments)
    assert result.exit_code == code
    assert said in result.output
