"""A git host that does not answer, with a real git server on loopback, and workers that wait for
it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hls_handler.git.mirror import Mirrors
from tests.git.git_server import Origin
from tests.git.test_mirror import REJECTED, TOKEN, UNREACHABLE, World, text

SILENT = "the git server does not answer"
BUSY = "enough other reviews wait for the git server"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path, most_waiting=2)
    with closing(opened.server):
        yield opened


def make_repository(world: World, name: str) -> str:
    """Create "o/NAME" with one file, and return its commit."""
    return Origin(world.folder / f"served/o/{name}.git").commit({"a": name.encode() * 2_000})


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("hang", SILENT), ("trickle", SILENT), ("unavailable", UNREACHABLE)],
)
def test_one_fetch_a_minute_probes_a_git_host_that_does_not_answer(
    world: World, mode: Any, reason: str
) -> None:
    commits = {name: make_repository(world, name) for name in ("first", "second", "third", "old")}
    assert world.find_reason("old", commits["old"]) == ""
    world.server.mode = mode
    world.change(timeout_s=2.0)
    assert world.find_reason("first", commits["first"]) == reason
    assert world.reports == [reason]
    fetches = world.server.fetches
    world.now = 59.0
    assert world.find_reason("second", commits["second"]) == reason
    assert world.find_reason("old", commits["old"]) == ""  # it is there
    assert world.server.fetches == fetches
    world.now = 61.0
    assert world.find_reason("second", commits["second"]) == reason
    assert world.find_reason("third", commits["third"]) == reason
    # a connection that fails is repeated once
    assert world.server.fetches in (
        fetches + 1,
        fetches + 2,
    )
    world.server.mode = "serve"
    world.change(timeout_s=60.0)
    world.now = 122.0
    assert [world.find_reason(name, commits[name]) for name in ("first", "second", "third")] == [
        "",
        "",
        "",
    ]
    assert world.reports == [reason, reason, ""]


def test_git_host_that_ends_to_send_within_a_pack_does_not_answer(world: World) -> None:
    commit = world.origin.commit({"a.txt": os.urandom(500_000)})
    world.server.mode = "stall"
    world.change(timeout_s=15.0)
    assert world.open(commit).no_mirror == SILENT
    assert world.reports == [SILENT]


def test_git_host_that_refuses_connections_opens_the_breaker_after_a_second_try(
    world: World,
) -> None:
    commit = make_repository(world, "r1")
    base_url = world.server.base_url
    world.server.close()
    assert world.open(commit, repository="o/r1", base_url=base_url).no_mirror == UNREACHABLE
    assert world.reports == [UNREACHABLE]


def test_repository_that_the_host_does_not_give_does_not_open_the_breaker(world: World) -> None:
    commit = make_repository(world, "other")
    assert world.find_reason("absent", "1" * 40) == REJECTED
    assert world.find_reason("other", commit) == ""
    assert world.reports == []


def test_answer_of_any_kind_closes_the_breaker(world: World) -> None:
    commit = make_repository(world, "other")
    world.server.mode = "hang"
    world.change(timeout_s=0.5)
    assert world.find_reason("other", commit) == SILENT
    world.server.mode = "serve"
    world.change(timeout_s=60.0)
    world.now = 61.0
    assert world.find_reason("absent", "1" * 40) == REJECTED
    assert world.find_reason("other", commit) == ""
    assert world.reports == [SILENT, ""]


def in_threads(
    world: World, commits: dict[str, str]
) -> tuple[list[threading.Thread], dict[str, str]]:
    """Open these repositories at once. The threads fill in the reasons."""
    reasons: dict[str, str] = {}

    def run(name: str, commit: str) -> None:
        reasons[name] = world.find_reason(name, commit)

    threads = [threading.Thread(target=run, args=one) for one in commits.items()]
    for thread in threads:
        thread.start()
    return threads, reasons


def test_no_more_workers_wait_for_a_git_host_that_hangs_than_may(world: World) -> None:
    names = ("one", "two", "three")
    commits = {name: make_repository(world, name) for name in names}
    world.server.mode = "hang"
    threads, reasons = in_threads(world, {name: commits[name] for name in ("one", "two")})
    assert world.server.until_hanging(2)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        world.now += seconds

    world.wait = wait
    assert world.find_reason("three", commits["three"]) == BUSY
    assert 2.9 < sum(waited) < 3.1
    assert world.find_reason("three", commits["three"]) == BUSY
    assert 2.9 < sum(waited) < 3.1  # at once, because none of the others has got an answer
    assert world.server.fetches == 2
    world.server.close()
    for thread in threads:
        thread.join()
    assert reasons == {"one": UNREACHABLE, "two": UNREACHABLE}
    assert world.find_reason("three", commits["three"]) == UNREACHABLE


def test_workers_wait_for_their_turn_while_the_git_host_answers(world: World) -> None:
    world.mirrors = Mirrors(lambda: world.settings, most_waiting=1)
    commits = {f"r{number}": make_repository(world, f"r{number}") for number in range(6)}
    threads, reasons = in_threads(world, commits)
    for thread in threads:
        thread.join()
    assert set(reasons.values()) == {""}


def test_worker_that_waits_for_a_fetch_of_the_same_repository_does_not_ask_a_host_that_hangs(
    world: World,
) -> None:
    commit = make_repository(world, "r1")
    world.server.mode = "hang"
    world.change(timeout_s=1.0)
    threads, reasons = in_threads(world, {"r1": commit})
    assert world.server.until_hanging(1)
    assert world.find_reason("r1", "1" * 40) == SILENT
    threads[0].join()
    assert reasons == {"r1": SILENT}
    assert world.server.fetches == 1


def test_commit_is_fetched_again_a_minute_after_the_host_hung(world: World) -> None:
    commit = world.origin.commit({"a": b"1\n"})
    world.server.mode = "hang"
    world.change(timeout_s=0.5)
    assert world.open(commit).no_mirror == SILENT
    world.server.mode = "serve"
    world.change(timeout_s=60.0)
    world.now = 61.0
    assert text(world.open(commit, token=TOKEN), "a") == "1\n"
