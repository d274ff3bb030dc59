"""Signed webhooks are answered while five hundred slow clients are connected."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from hls_handler.prompting import recorded
from tests.e2e.service import Service, settings_text
from tests.github_fake.server import Sandbox

GITHUB_WAITS_S = 10.0

HEADERS = b"POST /webhook HTTP/1.1\r\n"
BODY = HEADERS + (
    b"Host: hls\r\nContent-Type: application/json\r\nX-GitHub-Event: issues\r\n"
    b"X-GitHub-Delivery: attack\r\nX-Hub-Signature-256: sha256="
    + b"0" * 64
    + b"\r\nContent-Length: 1900000\r\n\r\n"
)


@pytest.fixture(scope="module")
def bodies() -> Iterator[bytes]:
    """Different bodies of one opened issue, so that none is a replay."""
    body = recorded.load("demo/bug").body
    return (body + b" " * number for number in range(1, 1000))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests: what one leaves behind must not affect the next."""
    folder = tmp_path_factory.mktemp("many-clients")
    url = f"sqlite:///{folder}/hls.db"
    with Sandbox() as sandbox:
        settings = settings_text(
            sandbox,
            storage_url=url,
            limits="concurrency: 1",
            server="max_body_bytes: 2000000",
        )
        (path := folder / "settings.yaml").write_text(settings)
        made = Service(path, 0, folder / "service.log", url).start()
        yield made
        made.stop()


def connect(clients: ExitStack, service: Service, opening: bytes) -> socket.socket:
    """Open a connection that sends the beginning of a request, and then waits."""
    client = clients.enter_context(
        socket.create_connection(("127.0.0.1", service.port), timeout=GITHUB_WAITS_S)
    )
    with suppress(ConnectionError):  # a large body may be evicted before it is sent
        client.sendall(opening)
    return client


def assert_answered(service: Service, bodies: Iterator[bytes], times: int) -> None:
    for _ in range(times):
        began = time.monotonic()
        assert service.deliver("issues", next(bodies)).status == 202
        assert time.monotonic() - began < GITHUB_WAITS_S


def test_rule_3_webhooks_are_answered_despite_500_slow_clients(
    service: Service, bodies: Iterator[bytes]
) -> None:
    with ExitStack() as clients:
        for _ in range(167):
            for opening in (b"", HEADERS, BODY):
                connect(clients, service, opening)
        assert_answered(service, bodies, 10)
    with closing(service.open_store()) as store:
        assert store.deliveries.find("attack") is None
    assert "Traceback" not in service.log.read_text()


def test_rule_3_slow_large_bodies_have_bounded_memory(
    service: Service, bodies: Iterator[bytes]
) -> None:
    """Without a budget, 120 bodies of 1.8 MB take 270 MB; with it, 18 to 60 (up to 256 KB of each
    are still unread).
    """

    def peak_memory_bytes(service: Service) -> int:
        assert service.process is not None
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    before = peak_memory_bytes(service)
    with ExitStack() as clients:
        for _ in range(120):
            connect(clients, service, BODY + b"a" * 1_800_000)
        assert_answered(service, bodies, 5)
        assert peak_memory_bytes(service) - before < 120_000_000
