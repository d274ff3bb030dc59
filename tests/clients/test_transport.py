"""Outgoing connections: proxy and certificate settings, also over real TLS, causes of failures, and Retry-After."""

from __future__ import annotations

import base64
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.clients.api import GithubApi
from hls_handler.clients.claude import Claude
from hls_handler.clients.github import Github
from hls_handler.clients.job_log import read_log
from hls_handler.clients.transport import (
    ProxySettings,
    describe_cause,
    find_proxy_settings,
    proxy_passwords,
    redact_secret,
    retry_after,
)
from hls_handler.errors import DependencyDown, SettingsError
from hls_handler.settings.model import Claude as ClaudeSettings
from tests.clients.conftest import NOON, github_settings
from tests.clients.fake_claude import KEY, FakeClaude
from tests.clients.fake_github import FakeGithub
from tests.clients.fake_network import HOST, Authority, Proxy, tls_server

GITHUB, CLAUDE = "https://api.github.test/api", "https://api.claude.test"
PASSWORD = "pr0xy-passw0rd"
PROXY = "http://proxy.example:3128"
NO_PROXY_VARIABLES = "https://ghe.corp.example/api/v3"


@pytest.mark.parametrize(
    ("environ", "address", "proxy"),
    [
        ({}, "https://api.github.com", None),
        ({"HTTPS_PROXY": PROXY}, "https://api.github.com", PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "https://api.github.com", PROXY),
        ({"ALL_PROXY": PROXY}, "https://api.github.com", PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://api.github.com", PROXY),
        ({"HTTP_PROXY": PROXY}, "https://api.github.com", None),
        ({"HTTPS_PROXY": PROXY}, "https://localhost:8443", None),
        ({"HTTPS_PROXY": PROXY}, "https://[::1]:8443", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, NO_PROXY_VARIABLES, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": ".corp.example"}, NO_PROXY_VARIABLES, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example, GHE.corp.example:443"}, NO_PROXY_VARIABLES, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "ghe.corp.example:8443"}, NO_PROXY_VARIABLES, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "orp.example"}, NO_PROXY_VARIABLES, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "https://11.1.2.3/api/v3", PROXY),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "fd00::/8"}, "https://[fd00::1]/api/v3", None),
    ],
)
def test_proxy_is_chosen_by_variables_and_address(environ: dict[str, str], address: str, proxy: str | None) -> None:
    assert find_proxy_settings(address, environ).proxy == proxy


@pytest.mark.parametrize("named", ["socks5://proxy.example:1080", "http://proxy.example:port", "https://p:1"])
def test_invalid_proxy_is_rejected_without_showing_its_password(named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        find_proxy_settings("https://api.github.com", {"HTTPS_PROXY": named.replace("//", f"//hls:{PASSWORD}@", 1)})
    assert str(refused.value) == (
        "the variable HTTPS_PROXY must be the URL of an http:// proxy, such as http://proxy.example:3128"
    )


def test_first_set_variable_names_the_trusted_authorities(tmp_path: Path) -> None:
    one, other = Authority(tmp_path, "one").file, Authority(tmp_path, "other").file
    environ = {"REQUESTS_CA_BUNDLE": str(other), "SSL_CERT_FILE": str(one)}
    assert find_proxy_settings(GITHUB, environ).ca_path == str(one)
    assert find_proxy_settings(GITHUB, environ | {"SSL_CERT_FILE": ""}).ca_path == str(other)
    assert find_proxy_settings(GITHUB, {"SSL_CERT_DIR": str(tmp_path)}).ca_path == str(tmp_path)
    assert find_proxy_settings(GITHUB, {}).ca_variable is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read: No such file or directory"), ("no PEM", "has no certificates in PEM form")],
)
def test_invalid_certificate_file_is_rejected(tmp_path: Path, content: str | None, problem: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as refused:
        find_proxy_settings(GITHUB, {"SSL_CERT_FILE": str(path)})
    assert str(refused.value) == f"the variable SSL_CERT_FILE names {path}, which {problem}"


def test_proxy_passwords_are_secret_encoded_and_decoded() -> None:
    environ = {"HTTPS_PROXY": "http://hls:pass%40word-of-proxy@p:1", "all_proxy": "http://p:1"}
    assert proxy_passwords(environ) == {"pass%40word-of-proxy", "pass@word-of-proxy"}


@dataclass
class Network:
    """GitHub and Claude behind TLS and a proxy."""

    authority: Authority
    proxy: Proxy
    github: FakeGithub
    claude: FakeClaude
    folder: Path
    set_variable: Callable[[str, str], None]
    github_url: str = GITHUB
    claude_url: str = CLAUDE

    def use_proxy(self, credentials: str = f"hls:{PASSWORD}", *, address: str | None = None) -> None:
        self.set_variable("HTTPS_PROXY", f"http://{credentials}@{address or self.proxy.place}")

    def ask_github(self) -> object:
        with closing(GithubApi(github_settings(self.github_url), now=lambda: NOON, timeout_s=10)) as api:
            return Github(api).fetch_bot_account().login

    def ask_claude(self) -> object:
        settings = ClaudeSettings(api_key=SecretStr(KEY), base_url=self.claude_url, timeout_s=10)
        with closing(Claude(settings, clock=lambda: 0.0, now=lambda: NOON)) as claude:
            return claude.lookup_model("claude-haiku-5-5")

    def read_log(self) -> object:
        address = f"{self.github_url.removesuffix('/api')}/stored/6?signature=5ecret"
        lines = read_log("GET log", address, base_url=self.github_url, now=lambda: NOON, timeout_s=10)
        return list(lines) if isinstance(lines, Iterator) else lines


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "")
        monkeypatch.setenv(name.lower(), "")
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with ExitStack() as stack:
        github, claude = FakeGithub(), FakeClaude()
        stack.callback(github.close)
        stack.callback(claude.close)
        behind = {"api.github.test": github.base_url.removesuffix("/api"), "api.claude.test": claude.base_url}
        server = stack.enter_context(tls_server(authority.certificate_for(*behind), behind))
        proxy = stack.enter_context(Proxy(lambda: server.port, user="hls", password=PASSWORD))
        one = Network(authority, proxy, github, claude, tmp_path, monkeypatch.setenv)
        one.use_proxy()
        yield one


