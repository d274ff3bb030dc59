"""The way out: by which proxy, and whose certificates are believed; as a decision, and over real TLS."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.clients.account import who_am_i
from hls_handler.clients.api import Api
from hls_handler.clients.claude import Claude
from hls_handler.clients.job_log import read_log
from hls_handler.clients.way import find_way, proxy_secrets
from hls_handler.errors import DependencyDown, SettingsError
from hls_handler.settings.model import Claude as ClaudeSettings
from tests.clients.conftest import NOON, github_settings
from tests.clients.fake_claude import KEY, FakeClaude, Say
from tests.clients.fake_github import FakeGithub
from tests.clients.fake_way import HOST, Authority, Proxy, tls_server

GITHUB, CLAUDE = "https://api.github.test/api", "https://api.claude.test"
PASSWORD = "pr0xy-passw0rd"
PROXY = "http://proxy.example:3128"
EXCEPTED = "https://ghe.corp.example/api/v3"


@pytest.mark.parametrize(
    ("environ", "address", "proxy"),
    [
        ({}, "https://api.github.com", None),
        ({"HTTPS_PROXY": PROXY}, "https://api.github.com", PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "https://api.github.com", PROXY),
        ({"ALL_PROXY": PROXY}, "https://api.github.com", PROXY),
        ({"HTTPS_PROXY": "", "ALL_PROXY": PROXY}, "https://api.github.com", PROXY),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://api.github.com", PROXY),
        ({"HTTP_PROXY": PROXY}, "https://api.github.com", None),
        ({"ALL_PROXY": PROXY}, "http://127.0.0.1:8080/api/v3", None),
        ({"HTTPS_PROXY": PROXY}, "https://localhost:8443", None),
        ({"HTTPS_PROXY": PROXY}, "https://[::1]:8443", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, EXCEPTED, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "corp.example"}, EXCEPTED, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": ".corp.example"}, EXCEPTED, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*.corp.example"}, EXCEPTED, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example, GHE.corp.example:443"}, EXCEPTED, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "ghe.corp.example:8443"}, EXCEPTED, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "orp.example"}, EXCEPTED, PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "https://10.1.2.3/api/v3", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "https://11.1.2.3/api/v3", PROXY),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "fd00::/8"}, "https://[fd00::1]/api/v3", None),
    ],
)
def test_which_proxy_an_address_is_reached_by(environ: dict[str, str], address: str, proxy: str | None) -> None:
    assert find_way(address, environ).proxy == proxy


@pytest.mark.parametrize(
    "named", ["socks5://proxy.example:1080", "http://", "http://proxy.example:port", "http://[proxy", "https://p:1"]
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        find_way("https://api.github.com", {"HTTPS_PROXY": named.replace("//", f"//hls:{PASSWORD}@", 1)})
    assert str(refused.value) == (
        "the variable HTTPS_PROXY: write it as http://proxy.example:3128; other kinds are not supported"
    )


def test_whose_certificates_are_believed_is_said_by_the_first_variable_that_is_set(tmp_path: Path) -> None:
    one, other = Authority(tmp_path, "one").file, Authority(tmp_path, "other").file
    environ = {"REQUESTS_CA_BUNDLE": str(other), "SSL_CERT_FILE": str(one)}
    assert find_way(GITHUB, environ).authorities == str(one)
    assert find_way(GITHUB, environ | {"SSL_CERT_FILE": ""}).authorities == str(other)
    assert find_way(GITHUB, {"SSL_CERT_DIR": str(tmp_path)}).authorities == str(tmp_path)
    assert find_way(GITHUB, {}).named_by is None
    assert find_way(GITHUB, {}).context().cert_store_stats()["x509_ca"] >= 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read: No such file or directory"), ("no PEM", "holds no certificates in PEM form")],
)
def test_authorities_that_cannot_be_used_are_refused(tmp_path: Path, content: str | None, problem: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as refused:
        find_way(GITHUB, {"SSL_CERT_FILE": str(path)})
    assert str(refused.value) == f"the variable SSL_CERT_FILE: {path} {problem}"


def test_passwords_of_proxies_are_secrets_as_they_are_written_and_as_they_are_sent() -> None:
    environ = {"HTTPS_PROXY": "http://hls:pass%40word-of-proxy@p:1", "all_proxy": "http://p:1"}
    assert proxy_secrets(environ) == {"pass%40word-of-proxy", "pass@word-of-proxy"}


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

    def leads_by(self, credentials: str = f"hls:{PASSWORD}", *, place: str | None = None) -> None:
        self.set_variable("HTTPS_PROXY", f"http://{credentials}@{place or self.proxy.place}")

    def ask_github(self) -> object:
        with closing(
            Api(github_settings(self.github_url), observe=lambda _: None, now=lambda: NOON, timeout_s=10)
        ) as api:
            return who_am_i(api).login

    def ask_claude(self) -> object:
        settings = ClaudeSettings(api_key=SecretStr(KEY), base_url=self.claude_url, timeout_s=10)
        with closing(Claude(settings, clock=lambda: 0.0, now=lambda: NOON)) as claude:
            return claude.lookup_model("claude-haiku-5-5").lifecycle

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
    with ExitStack() as held:
        github, claude = FakeGithub(), FakeClaude()
        held.callback(github.close)
        held.callback(claude.close)
        behind = {"api.github.test": github.base_url.removesuffix("/api"), "api.claude.test": claude.base_url}
        server = held.enter_context(tls_server(authority.certificate_for(*behind), behind))
        proxy = held.enter_context(Proxy(lambda: server.port, user="hls", password=PASSWORD))
        one = Network(authority, proxy, github, claude, tmp_path, monkeypatch.setenv)
        one.leads_by()
        yield one


def test_github_the_log_and_claude_are_reached_through_the_proxy_by_our_own_authority(network: Network) -> None:
    network.claude.says = [Say(body={"id": "claude-haiku-5-5", "lifecycle": "active"})]
    network.github.log = b"one\n"
    assert (network.ask_github(), network.ask_claude(), network.read_log()) == ("hls-bot", "active", ["one"])
    assert network.proxy.asked == ["api.github.test:443", "api.claude.test:443", "api.github.test:443"]
    assert "proxy-authorization" not in str([seen.headers for seen in network.github.seen] + network.claude.headers)


def test_a_certificate_that_is_not_believed_is_told_with_the_file_that_says_who_is(network: Network) -> None:
    stranger = Authority(network.folder, "stranger").file
    network.set_variable("SSL_CERT_FILE", str(stranger))
    for down in troubles(network):
        assert str(down).endswith(
            f"through the proxy http://{network.proxy.place}: the certificate there is not believed: "
            "unable to get local issuer certificate"
        )
        assert down.remedy == (
            "name a PEM file that has the certificate of the authority behind it in SSL_CERT_FILE, and restart; "
            f"now SSL_CERT_FILE ({stranger}) says who is believed"
        )


def test_a_proxy_that_is_down_is_told_by_its_address(network: Network) -> None:
    with socket.socket() as nobody:
        nobody.bind((HOST, 0))
        place = f"{HOST}:{nobody.getsockname()[1]}"
    network.leads_by(place=place)
    for down in troubles(network):
        assert str(down).endswith(f"through the proxy http://{place}: Connection refused")
        assert down.remedy.startswith("check the proxy that HTTPS_PROXY names, or except the host by NO_PROXY")


def test_a_proxy_that_wants_another_password_is_told_so(network: Network) -> None:
    network.leads_by("hls:wr0ng-passw0rd")
    for down in troubles(network):
        assert str(down).endswith(
            f"through the proxy http://{network.proxy.place}: it wants another name or password (407)"
        )
        assert down.remedy == "mend the name and password in HTTPS_PROXY, and restart"


def troubles(network: Network) -> list[DependencyDown]:
    """What GitHub's client, the reader of logs and Claude's client say. None of it holds a password."""
    told = []
    for ask in (network.ask_github, network.read_log, network.ask_claude):
        with pytest.raises(DependencyDown) as down:
            ask()
        told.append(down.value)
        shown = "".join(traceback.format_exception(down.value))
        assert PASSWORD not in shown
        assert "wr0ng-passw0rd" not in shown
        assert "aGxzO" not in shown  # of "hls:...", as it is sent
    return told


def test_this_machine_is_reached_directly_whatever_the_variables_say(network: Network) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        network.set_variable(name, "http://127.0.0.1:9")
    network.github.log = b"one\n"
    network.claude.says = [Say(body={"id": "claude-haiku-5-5", "lifecycle": "active"})]
    here = replace(network, github_url=network.github.base_url, claude_url=network.claude.base_url)
    assert (here.ask_github(), here.ask_claude(), here.read_log()) == ("hls-bot", "active", ["one"])
    assert network.proxy.asked == []
