"""Takeover: another process continues the deliveries of a killed one, and a stopped process writes nothing later."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sqlalchemy import make_url

from hls_handler.sandbox.faults import Fault
from hls_handler.sandbox.server import Sandbox
from tests.e2e.postgresql_proxy import Proxy
from tests.e2e.service import Service
from tests.machines.fleet import Fleet
from tests.postgres import Cluster

LEASE_S = 5
STOPPED = "T"


def is_calling_claude(fleet: Fleet, guid: str) -> bool:
    return any(call.finished_at is None for call in fleet.store.calls.calls_of(guid))


def delay_claude(sandbox: Sandbox, seconds: float) -> None:
    sandbox.faults.add(Fault(effect="slow", stand_in="claude", path="/v1/messages", seconds=seconds))


def state_of(pid: int) -> str:
    """Return "T" for a stopped process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_delivery_of_killed_process_continues_within_the_lease_and_a_stopped_process_writes_nothing(
    fleet: Fleet,
) -> None:
    one, other = (service.start() for service in fleet.services[:2])
    delay_claude(fleet.sandbox, 2)
    fleet.deliver(one, 701, guid="killed")
    fleet.until(lambda: is_calling_claude(fleet, "killed"))
    killed = fleet.owner_of("killed")
    killed.stop(signal.SIGKILL)
    killed_at = time.monotonic()
    fleet.until(lambda: fleet.row("killed").attempt == 2)
    assert time.monotonic() - killed_at <= LEASE_S + 3
    fleet.until_idle()
    fleet.assert_once(701)
    killed.start()

    delay_claude(fleet.sandbox, 2)
    fleet.deliver(one if one is not killed else other, 702, guid="stopped")
    fleet.until(lambda: is_calling_claude(fleet, "stopped"))
    stopped = fleet.owner_of("stopped")
    assert stopped.process is not None
    stopped.process.send_signal(signal.SIGSTOP)
    fleet.until_idle()
    fleet.assert_once(702)
    before = fleet.writes()
    stopped.process.send_signal(signal.SIGCONT)
    fleet.until(lambda: "lease lost" in stopped.log.read_text())
    assert stopped.stop() == 0
    assert fleet.writes() == before
    assert (fleet.row("stopped").state, fleet.row("stopped").attempt) == ("done", 2)


def test_process_stopped_between_lease_check_and_write_does_not_write_after_a_takeover(
    fleet: Fleet, tmp_path: Path
) -> None:
    service = Service(
        fleet.settings,
        0,
        tmp_path / "stopped.log",
        fleet.url,
        environ={"STORAGE_URL": fleet.url},
        program=("tests.machines.stopped_before_write",),
    )
    before = fleet.writes()
    try:
        service.start()
        assert service.process is not None
        pid = service.process.pid
        fleet.deliver(service, 703, guid="stopped-before-write")
        fleet.until(lambda: state_of(pid) == STOPPED)
        assert [call.outcome for call in fleet.store.calls.calls_of("stopped-before-write")] == ["ok"]
        assert fleet.writes() == before
        fleet.services[0].start()
        fleet.until_idle()
        fleet.assert_once(703)
        before = fleet.writes()
        os.kill(pid, signal.SIGCONT)
        fleet.until(lambda: "lease lost" in service.log.read_text())
        assert fleet.writes() == before
        assert service.stop() == 0
        assert fleet.writes() == before
    finally:
        service.stop(signal.SIGKILL)


def test_process_without_its_database_for_ten_seconds_doubles_nothing_that_the_others_do(
    fleet: Fleet, postgres: Cluster, tmp_path: Path
) -> None:
    with Proxy(postgres.socket) as proxy:
        url = postgres.url(str(make_url(fleet.url).database), port=proxy.port)
        alone = Service(fleet.settings, 0, tmp_path / "alone.log", url, environ={"STORAGE_URL": url})
        try:
            alone.start()
            delay_claude(fleet.sandbox, 2)
            fleet.deliver(alone, 704, guid="cut-off")
            fleet.until(lambda: is_calling_claude(fleet, "cut-off"))
            proxy.hang()
            cut_off_at = time.monotonic()
            one, other = (service.start() for service in fleet.services[:2])
            fleet.deliver(one, 705, guid="meanwhile")
            fleet.deliver(other, 706, guid="meanwhile-too")
            fleet.until_idle()
            assert fleet.row("cut-off").attempt == 2
            fleet.until(lambda: time.monotonic() - cut_off_at >= 10)
            proxy.resume()
            fleet.until(lambda: "lease lost" in alone.log.read_text())
            fleet.deliver(alone, 707, guid="afterwards")
            fleet.until_idle()
            assert alone.stop() == 0
        finally:
            proxy.resume()
            alone.stop(signal.SIGKILL)
    for number in (704, 705, 706, 707):
        fleet.assert_once(number)