def test_untrusted_certificate_is_reported_with_the_authority_file(network: Network) -> None:
    other = Authority(network.folder, "untrusted").file
    network.set_variable("SSL_CERT_FILE", str(other))
    for down in errors_of(network):
        assert str(down).endswith(
            f"through the proxy http://{network.proxy.place}: certificate verification failed: "
            "unable to get local issuer certificate"
        )
        assert down.remedy == (
            "set SSL_CERT_FILE to a PEM file with the certificate of the server's authority, and restart; "
            f"the trusted authorities now come from SSL_CERT_FILE ({other})"
        )


def test_certificate_without_the_extension_that_python_3_13_requires_is_reported_with_that_reason() -> None:
    failed = ssl.SSLCertVerificationError()
    failed.verify_message = "Missing Authority Key Identifier"
    assert ProxySettings(None, "own.pem", "SSL_CERT_FILE").explain_failure(failed, otherwise="wait") == (
        ": certificate verification failed: Missing Authority Key Identifier",
        (
            "issue the certificates again with this extension, which Python 3.13 and newer require of a private "
            "authority's certificates (with OpenSSL: authorityKeyIdentifier = keyid in the section of the extensions)"
        ),
    )


def test_unreachable_proxy_is_reported_with_its_address(network: Network) -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        address = f"{HOST}:{free.getsockname()[1]}"
    network.use_proxy(address=address)
    for down in errors_of(network):
        assert str(down).endswith(f"through the proxy http://{address}: Connection refused")
        assert down.remedy.startswith("check the proxy that HTTPS_PROXY names, or add the host to NO_PROXY")


def test_rejected_proxy_password_is_reported(network: Network) -> None:
    network.use_proxy("hls:wr0ng-passw0rd")
    for down in errors_of(network):
        assert str(down).endswith(
            f"through the proxy http://{network.proxy.place}: it rejected the user name or password (407)"
        )
        assert down.remedy == "correct the user name and password in HTTPS_PROXY, and restart"


def errors_of(network: Network) -> list[DependencyDown]:
    """Return the errors of GitHub's client, the log reader and Claude's client; none contains a password."""
    errors = []
    for ask in (network.ask_github, network.read_log, network.ask_claude):
        with pytest.raises(DependencyDown) as down:
            ask()
        errors.append(down.value)
        shown = "".join(traceback.format_exception(down.value))
        assert PASSWORD not in shown
        assert "wr0ng-passw0rd" not in shown
        assert "aGxzO" not in shown  # of "hls:...", as it is sent
    return errors


SECRET = "sk-ant/+=secret?"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        "sk-ant%2F%2B%3Dsecret%3F",
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
    ids=["plain", "in a URL", "base64", "base64 for URLs"],
)
def test_secret_is_redacted_in_every_encoding(form: str) -> None:
    assert redact_secret(f"the key {form} is wrong", SECRET).replace("=", "") == "the key *** is wrong"


def test_text_becomes_one_short_line() -> None:
    assert redact_secret("a\n b\t\x0bc", "k" * 20) == "a b c"
    assert redact_secret("x" * 301, "k" * 20) == "x" * 299 + "…"


def test_cause_of_a_failure_is_the_message_of_the_system() -> None:
    outer = ValueError("Bearer sk-ant")
    outer.__context__ = ConnectionRefusedError(111, "Connection refused")
    assert describe_cause(outer) == "Connection refused"
    assert describe_cause(ValueError("Bearer sk-ant")) == "ValueError"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "90"}, timedelta(seconds=90)),
        ({"retry-after": "1.5"}, timedelta(seconds=1.5)),
        ({"retry-after": "Fri, 20 Nov 2026 12:05:00 GMT"}, timedelta(minutes=5)),
        ({"retry-after": "Fri, 20 Nov 2026 12:05:00 -0000"}, timedelta(minutes=5)),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, timedelta()),
        ({"retry-after": "86400"}, timedelta(hours=2)),
    ],
)
def test_header_gives_a_time(headers: dict[str, str], wait: timedelta) -> None:
    assert retry_after(headers, NOON) == NOON + wait


@pytest.mark.parametrize("header", [{}, {"retry-after": "nan"}])
def test_invalid_header_gives_none(header: dict[str, str]) -> None:
    assert retry_after(header, NOON) is None
