"""Outgoing connections: proxy and certificate settings, also over real TLS, causes of failures, and
Retry-After.
"""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import certifi
import pytest
from pydantic import SecretStr

from hls_handler.claude.providers import Providers
from hls_handler.errors import DependencyDown, Permanent, SettingsError
from hls_handler.github.api import GithubApi, WriteGuard, rest
from hls_handler.github.reader import LogLimits, read_log
from hls_handler.settings.environment import proxy_passwords
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.transport import exchange, find_proxy_settings, retry_after
from tests.fake_network import HOST, Authority, Proxy, tls_server
from tests.github.review_world import NOON, github_settings

GITHUB, CLAUDE = "https://api.github.test", "https://api.claude.test"
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
        ({"HTTPS_PROXY": PROXY}, "https://localhost:8443", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, NO_PROXY_VARIABLES, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": ".corp.example"}, NO_PROXY_VARIABLES, None),
        (
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example, GHE.corp.example:443"},
            NO_PROXY_VARIABLES,
            None,
        ),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "ghe.corp.example:8443"}, NO_PROXY_VARIABLES, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "orp.example"}, NO_PROXY_VARIABLES, PROXY),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "fd00::/8"}, "https://[fd00::1]/api/v3", None),
    ],
)
def test_proxy_is_chosen_by_variables_and_address(
    environ: dict[str, str], address: str, proxy: str | None
) -> None:
    assert find_proxy_settings(address, environ).proxy == proxy


