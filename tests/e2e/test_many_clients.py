"""Slow and many clients: whatever five hundred strangers do, who signs is answered."""

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
from tests.e2e.attackers import BODY, HEADERS, LARGE_BODY, SILENCE, Attack, Attackers
from tests.e2e.service import Service, free_port, settings_text

MANY = 500
FILES = 372
"""That the process may have open: with 72 of its own, it can hold 300 of the attackers."""

GITHUB_WAITS_S = 10.0


@pytest.fixture(scope="module")
def bodies() -> Iterator[bytes]:
    """Bodies of one opened issue, each another one for the guard against replays."""
    body = recorded.load("demo/bug").body
    return (body + b" " * number for number in range(1, 1000))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all that follows: what they left behind must not matter either."""
    folder = tmp_path_factory.mktemp("many-clients")
    url = f"sqlite:///{folder}/hls.db"
    with Sandbox() as sandbox:
        settings = settings_text(
            sandbox,
            port=(port := free_port()),
            storage_url=url,
            limits="concurrency: 1",
            server="header_timeout_s: 3, body_timeout_s: 3, max_body_bytes: 2000000, max_connections: 1000",
        )
        (path := folder / "settings.yaml").write_text(settings)
        made = Service(path, port, folder / "service.log", url, most_files=FILES).start()
        yield made
        made.stop()


def most_memory_bytes(service: Service) -> int:
    """That it ever had."""
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
    ids=["silent", "dripping headers", "dripping bodies", "all of these"],
)
def test_rule_3_five_hundred_slow_clients_keep_no_webhook_from_its_answer(
    service: Service, bodies: Iterator[bytes], attacks: tuple[Attack, ...]
) -> None:
    with Attackers(service.port, MANY, *attacks) as attackers:
        before = attackers.closed
        assert_answered(service, bodies, 10)
        assert attackers.closed > before, "they were there, and came again"
    with closing(service.open_store()) as store:
        assert store.deliveries.find("attack") is None
    assert "Traceback" not in service.log.read_text()


def test_rule_3_large_bodies_that_drip_do_not_add_up(service: Service, bodies: Iterator[bytes]) -> None:
    before = most_memory_bytes(service)
    with Attackers(service.port, 60, LARGE_BODY):
        assert_answered(service, bodies, 5)
        assert most_memory_bytes(service) - before < 40_000_000


def test_rule_3_silence_headers_and_bodies_have_a_deadline(service: Service) -> None:
    with ExitStack() as all_of_them:
        for attack, answered in ((SILENCE, b""), (HEADERS, b"HTTP/1.1 408 "), (BODY, b"HTTP/1.1 408 ")):
            one = all_of_them.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10))
            one.sendall(attack.opening)
            all_of_them.callback(assert_closed, one, answered)


def assert_closed(connection: socket.socket, answered: bytes) -> None:
    """After nothing but what begins like this."""
    said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert said[: len(answered)] == answered
    assert bool(said) == bool(answered)


def test_fewer_open_files_than_connections_need_are_told(service: Service) -> None:
    """The settings ask for 1,000 connections."""
    told = [json.loads(line) for line in service.log.read_text().splitlines() if "fewer connections" in line]
    assert [(line["level"], line["wanted"], line["connections"], line["files"]) for line in told] == [
        ("WARNING", 1000, 300, FILES)
    ]
