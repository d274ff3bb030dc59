"""`hls batch` as a process: interrupted, killed, and beside a service."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_sandbox.claude import Asked
from tests.batches.histories import REPOSITORY, Past, Step, add_issue
from tests.e2e.conftest import service_maker
from tests.e2e.service import wait_until
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox
from tests.handlers.world import issue_analysis

NUMBERS = range(100, 130)
OPEN = range(200, 203)
CLOSED = ("--closed", REPOSITORY)
WORKERS = 3  # one more than limits.concurrency


@dataclass
class Claude:
    """Answers after `goes_on` is set."""

    asked: list[str] = field(default_factory=list)
    goes_on: threading.Event = field(default_factory=threading.Event)

    def __call__(self, asked: Asked) -> Any:
        self.asked.append(asked.user)
        self.goes_on.wait(20)
        return issue_analysis(worth_saying=False).model_dump(mode="json")

    def wait_for_questions(self, number: int) -> None:
        total = len(self.asked) + number
        wait_until(lambda: len(self.asked) >= total, within_s=60)


@dataclass
class World:
    sandbox: Sandbox
    claude: Claude
    settings: Path

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "hls_handler", "batch"]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *arguments, "--config", str(self.settings)],
            env={**os.environ, "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, output + errors
        return output

    def show(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("show", "1", "--json"))
        return document


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    claude = Claude()
    with Sandbox(answer=claude) as sandbox, service_maker(sandbox, tmp_path) as make:
        sandbox.state.seed("issues", recorded.load("issues.opened").payload)
        sandbox.state.create_label(REPOSITORY, "bug", "ededed", None)
        for number in NUMBERS:
            steps = [Step("labeled", "bug")]
            add_issue(sandbox.state, Past(number, f"Thing {number}", "It fails.", steps=steps))
        yield World(sandbox, claude, make(limits="concurrency: 2").settings)


def begin(world: World) -> subprocess.Popen[str]:
    """Begin a batch, and wait until Claude is asked."""
    process = world.start("try", "issues/analyze", *CLOSED, "--yes")
    wait_until(lambda: bool(world.claude.asked))
    return process


def test_ctrl_c_leaves_a_batch_stopped(world: World) -> None:
    process = begin(world)
    process.send_signal(signal.SIGINT)
    world.claude.goes_on.set()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopped; `hls batch continue 1` goes on" in errors
    assert world.show()["state"] == "stopped"
    world.run("continue", "1")
    assert world.show()["state"] == "done"
    assert len(world.claude.asked) == len(NUMBERS)


def add_open_issues(world: World, *numbers: int) -> None:
    payload = recorded.load("issues.opened").payload
    for number in numbers:
        issue = {**payload["issue"], "number": number, "labels": []}
        world.sandbox.state.seed("issues", {**payload, "issue": issue})


def triage(world: World) -> None:
    add_open_issues(world, *OPEN)
    world.claude.goes_on.set()
    world.run("triage", REPOSITORY, "--limit", "3", "--yes")


def interrupt_undo(world: World) -> str:
    """Interrupt an undo while it removes a label; return its standard error."""
    world.sandbox.faults.add(Fault(effect="slow", method="DELETE", seconds=2))
    process = world.start("undo", "1", "--yes")
    requests = world.sandbox.requests
    wait_until(lambda: any(seen.method == "DELETE" for seen in requests.all()), within_s=90)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    return errors


def test_interrupted_undo_goes_on_by_the_command_that_it_names(world: World) -> None:
    triage(world)
    assert "`hls batch undo 1` goes on" in interrupt_undo(world)
    assert "bug" in find_labels(world)
    continued = world.start("continue", "1")
    _, errors = continued.communicate(timeout=60)
    assert "is being taken back; a service goes on with that, or `hls batch undo 1`" in errors
    assert "undone, 3 of 3 ended" in world.run("undo", "1", "--yes")
    assert find_labels(world) == set()


@pytest.mark.full
@pytest.mark.parametrize("arguments", [("try", "issues/analyze", *CLOSED), ("triage", REPOSITORY)])
def test_batch_that_is_killed_ten_times_pays_no_reply_twice(
    world: World, arguments: tuple[str, ...]
) -> None:
    add_open_issues(world, *range(200, 230))
    world.claude.goes_on.set()
    process = world.start(*arguments, "--limit", "30", "--yes")
    for _ in range(10):
        world.claude.wait_for_questions(2)
        process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        process = world.start("continue", "1")
    output, errors = process.communicate(timeout=120)
    assert "done, 30 of 30 ended" in output, errors
    with closing(sqlite3.connect(world.settings.parent / "hls.db")) as connection:
        paid = "SELECT count(*), count(DISTINCT delivery_id) FROM calls WHERE outcome = 'ok'"
        assert connection.execute(paid).fetchone() == (30, 30)
    assert len(world.claude.asked) <= 30 + 10 * WORKERS


def find_labels(world: World) -> set[str]:
    return {label for number in OPEN for label in world.sandbox.conversation(number).labels}


def test_running_service_processes_a_batch(world: World, tmp_path: Path) -> None:
    world.claude.goes_on.set()
    with service_maker(world.sandbox, tmp_path) as make:
        service = make(limits="concurrency: 2").start()
        output = world.run("try", "issues/analyze", *CLOSED, "--yes")
        assert "done, 30 of 30 ended" in output
        assert service.finished == len(NUMBERS)  # and not the command


def test_service_goes_on_with_an_interrupted_undo(world: World, tmp_path: Path) -> None:
    triage(world)
    with service_maker(world.sandbox, tmp_path) as make:
        make(limits="concurrency: 2").start()
        assert "the undo is not stopped: `hls serve` goes on with it" in interrupt_undo(world)
        wait_until(lambda: not find_labels(world), within_s=60)


@pytest.mark.full
def test_command_that_waits_for_a_service_in_vain_does_not_stop_the_batch(
    world: World, tmp_path: Path
) -> None:
    with service_maker(world.sandbox, tmp_path) as make:
        service = make(limits="concurrency: 2").start()
        process = begin(world)
        service.stop(signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 1, errors
        assert "no service works on it: start `hls serve`; batch 1 is not stopped" in errors
        world.claude.goes_on.set()
        make(limits="concurrency: 2").start()
        wait_until(lambda: world.show()["state"] == "done", within_s=120)
