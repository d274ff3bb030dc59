"""Proxy and certificate variables in `.env`, which libraries read from the environment."""

from __future__ import annotations

from pathlib import Path

from hls_handler.settings.environment import export_proxy_settings


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
