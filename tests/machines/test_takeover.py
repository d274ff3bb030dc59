"""A machine that dies is taken over within its lease; one that comes back to life after that posts nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from hls_handler.sandbox.faults import Fault
from hls_handler.sandbox.server import Sandbox
from tests.e2e.service import Service, free_port
from tests.machines.fleet import Fleet

LEASE_S = 5
STOPPED = "T"


def in_a_call(fleet: Fleet, guid: str) -> bool:
    """Whether Claude is being asked for this delivery."""
    return any(call.finished_at is None for call in fleet.store.calls.calls_of(guid))


def answer_slowly(sandbox: Sandbox, seconds: float) -> None:
    sandbox.faults.add(Fault(effect="slow", stand_in="claude", path="/v1/messages", seconds=seconds))


def state_of(pid: int) -> str:
    """ "T" for a stopped process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_killed_machine_is_taken_over_within_its_lease_and_a_thawed_one_posts_nothing(
    ships: Fleet,
) -> None:
    door, other = (life.start() for life in ships.lives[:2])
    answer_slowly(ships.sandbox, 2)
    ships.deliver(door, 701, guid="killed")
    ships.until(lambda: in_a_call(ships, "killed"))
    victim = ships.owner_of("killed")
    assert victim is not None
    victim.stop(signal.SIGKILL)
    killed_at = time.monotonic()
    ships.until(lambda: ships.row("killed").attempt == 2)
    assert time.monotonic() - killed_at <= LEASE_S + 3
    ships.until_idle()
    ships.assert_once(701)
    victim.start()

    answer_slowly(ships.sandbox, 2)
    ships.deliver(door if door is not victim else other, 702, guid="frozen")
    ships.until(lambda: in_a_call(ships, "frozen"))
    zombie = ships.owner_of("frozen")
    assert zombie is not None
    assert zombie.pid is not None
    os.kill(zombie.pid, signal.SIGSTOP)
    ships.until_idle()
    ships.assert_once(702)
    before = ships.writes()
    os.kill(zombie.pid, signal.SIGCONT)
    ships.until(lambda: "lease lost" in zombie.log.read_text())
    assert zombie.stop() == 0
    assert ships.writes() == before
    assert (ships.row("frozen").state, ships.row("frozen").attempt) == ("done", 2)


def test_a_machine_frozen_between_the_fence_and_the_bytes_refuses_itself_when_it_thaws(
    ships: Fleet, tmp_path: Path
) -> None:
    port = free_port()
    freezing = Service(
        ships.settings,
        port,
        tmp_path / "freezing.log",
        ships.url,
        environ={"PORT": str(port), "STORAGE_URL": ships.url},
        program=("tests.machines.frozen",),
    )
    before = ships.writes()
    try:
        freezing.start()
        assert freezing.process is not None
        pid = freezing.process.pid
        ships.deliver(freezing, 703, guid="brink")
        ships.until(lambda: state_of(pid) == STOPPED)
        assert ships.writes() == before
        ships.lives[0].start()
        ships.until_idle()
        ships.assert_once(703)
        before = ships.writes()
        os.kill(pid, signal.SIGCONT)
        ships.until(lambda: "lease lost" in freezing.log.read_text())
        assert ships.writes() == before
        assert freezing.stop() == 0
        assert ships.writes() == before
    finally:
        freezing.stop(signal.SIGKILL)
