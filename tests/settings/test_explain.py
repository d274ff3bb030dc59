"""Messages about wrong values and unknown keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.explain import unknown_key
from hls_handler.settings.reference import Reference
from tests.settings.files import SMALLEST, VARIABLES, problems

USE = "the name of a prompt, false, or {prompt: NAME, shadow: true}"


@pytest.mark.parametrize(
    ("section", "name", "sentence"),
    [
        ("server", "prot", "unknown key; did you mean server.port?"),
        ("server", "token", "unknown key; token belongs under github"),
        ("server", "base_url", "unknown key; base_url belongs under github or claude"),
        ("", "concurrency", "unknown key; concurrency belongs under limits"),
        ("", "githb", "unknown key; did you mean github?"),
        ("server", "repositorys", "unknown key; did you mean repositories?"),
        ("repositories[2]", "enable", "unknown key; did you mean repositories[2].enabled?"),
        ("repositories[0]", "dry_run", "unknown key; dry_run belongs under repositories[].features or features"),
        ("server", "server.port", "unknown key; write it as port inside the section server"),
        ("logging", "xyzzy", "unknown key; logging has level, format"),
        (
            "",
            "xyzzy",
            (
                "unknown key; the file has server, github, claude, repositories, storage, prompts, limits, labels, "
                "comments, findings, features, logging"
            ),
        ),
    ],
)
def test_the_message_about_an_unknown_key_names_the_nearest_one(section: str, name: str, sentence: str) -> None:
    assert unknown_key(section, name, Reference()) == sentence


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("limits: {concurrency: 0}", "limits.concurrency: found 0, expected a whole number from 1 to 200"),
        ("limits: {concurrency: 4.5}", "limits.concurrency: found 4.5, expected a whole number from 1 to 200"),
        ("limits: {concurrency: true}", "limits.concurrency: found true, expected a whole number from 1 to 200"),
        ("server: {port: 65536}", "server.port: found 65536, expected a whole number from 0 to 65535"),
        ("server: {port: -1}", "server.port: found -1, expected a whole number from 0 to 65535"),
        (
            "limits: {shutdown_s: }",
            (
                "limits.shutdown_s: has no value, expected a number of seconds from 0 to 600; "
                "remove the key to take the default"
            ),
        ),
        (
            "server: {body_timeout_s: 61}",
            "server.body_timeout_s: found 61, expected a number of seconds above 0, at most 60",
        ),
        ("server: {host: 5}", "server.host: found 5, expected text; put the value in quotes"),
        ('server: {host: ""}', 'server.host: found "", expected text'),
        ("server: {webhook_path: hook}", 'server.webhook_path: found "hook", expected a path that starts with /'),
        (
            "claude: {base_url: claude}",
            'claude.base_url: found "claude", expected an address that starts with https://',
        ),
        ("features: {drafts: perhaps}", 'features.drafts: found "perhaps", expected true or false'),
        ("logging: {level: LOUD}", 'logging.level: found "LOUD", expected one of DEBUG, INFO, WARNING, ERROR'),
        ("limits: {concurrency: {}}", "limits.concurrency: found an empty map, expected a whole number from 1 to 200"),
        ("limits: {concurrency: []}", "limits.concurrency: found an empty list, expected a whole number from 1 to 200"),
        ("prompts: {directory: {a: b}}", "prompts.directory: found a map, expected a path or a list of paths"),
        ("prompts: {directory: [a, 7]}", "prompts.directory[1]: found 7, expected a path"),
        ("prompts: {directory: []}", "prompts.directory: is an empty list; name at least one folder"),
        ("server: 8000", "server: found a value of another kind, expected a section of keys"),
        (
            "prompts: {use: {push: true}}",
            f"prompts.use.push: found true, expected {USE}",
        ),
        *(
            (f"prompts: {{use: {{push: {written}}}}}", f"prompts.use.push: found {found}, expected {USE}")
            for written, found in [
                ("{prompt: push/a}", "a map"),
                ("{prompt: push/a, shadow: false}", "a map"),
                ("{prompt: push/a, shadow: true, on: push}", "a map"),
                ("{prompt: false, shadow: true}", "a map"),
                ("[push/a]", "a list"),
            ]
        ),
        (
            "prompts: {use: {push: }}",
            f"prompts.use.push: has no value, expected {USE}; remove the key to take the default",
        ),
        ("labels: {allow: bug}", 'labels.allow: found "bug", expected a list of texts'),
        ("labels: {allow: [bug, 7]}", "labels.allow[1]: found 7, expected text; put the value in quotes"),
    ],
)
def test_a_wrong_value_is_shown_with_what_was_expected(tmp_path: Path, text: str, problem: str) -> None:
    rest = "claude:\n  api_key: k\n" if not text.startswith("claude") else ""
    github = 'github: {token: t, webhook_secret: "0123456789abcdef"}\nrepositories: [{name: o/r}]\n'
    found = problems(tmp_path, f"{text}\n{github}{rest}")
    assert f"settings.yaml:1: {problem}" in found


def test_the_message_about_a_missing_section_names_its_required_keys(tmp_path: Path) -> None:
    assert problems(tmp_path, "repositories: []\nclaude:\n") == [
        "settings.yaml: github: is missing; expected a section with token and webhook_secret",
        (
            "settings.yaml:1: repositories: found an empty list, expected a list with at least one entry, "
            "each a section with name"
        ),
        "settings.yaml:2: claude.api_key: is missing; expected text",
    ]


def test_a_value_that_came_from_a_variable_is_not_shown(tmp_path: Path) -> None:
    assert problems(tmp_path, SMALLEST + 'server: {port: "${PORT}"}\n', VARIABLES | {"PORT": "secret-in-PORT"}) == [
        "settings.yaml:8: server.port: found the value of the variable PORT, expected a whole number from 0 to 65535"
    ]


def test_only_the_kind_of_a_secret_is_shown(tmp_path: Path) -> None:
    text = SMALLEST.replace('"${GITHUB_TOKEN}"', "1234567").replace(
        '"${GITHUB_WEBHOOK_SECRET}"', "[0123456789abcdef, {x: hidden-marker}]"
    )
    assert problems(tmp_path, text) == [
        "settings.yaml:2: github.token: found a value of another kind, expected text; put the value in quotes",
        "settings.yaml:3: github.webhook_secret[1]: found a map, expected text",
    ]
