"""What `.env` says of the way out, which libraries and not settings ask for."""

from __future__ import annotations

from pathlib import Path

from hls_handler.settings.environment import adopt_way_out


def test_proxies_and_authorities_in_dotenv_become_the_process_s_own_where_it_has_none(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("https_proxy=http://p:1\nNO_PROXY=corp.example\nSSL_CERT_FILE=/etc/ca.pem\nGITHUB_TOKEN=t\n")
    environ = {"NO_PROXY": "*"}
    adopt_way_out(environ, dotenv)
    assert environ == {"NO_PROXY": "*", "https_proxy": "http://p:1", "SSL_CERT_FILE": "/etc/ca.pem"}


def test_a_dotenv_that_cannot_be_read_says_nothing_here(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("HTTPS_PROXY=http://p:1\nthis is no line\n")
    environ: dict[str, str] = {}
    adopt_way_out(environ, dotenv)
    assert environ == {}
