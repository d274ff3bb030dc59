"""Proxy and certificate variables in `.env`, which libraries read from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.errors import SettingsError
from hls_handler.settings.load import (
    CREDENTIALS,
    export_proxy_settings,
    find_missing_credentials,
    load_settings,
)
from tests.settings.files import SMALLEST


def test_proxy_and_certificate_variables_in_dotenv_are_copied_unless_already_set(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("https_proxy=http://p:1\nNO_PROXY=corp.example\nSSL_CERT_FILE=/etc/ca.pem\nGITHUB_TOKEN=t\n")
    environ = {"NO_PROXY": "*"}
    export_proxy_settings(environ, dotenv)
    assert environ == {"NO_PROXY": "*", "https_proxy": "http://p:1", "SSL_CERT_FILE": "/etc/ca.pem"}
    dotenv.write_text("HTTPS_PROXY=http://p:1\nthis is no line\n")
    unchanged: dict[str, str] = {}
    export_proxy_settings(unchanged, dotenv)
    assert unchanged == {}


ALL = {"GITHUB_TOKEN": "t", "GITHUB_WEBHOOK_SECRET": "s", "ANTHROPIC_API_KEY": "k"}


def test_an_empty_credential_is_missing(tmp_path: Path) -> None:
    environ = {"GITHUB_TOKEN": "t", "GITHUB_WEBHOOK_SECRET": " "}
    assert find_missing_credentials({}, None) == CREDENTIALS
    assert find_missing_credentials(environ, None) == ("GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY")
    assert find_missing_credentials(ALL, tmp_path / "absent") == ()
    (tmp_path / ".env").write_text("GITHUB_TOKEN=t\nANTHROPIC_API_KEY=\n", encoding="utf-8")
    assert find_missing_credentials({"GITHUB_WEBHOOK_SECRET": "s"}, tmp_path / ".env") == ("ANTHROPIC_API_KEY",)


def test_settings_load_without_the_variables_that_they_name(tmp_path: Path) -> None:
    lines = 'server: {port: "${PORT}", api_key: "${KEY}"}\nlabels: {allow: [bug, "${LABEL}"]}\n'
    (tmp_path / "settings.yaml").write_text(f"{SMALLEST}{lines}", encoding="utf-8")
    environ = {"GITHUB_TOKEN": "t", "ANTHROPIC_API_KEY": " "}
    settings = load_settings(tmp_path / "settings.yaml", environ, dotenv=None, allow_unset=True)
    assert settings.unset == {
        "github.webhook_secret": "GITHUB_WEBHOOK_SECRET is not set",
        "claude.api_key": "ANTHROPIC_API_KEY is not set",
        "server.port": "PORT is not set",
        "server.api_key": "KEY is not set",
        "labels.allow[1]": "LABEL is not set",
    }
    assert (settings.github.access_tokens, settings.server.port, settings.labels.allow) == (
        ("t",),
        8000,
        ("bug",),
    )


def test_settings_load_without_the_key_of_the_app(tmp_path: Path) -> None:
    app = 'app: {id: "${APP_ID}", private_key_path: /nowhere/app.pem}'
    (tmp_path / "settings.yaml").write_text(SMALLEST.replace('token: "${GITHUB_TOKEN}"', app), encoding="utf-8")
    settings = load_settings(tmp_path / "settings.yaml", {}, dotenv=None, allow_unset=True)
    assert settings.github.app is None
    assert settings.unset["github.app.id"] == "APP_ID is not set"
    assert settings.unset["github.app.private_key_path"] == "/nowhere/app.pem cannot be read"


def test_required_key_that_is_no_secret_needs_its_variable(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(SMALLEST.replace("owner/repo", '"${REPOSITORY}"'), encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path / "settings.yaml", {}, dotenv=None, allow_unset=True)
    (problem,) = raised.value.problems
    assert problem.startswith(f"{tmp_path}/settings.yaml:7: repositories[0].name: the variable REPOSITORY is not set;")
