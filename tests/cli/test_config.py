"""`hls config explain`, and the notes of `hls check --offline`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app
from tests.prompting.samples import copy_shipped, write

SETTINGS = """\
github: {token: token-marker-0001, webhook_secret: [webhook-marker-0002, webhook-marker-0003]}
claude: {api_key: claude-marker-0004}
repositories:
  - name: "octo/*"
    events: [issues, pull_request.opened]
    prompts: {use: {issues.reopened: false}}
  - name: octo/widgets
    features: {dry_run: true}
    labels: {allow: [bug, "token-marker-0001"]}
    events: [issues.opened, issues.edited]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    prompts = copy_shipped(tmp_path, "comments", "issues")
    (tmp_path / "hls.yaml").write_text(f"{SETTINGS}prompts: {{directory: {prompts}}}\n")
    return tmp_path / "hls.yaml"


def explain(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", "explain", *arguments, "--config", str(path)])


def test_rule_19_every_value_is_printed_with_its_source_and_without_secrets(path: Path) -> None:
    result = explain(path, "octo/widgets")
    assert result.exit_code == 0
    assert "marker" not in result.stdout
    printed = result.stdout.replace(f"{path.parent}/", "").splitlines()
    assert printed[:6] == [
        "name = octo/widgets   hls.yaml:7 (repositories[1].name)",
        (
            "  has precedence over octo/*   hls.yaml:4 (repositories[0].name): it is less specific,"
            " or comes later"
        ),
        ".github/hls.yaml = not read yet; --live reads it from GitHub",
        "enabled = true   default",
        'events = ["issues.edited", "issues.opened"]   hls.yaml:10 (repositories[1].events)',
        "webhook_secret = <2 secrets>   hls.yaml:1 (github.webhook_secret)",
    ]
    assert "features.dry_run = true   hls.yaml:8 (repositories[1].features.dry_run)" in printed
    assert 'labels.allow = ["bug", "***"]   hls.yaml:9 (repositories[1].labels.allow)' in printed
    assert "review.max_usd = 2.0   default" in printed
    assert printed[-1] == "prompts.use = {}   default"
    assert len(printed) == 60


def test_a_repository_without_an_entry_is_reported_with_the_line_to_add(path: Path) -> None:
    result = explain(path, "other/thing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr == f"no entry of {path}:3 (repositories) matches other/thing; "
        "add `- name: other/thing` there to process its events\n"
    )


def test_a_usage_error_names_what_is_expected(path: Path) -> None:
    result = explain(path, "octo")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "write it as owner/repo" in result.stderr


# a known model, and a key for the console
FINE = (
    "claude-opus-5-5",
    "{api_key: a-key-of-32-characters-for-tests}",
)


@pytest.mark.parametrize(
    ("mirror", "path", "model", "server", "notes"),
    [
        ("true", "", "my-model", "", 1),
        ("false", "", *FINE, 0),
        ("true", os.environ["PATH"], *FINE, 0),
    ],
    ids=["three notes", "no mirror wanted", "git is installed"],
)
def test_check_notes_missing_git_a_model_without_a_price_and_that_the_console_is_off(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mirror: str,
    path: str,
    model: str,
    server: str,
    notes: int,
) -> None:
    monkeypatch.setenv("PATH", path)
    short = "---\ndescription: d\non: [{}]\nreply: generic_analysis\nmodel: {}\n---\nJudge it.\n"
    own = short.format("pull_request.opened", model)
    files = {"issues/short.j2": short.format("issues", FINE[0]), "pull_requests/own.j2": own}
    library = write(tmp_path / "lib", files)  # to check the shipped prompts takes longer
    file = tmp_path / "hls.yaml"
    more = f"mirror: {{enabled: {mirror}}}\nprompts: {{directory: {library}}}\nserver: {server}\n"
    file.write_text(SETTINGS + more)
    checked = CliRunner().invoke(app, ["check", "--offline", "--config", str(file)])
    assert checked.exit_code == 0
    line = SETTINGS.count("\n") + 1
    for note in (
        f"{file}:{line} (mirror.enabled): note: git is not installed, so there is no mirror",
        (
            f"{library}/pull_requests/own.j2: note: the model {model} has no known price, so a call"
            " counts as one of the dearest known model; set claude.price"
        ),
        "note: the console and the API are off, because the key is not set",
    ):
        assert checked.stdout.count(note) == notes
