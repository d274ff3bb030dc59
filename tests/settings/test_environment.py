"""Proxy and certificate variables in `.env`, which libraries read from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.load import (
    CREDENTIALS,
    export_proxy_settings,
    find_missing,
    find_missing_credentials,
    load_settings,
    with_dummy_credentials,
)
from tests.settings.files import SMALLEST


def test_proxy_and_certificate_variables_in_dotenv_are_copied_unless_already_set(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("https_proxy=http://p:1\nNO_PROXY=corp.example\nSSL_CERT_FILE=/etc/ca.pem\nGITHUB_TOKEN=t\n")
    environ = {"NO_PROXY": "*"}
    export_proxy_settings(environ, dotenv)
    assert environ == {"NO_PROXY": "*", "https_proxy": "http://p:1", "SSL_CERT_FILE": "/etc/ca.pem"}


def test_an_unreadable_dotenv_is_ignored(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("HTTPS_PROXY=http://p:1\nthis is no line\n")
    environ: dict[str, str] = {}
    export_proxy_settings(environ, dotenv)
    assert environ == {}


ALL = {"GITHUB_TOKEN": "t", "GITHUB_WEBHOOK_SECRET": "s", "ANTHROPIC_API_KEY": "k"}


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        (ALL, ()),
        ({}, CREDENTIALS),
        ({"GITHUB_TOKEN": "t", "GITHUB_WEBHOOK_SECRET": " "}, ("GITHUB_WEBHOOK_SECRET", "ANTHROPIC_API_KEY")),
    ],
)
def test_an_empty_credential_is_missing(environ: dict[str, str], missing: tuple[str, ...]) -> None:
    assert find_missing_credentials(environ, None) == missing


def test_a_dotenv_file_counts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GITHUB_TOKEN=t\nANTHROPIC_API_KEY=\n", encoding="utf-8")
    assert find_missing_credentials({"GITHUB_WEBHOOK_SECRET": "s"}, tmp_path / ".env") == ("ANTHROPIC_API_KEY",)
    assert find_missing_credentials(ALL, tmp_path / "absent") == ()


def test_settings_load_with_dummy_values_that_name_the_missing_variable(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(SMALLEST, encoding="utf-8")
    environ = with_dummy_credentials({"GITHUB_TOKEN": "t", "ANTHROPIC_API_KEY": " "}, None)
    settings = load_settings(tmp_path / "settings.yaml", environ, dotenv=None)
    assert find_missing(settings.github.token) is None
    assert find_missing(settings.claude.api_key) == "ANTHROPIC_API_KEY"
