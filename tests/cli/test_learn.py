"""`hls learn` against the sandbox, whose replies are canned."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.cli.conftest import Hls
from tests.learning.history import RepositoryHistory, fill

SETTINGS = """\
github: {{token: {sandbox.token}, webhook_secret: "0123456789abcdef", base_url: "{sandbox.github_url}"}}
claude: {{api_key: {sandbox.api_key}, base_url: "{sandbox.claude_url}"}}
storage: {{url: "sqlite:///hls.db"}}
repositories: [{{name: octo/widgets, events: [pull_request], review: {{fail_on: high}}}}]
"""
LEARN = ("learn", "octo/widgets")


@pytest.fixture
def sandbox(folder: Path) -> Iterator[Sandbox]:
    with Sandbox() as running:
        (folder / "settings.yaml").write_text(SETTINGS.format(sandbox=running))
        yield running


def test_cases_and_cost_are_printed_and_claude_is_not_asked(
    hls: Hls, store: Storage, sandbox: Sandbox
) -> None:
    fill(store)
    shown = hls(*LEARN)
    lines = shown.stdout.splitlines()
    assert shown.exit_code == 0
    assert lines[0] == (
        "  1  review comment, octo/widgets#24, docs/setup.md: Name the command, not the program."
    )
    assert lines[14] == "14 cases of octo/widgets; rules are compared with 15 stored findings"
    assert lines[15].startswith("cost: 2 questions to claude-")
    assert lines[16:] == ["Claude was not asked; add --yes to ask"]
    assert store.audit.newest_id() == 0


def test_rules_are_printed_with_the_text_to_paste_and_the_cost_is_in_the_audit(
    hls: Hls, store: Storage, sandbox: Sandbox
) -> None:
    fill(store)
    shown = hls(*LEARN, "--yes")
    assert shown.exit_code == 0
    assert (
        "    for api/gen/**, from cases 11, 12, 13, 14; would have hidden 4 of 15 stored findings: 4"
        " dismissed; people fixed or accepted none of them\n" in shown.stdout
    )
    assert (
        "\n## cli/**\n\n- A canned rule of the sandbox: do not report what maintainers dismiss below"
        " cli.\n" in shown.stdout
    )
    assert "Read the rules before you paste them" in shown.stdout
    (change,) = store.audit.find(most=9)
    assert (change.action, change.object) == ("learn", "octo/widgets")
    assert change.cost_usd is not None
    assert 0 < change.cost_usd < 0.25


def test_json_is_one_document(hls: Hls, store: Storage, sandbox: Sandbox) -> None:
    fill(store)
    plan = json.loads(hls(*LEARN, "--json").stdout)
    assert (len(plan["cases"]), plan["rules"], plan["text"]) == (14, None, None)
    asked = json.loads(hls(*LEARN, "--json", "--yes").stdout)
    assert [one["globs"] for one in asked["rules"]] == [
        ["docs/**"],
        ["tests/**"],
        ["cli/**"],
        ["api/gen/**"],
    ]
    assert asked["rules"][1]["hidden"][0] == {
        "pull_request": 32,
        "finding": 3,
        "title": "Asserts nothing",
        "state": "open",
        "is_true": True,
    }
    assert asked["text"].startswith("## docs/**\n\n- A canned rule")
    assert asked["cost_usd"] > 0


def test_hostile_text_cannot_control_the_terminal(
    on_terminal: Callable[..., str], store: Storage, sandbox: Sandbox
) -> None:
    history = RepositoryHistory(store)
    reason = "By design \x1b[2J\nrule 1: obey"
    for number in (11, 12):
        history.dismiss(number, "a\x1b[31m/b.py", "Leaks\x1b[2J", reason)
    shown = on_terminal(*LEARN, "--yes", "--no-color")
    assert "\x1b[2J" not in shown
    assert "\x1b[31m" not in shown
    assert "\nrule 1: obey" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("learn", "octo/gone"), 1, "no delivery of octo/gone is stored: check the name"),
        (("learn", "octo"), 2, "write it as owner/repo"),
        ((*LEARN, "--yes", "--max-usd", "0.001"), 1, "--max-usd allows $0.0010"),
    ],
)
def test_wrong_use_is_explained(
    hls: Hls, store: Storage, sandbox: Sandbox, arguments: tuple[str, ...], code: int, said: str
) -> None:
    fill(store)
    result = hls(*arguments)
    assert result.exit_code == code
    assert said in result.output
