"""SECURITY: values and keys that are rejected, each with its message."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.repository import parse_repository_file
from hls_handler.settings.values import is_loopback
from tests.settings.files import SECRET, SMALLEST, VARIABLES, load, problems

FOLDER = Path(__file__).parent
TOO_SHORT = "is shorter than 16 bytes; generate one with: openssl rand -hex 32"


def read_cases(name: str) -> list[tuple[str, list[str]]]:
    """Return the text and the expected messages of each line of a file of examples."""
    lines = (
        line.partition("  # ") for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()
    )
    return [
        (text, [message] if message else [])
        for text, _, message in lines
        if not text.startswith("#")
    ]


def test_each_rejected_value_has_its_message(tmp_path: Path) -> None:
    required = {
        "github": "github: {token: t, webhook_secret: 0123456789abcdef}",
        "claude": "claude: {api_key: k}",
        "repositories": "repositories: [{name: o/r}]",
    }
    wrong = []
    for line, messages in read_cases("rejected.yaml"):
        rest = (text for section, text in required.items() if not line.startswith(f"{section}:"))
        found = problems(tmp_path, "\n".join([line, *rest]), {})
        if found != [f"settings.yaml:1: {message}" for message in messages] or "hidden" in "".join(
            found
        ):
            wrong.append((line, found))
    assert wrong == []


def test_rule_23_each_key_of_the_operator_and_each_mistake_in_a_repository_file_is_rejected() -> (
    None
):
    wrong = []
    for line, messages in read_cases("rejected_repository.yaml"):
        found = parse_repository_file(f"# first\n{line}\n").problems
        if list(found) != [f".github/hls.yaml:2: {message}" for message in messages]:
            wrong.append((line, found))
    assert wrong == []


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
server:
  prot: 80
github:
  token: "${GITHUB_TOKEM}"
  webhook_secret: [0123456789abcdef, "too short"]
limits:
  concurrency: many
repositories:
  - name: owner/repo
    events: [issues.openend]
  - name: repo
  - name: repo
"""
    wrong = 'found "repo", expected owner/repo or a glob such as owner/*'
    assert problems(tmp_path, text) == [
        "settings.yaml: claude: is missing; expected a section with api_key",
        "settings.yaml:2: server.prot: unknown key; did you mean server.port?",
        (
            "settings.yaml:4: github.token: the variable GITHUB_TOKEM is not set; set it in the"
            " environment or in .env"
        ),
        f"settings.yaml:5: github.webhook_secret[1]: {TOO_SHORT}",
        'settings.yaml:7: limits.concurrency: found "many", expected a whole number from 1 to 200',
        (
            'settings.yaml:10: repositories[0].events[0]: the event "issues" has no action'
            ' "openend"; did you mean issues.opened?'
        ),
        f"settings.yaml:11: repositories[1].name: {wrong}",
        f"settings.yaml:12: repositories[2].name: {wrong}",
    ]


@pytest.mark.parametrize("text", ["# nothing but a comment\n", "- a\n- list\n"])
def test_the_message_about_a_file_without_sections_names_the_expected_ones(
    tmp_path: Path, text: str
) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(
        "settings.yaml: expected sections such as github:, claude: and repositories:; see /"
    )


@pytest.mark.parametrize(
    ("host", "false"), [("0.0.0.0", "false"), ("::", "off"), ("example.com", '"${SIGNED}"')]
)
def test_rule_1_unsigned_webhooks_start_only_on_a_loopback_host(
    tmp_path: Path, host: str, false: str
) -> None:
    text = SMALLEST + f"server: {{host: '{host}'}}\nfeatures: {{signature_validation: {false}}}\n"
    sentence = (
        f"false is allowed on a loopback host only, and server.host is {host}; anyone could send"
        " events"
    )
    found = problems(tmp_path, text, VARIABLES | {"SIGNED": "false"})
    assert found == [f"settings.yaml:9: features.signature_validation: {sentence}"]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.1.2.3", True),
        ("[::1]", True),
        ("LOCALHOST", True),
        ("128.0.0.1", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_loopback_hosts_are_recognised(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("written", "value", "message"),
    [
        (
            "github.webhook_secret",
            "${X}",
            "still contains ${...} after expansion; check the value of the variable",
        ),
        (
            "server.port",
            "secret-in-PORT",
            "found the value of the variable V, expected a whole number from 0 to 65535",
        ),
        ("server.api_key", "", "is empty; if it is optional, remove the key"),
    ],
)
def test_the_value_of_a_variable_is_checked_and_not_shown(
    tmp_path: Path, written: str, value: str, message: str
) -> None:
    section, _, key = written.partition(".")
    text = SMALLEST.replace('webhook_secret: "${GITHUB_WEBHOOK_SECRET}"', 'webhook_secret: "${V}"')
    text = text if section == "github" else f'{SMALLEST}{section}: {{{key}: "${{V}}"}}\n'
    line = 3 if section == "github" else 8
    assert problems(tmp_path, text, VARIABLES | {"V": value}) == [
        f"settings.yaml:{line}: {written}: {message}"
    ]


def test_rule_19_a_secret_in_a_wrong_place_is_not_shown(tmp_path: Path) -> None:
    text = (
        SMALLEST
        + f'    events: ["${{GITHUB_TOKEN}}", "{SECRET}"]\nserver: {{host: "${{HLS_KEY}}"}}\n'
    )
    text += "features: {signature_validation: false}\n"
    found = "\n".join(problems(tmp_path, text, VARIABLES | {"HLS_KEY": "key-in-the-wrong-place"}))
    assert "***" in found
    for secret in (*VARIABLES.values(), "key-in-the-wrong-place"):
        assert secret not in found


@pytest.mark.parametrize(
    ("bots", "read"),
    [("true", True), ("off", False), ("[copilot*, claude]", ("copilot*", "claude"))],
)
def test_bots_are_a_switch_or_a_list(tmp_path: Path, bots: str, read: object) -> None:
    assert load(tmp_path, f"{SMALLEST}features: {{bots: {bots}}}\n").features.bots == read