@pytest.mark.parametrize(
    "named", ["socks5://proxy.example:1080", "http://proxy.example:port", "https://p:1"]
)
def test_invalid_proxy_is_rejected_without_showing_its_password(named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        find_proxy_settings(
            "https://api.github.com", {"HTTPS_PROXY": named.replace("//", f"//hls:{PASSWORD}@", 1)}
        )
    assert (
        str(refused.value)
        == "the variable HTTPS_PROXY must be the URL of an http:// proxy, such as"
        " http://proxy.example:3128"
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
    [
        (None, "cannot be read: No such file or directory"),
        ("no PEM", "has no certificates in PEM form"),
    ],
)
def test_invalid_certificate_file_is_rejected(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as refused:
        find_proxy_settings(GITHUB, {"SSL_CERT_FILE": str(path)})
    assert str(refused.value) == f"the variable SSL_CERT_FILE names {path}, which {problem}"


def test_certificate_file_that_has_gone_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(certifi.where()).read_bytes())
    environ = {"SSL_CERT_FILE": str(path)}
    find_proxy_settings(GITHUB, environ)
    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read: No such file or directory"):
        find_proxy_settings(GITHUB, environ)


def test_proxy_passwords_are_secret_encoded_and_decoded() -> None:
    environ = {"HTTPS_PROXY": "http://hls:pass%40word-of-proxy@p:1", "all_proxy": "http://p:1"}
    assert proxy_passwords(environ) == {"pass%40word-of-proxy", "pass@word-of-proxy"}


@dataclass
class Network:
    """A server with TLS behind a proxy."""

    proxy: Proxy
    folder: Path
    set_variable: Callable[[str, str], None]

    def use_proxy(
        self, credentials: str = f"hls:{PASSWORD}", *, address: str | None = None
    ) -> None:
        self.set_variable("HTTPS_PROXY", f"http://{credentials}@{address or self.proxy.place}")

    def errors(self) -> list[DependencyDown]:
        """Return the errors of GitHub's client, the log reader and Claude's client; none contains a
        password.
        """
        return [self._error(ask) for ask in (self._ask_github, self._read_log, self._ask_claude)]

    def _error(self, ask: Callable[[], object]) -> DependencyDown:
        with pytest.raises(DependencyDown) as down:
            ask()
        shown = "".join(traceback.format_exception(down.value))
        assert PASSWORD not in shown
        assert "wr0ng-passw0rd" not in shown
        assert "aGxzO" not in shown  # of "hls:...", as it is sent
        return down.value

    def _ask_github(self) -> None:
        with closing(GithubApi(github_settings(GITHUB), now=lambda: NOON, timeout_s=10)) as api:
            api.read(lambda it: it.get_user().login)

    def _ask_claude(self) -> None:
        settings = ClaudeSettings(api_key=SecretStr("sk-ant-secret"), base_url=CLAUDE, timeout_s=10)
        with closing(Providers(settings, clock=lambda: 0.0, now=lambda: NOON)) as claude:
            claude.lookup_model("claude-haiku-5-5")

    def _read_log(self) -> None:
        url = "https://api.github.test/6"
        read_log("GET log", url, base_url=GITHUB, now=lambda: NOON, limits=LogLimits(10))


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    for name in (
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
    ):
        monkeypatch.setenv(name, "")
        monkeypatch.setenv(name.lower(), "")
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    certificate = authority.certificate_for("api.github.test", "api.claude.test")
    with (
        tls_server(certificate, {}) as server,
        Proxy(lambda: server.port, user="hls", password=PASSWORD) as proxy,
    ):
        one = Network(proxy, tmp_path, monkeypatch.setenv)
        one.use_proxy()
        yield one


def test_untrusted_certificate_is_reported_with_the_authority_file(network: Network) -> None:
    other = Authority(network.folder, "untrusted").file
    network.set_variable("SSL_CERT_FILE", str(other))
    for down in network.errors():
        assert str(down).endswith(
            f"through the proxy http://{network.proxy.place}: certificate verification failed: "
            "unable to get local issuer certificate"
        )
        assert (
            down.remedy
            == "set SSL_CERT_FILE to a PEM file with the certificate of the server's authority,"
            f" and restart; the trusted authorities now come from SSL_CERT_FILE ({other})"
        )


def test_unreachable_proxy_is_reported_with_its_address(network: Network) -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        address = f"{HOST}:{free.getsockname()[1]}"
    network.use_proxy(address=address)
    for down in network.errors():
        assert str(down).endswith(f"through the proxy http://{address}: Connection refused")
        assert down.remedy.startswith(
            "check the proxy that HTTPS_PROXY names, or add the host to NO_PROXY"
        )


def test_rejected_proxy_password_is_reported(network: Network) -> None:
    network.use_proxy("hls:wr0ng-passw0rd")
    for down in network.errors():
        assert str(down).endswith(
            f"through the proxy http://{network.proxy.place}: it rejected the user name or password"
            " (407)"
        )
        assert down.remedy == "correct the user name and password in HTTPS_PROXY, and restart"


def test_write_that_the_proxy_rejects_was_never_sent(network: Network) -> None:
    network.use_proxy("hls:wr0ng-passw0rd")
    checks: list[str] = []
    guard = WriteGuard(lambda: None, lambda: checks.append("lease"))
    request = rest("POST", "/repos/o/r/issues/7", object, body={})
    with (
        closing(GithubApi(github_settings(GITHUB), now=lambda: NOON, timeout_s=10)) as api,
        pytest.raises(DependencyDown) as down,
    ):
        api.with_guard(guard).write(request)
    assert checks == []
    assert not down.value.may_have_succeeded


@pytest.mark.parametrize(
    "header", [{}, {"retry-after": "nan"}, {"retry-after": "Fri, 20 Nov 2026 12:05:00 GMT"}]
)
def test_invalid_header_gives_none(header: dict[str, str]) -> None:
    assert retry_after(header, NOON) is None


def test_request_whose_body_is_read_slowly_ends_at_the_limit() -> None:
    def read_slowly(server: socket.socket, sizes: list[int], ended: threading.Event) -> None:
        """Read at most 1 MB a second."""
        connection, _ = server.accept()
        with connection:
            while not ended.wait(0.01):
                sizes.append(len(connection.recv(10_000)))

    body = "x" * 30_000_000
    sizes: list[int] = []
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        reading = threading.Thread(target=read_slowly, args=(server, sizes, ended))
        reading.start()
        try:
            with pytest.raises(Permanent, match=r"^no answer: "):
                exchange(f"http://127.0.0.1:{server.getsockname()[1]}", "/", body, 0.5)
        finally:
            ended.set()
            reading.join()
    assert sum(sizes) < len(body)
