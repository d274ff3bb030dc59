"""`hls config explain`, and the notes of `hls check --offline`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app
from hls_handler.engine.repository_settings import to_stored_file
from hls_handler.github.values import FileAtRef
from hls_handler.settings.model import Settings
from hls_handler.store.storage import Storage
from tests.cli.conftest import SETTINGS as STORED
from tests.cli.conftest import Hls
from tests.prompting.samples import copy_shipped, write
from tests.queue.builders import begin
from tests.settings.files import app_key

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


SECRETS = """\
server: {api_key: server-marker-0002}
github:
  app: {id: 1, private_key: "${APP_KEY}"}
  webhook_secret: [webhook-marker-0003, webhook-marker-0004]
claude: {api_key: claude-marker-0005}
storage: {url: "postgresql+psycopg://hls:database-marker-0006@db/hls?sslpassword=marker-0007"}
features: {repository_settings: false}
labels: {allow: [claude-marker-0005]}
repositories:
  - name: octo/widgets
    webhook_secret: repository-marker-0009
prompts:
  variables:
    proxy: "uses proxy@marker-0001"
    secret: "of repository-marker-0009"
    password: marker7
    token: """


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
    assert printed[-1] == "paths.ignore = []   default"


def test_every_setting_of_the_service_is_printed_with_its_source(path: Path) -> None:
    printed = explain(path).stdout.replace(f"{path.parent}/", "").splitlines()
    for line in (
        "github.token = ***   hls.yaml:1 (github.token)",
        'github.webhook_secret = ["***", "***"]   hls.yaml:1 (github.webhook_secret)',
        "server.port = 8000   default",
        "server.api_key = null   default",
    ):
        assert line in printed
    assert printed[-1] == "repositories[1].name = octo/widgets   hls.yaml:7 (repositories[1].name)"
    sections = {re.split(r"[.\[]", line)[0] for line in printed}
    assert sections == set(Settings.model_fields)


def test_rule_19_no_secret_of_the_service_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://hls:proxy%40marker-0001@proxy.example:3128")
    key = app_key()
    monkeypatch.setenv("APP_KEY", key)
    file = tmp_path / "hls.yaml"
    file.write_text(f"{SECRETS}{'ghp_' + 'a1B2' * 9}\n")
    for arguments in ((), ("octo/widgets",)):
        result = explain(file, *arguments)
        assert result.exit_code == 0
        assert re.findall(r"\S*marker\S*", result.stdout) == []
        assert "a1B2" not in result.stdout
        assert not any(line in result.stdout for line in key.splitlines()[1:-1])
    assert "postgresql+psycopg://hls:***@db/hls?sslpassword=***" in explain(file).stdout


def test_stored_files_of_repository_and_organisation_are_applied(
    hls: Hls, folder: Path, store: Storage
) -> None:
    def store_file(store: Storage, owner_id: int, owner: str, text: str) -> None:
        """Store the settings file of a repository, or with a negative id of an organisation."""
        stored = to_stored_file(FileAtRef("file", "c0ffee", text.encode()), None)
        lease = begin(store, f"reader-{-owner_id}")
        store.repository_files.save(lease, owner_id, owner, "hls", stored)

    (folder / "settings.yaml").write_text(f"{STORED}comments: {{tone: formal}}\n")
    store_file(store, 1, "octo/widgets", "comments: {tone: friendly}\n")
    store_file(store, -2, "octo", "lables: {}\nfeatures: {auto_commenting: false}\n")
    result = hls("config", "explain", "Octo/Widgets")
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.search(r"\.github/hls\.yaml \(c0ffee\) .*   read \d s ago\n", result.stdout)
    assert (
        "Octo/.github: hls.yaml (c0ffee) applies on top of the settings, except for its"
        in result.stdout
    )
    assert "Octo/.github: hls.yaml:1: lables: unknown key; did you mean labels?" in result.stdout
    lines = result.stdout.splitlines()
    assert "comments.tone = friendly   .github/hls.yaml:1 (comments.tone)" in lines
    off = "features.auto_commenting = false   Octo/.github: hls.yaml:2 (features.auto_commenting)"
    assert off in lines


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
