"""The service behind an HTTPS proxy with a private certificate authority."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from hls_handler.prompting import recorded
from tests.e2e.conftest import MakeService
from tests.e2e.fork_server import run_command
from tests.e2e.service import ROOT, wait_until
from tests.fake_network import Authority, Proxy, tls_server
from tests.github_fake.server import Sandbox

PASSWORD = "pr0xy-passw0rd"


def test_an_issue_is_processed_through_a_proxy_with_a_private_certificate_authority(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    behind = {"api.github.test": sandbox.page_url[:-1], "api.claude.test": sandbox.page_url[:-1]}
    service = make_service(more="logging: {level: DEBUG}")
    said = service.settings.read_text()
    for host, url in zip(behind, (sandbox.github_url, sandbox.claude_url), strict=True):
        said = said.replace(url, f"https://{host}{urlsplit(url).path}")
    service.settings.write_text(said)
    authority = Authority(tmp_path)
    with ExitStack() as held:
        server = held.enter_context(tls_server(authority.certificate_for(*behind), behind))
        proxy = held.enter_context(Proxy(lambda: server.port, user="hls", password=PASSWORD))
        service.environ = {
            "HTTPS_PROXY": f"http://hls:{PASSWORD}@{proxy.place}",
            "NO_PROXY": "",
            "no_proxy": "",
            "SSL_CERT_FILE": str(authority.file),
        }
        service.start()
        event = recorded.load("demo/bug")
        sandbox.state.seed("issues", event.payload)
        assert service.deliver("issues", event.body).status == 202
        service.until_idle()
        wait_until(
            lambda: service.get("/health").body["components"]["claude"]["state"] != "unknown"
        )
        health = service.get("/health").body
        assert service.stop() == 0
    conversation = sandbox.conversation(11)
    assert len(conversation.comments) == 1
    assert "bug" in conversation.labels
    assert health["status"] == "healthy"
    assert set(proxy.asked) == {"api.github.test:443", "api.claude.test:443"}
    assert PASSWORD not in service.log.read_text()


def test_an_unsupported_proxy_in_dotenv_stops_the_start(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service(prompts=str(ROOT / "prompts"))
    (tmp_path / ".env").write_text(f"HTTPS_PROXY=socks5://hls:{PASSWORD}@proxy.example:1080\n")
    said = service.settings.read_text().replace("http://127.0.0.1", "https://127.0.0.1.nip.example")
    service.settings.write_text(said)
    environ = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    refused = run_command(
        ["serve", "--config", str(service.settings)], environ=environ, folder=tmp_path
    )
    assert (refused.returncode, refused.stderr) == (
        2,
        (
            "the variable HTTPS_PROXY must be the URL of an http:// proxy, such as"
            " http://proxy.example:3128\n"
        ),
    )
