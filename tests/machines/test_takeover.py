"""Takeover: another process continues the deliveries of a killed one, and a stopped process writes
nothing later.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.e2e.service import SHORT_LEASE, Service
from tests.github_fake.faults import Fault
from tests.machines.fleet import Fleet

STOPPED = "T"


def is_calling_claude(fleet: Fleet, guid: str) -> bool:
    return any(call.finished_at is None for call in fleet.store.calls.calls_of(guid))


def state_of(pid: int) -> str:
    """Return "T" for a stopped process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_delivery_of_killed_process_continues_within_the_lease(fleet: Fleet) -> None:
    one, _ = (service.start() for service in fleet.services[:2])
    fleet.sandbox.faults.add(
        Fault(effect="slow", stand_in="claude", path="/v1/messages", seconds=2)
    )
    fleet.deliver(one, 701, guid="killed")
    fleet.until(lambda: is_calling_claude(fleet, "killed"))
    killed = fleet.owner_of("killed")
    killed.stop(signal.SIGKILL)
    killed_at = time.monotonic()
    fleet.until(lambda: fleet.row("killed").attempt == 2)
    assert time.monotonic() - killed_at <= SHORT_LEASE.lease_s + 3
    fleet.until_idle()
    fleet.assert_once(701)


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
        assert [call.outcome for call in fleet.store.calls.calls_of("stopped-before-write")] == [
            "ok"
        ]
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
