"""Signed webhooks are answered while five hundred slow clients are connected."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.e2e.service import Service, settings_text
from tests.e2e.slow_clients import BODY, HEADERS, LARGE_BODY, SILENCE, Attack, SlowClients

MANY = 500
FILES = 380
"""Limit of open files: the process needs 80, so that 300 clients can connect."""

GITHUB_WAITS_S = 10.0


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
            server="header_timeout_s: 3, body_timeout_s: 3, max_body_bytes: 2000000, max_connections: 1000",
        )
        (path := folder / "settings.yaml").write_text(settings)
        made = Service(path, 0, folder / "service.log", url, max_files=FILES).start()
        yield made
        made.stop()


def peak_memory_bytes(service: Service) -> int:
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def assert_answered(service: Service, bodies: Iterator[bytes], times: int) -> None:
    for _ in range(times):
        began = time.monotonic()
        assert service.deliver("issues", next(bodies)).status == 202
        assert time.monotonic() - began < GITHUB_WAITS_S


@pytest.mark.parametrize(
    "attacks",
    [(SILENCE,), (HEADERS,), (BODY,), (SILENCE, HEADERS, BODY)],
    ids=["silent", "slow headers", "slow bodies", "all of these"],
)
def test_rule_3_webhooks_are_answered_despite_500_slow_clients(
    service: Service, bodies: Iterator[bytes], attacks: tuple[Attack, ...]
) -> None:
    with SlowClients(service.port, MANY, *attacks) as clients:
        before = clients.closed
        assert_answered(service, bodies, 10)
        assert clients.closed > before, "the server closed no client"
    with closing(service.open_store()) as store:
        assert store.deliveries.find("attack") is None
    assert "Traceback" not in service.log.read_text()


def test_rule_3_slow_large_bodies_have_bounded_memory(service: Service, bodies: Iterator[bytes]) -> None:
    """Without a budget, 120 bodies of 1.8 MB take 270 MB; with it, 18 to 60 (up to 256 KB of each are still unread)."""
    before = peak_memory_bytes(service)
    with SlowClients(service.port, 120, LARGE_BODY):
        assert_answered(service, bodies, 5)
        assert peak_memory_bytes(service) - before < 120_000_000


def test_rule_3_silence_headers_and_bodies_have_a_deadline(service: Service) -> None:
    with ExitStack() as connections:
        for attack, answered in ((SILENCE, b""), (HEADERS, b"HTTP/1.1 408 "), (BODY, b"HTTP/1.1 408 ")):
            one = connections.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10))
            one.sendall(attack.opening)
            connections.callback(assert_closed, one, answered)


def assert_closed(connection: socket.socket, answered: bytes) -> None:
    """Read to the end; the response begins with `answered`, or is empty if that is."""
    said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert said[: len(answered)] == answered
    assert bool(said) == bool(answered)


def test_too_few_open_files_are_logged(service: Service) -> None:
    """The settings ask for 1,000 connections."""
    warnings = [json.loads(line) for line in service.log.read_text().splitlines() if "fewer connections" in line]
    assert [(line["level"], line["wanted"], line["connections"], line["files"]) for line in warnings] == [
        ("WARNING", 1000, 300, FILES)
    ]
