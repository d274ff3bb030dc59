"""A batch of two open issues and its undo, killed at each commit and at each request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection

from hls_handler.batches.triage import count_ends, undo
from hls_handler.store.batches import Batch
from tests.batches.backlog import BY, Backlog
from tests.engine.world import BUG, open_world
from tests.github_fake.reader import LocalTransport
from tests.handlers.conversation import Talk, open_home
from tests.handlers.world import HLS

NUMBERS = (7, 12)
PARTS = 9  # an odd number, so that each part has points before and after an act
TRIED = range(PARTS) if os.environ.get("ALL_KILLS") else range(1)
"""Parts of the points at which a kill is tried; `make crash` tries all."""


class Killed(BaseException):
    """The process ends here: nothing below it runs."""


@dataclass
class Killer:
    """Ends the process at one of the points that it passes, and lets nothing happen after it."""

    at: int = 0  # 0: never
    passed: int = 0
    is_dead: bool = False
    kills: int = 0
    is_on: bool = False

    def pass_point(self) -> None:
        if not self.is_on:
            return
        self.passed += not self.is_dead
        if self.passed == self.at and not self.kills:
            self.is_dead = True
            self.kills = 1
        if self.is_dead:
            raise Killed

    def until_done(self, act: Callable[[], None], restart: Callable[[], object]) -> None:
        """Act, and once more if it is killed."""
        self.is_on = True
        try:
            act()
        except Killed:
            self.is_dead = False
            restart()
            act()
        finally:
            self.is_on = False


@dataclass(frozen=True)
class Result:
    after_run: tuple[object, ...]
    after_undo: tuple[object, ...]
    history: Mapping[int, Sequence[str]]  # what HLS wrote on each issue, in order
    questions: int
    points: int


def install(world: Any, killer: Killer, patch: pytest.MonkeyPatch) -> None:
    """Let each commit, each request to GitHub and each call to Claude pass two points."""
    database = world.store.database
    writing, send, ask = database.writing, LocalTransport.send, world.claude.ask

    @contextmanager
    def kill_commits(**options: Any) -> Iterator[Connection]:
        with writing(**options) as connection:
            yield connection
            killer.pass_point()
        killer.pass_point()

    def kill(request: Callable[..., Any]) -> Callable[..., Any]:
        def send_once(*args: Any, **options: Any) -> Any:
            killer.pass_point()
            answer = request(*args, **options)
            killer.pass_point()
            return answer

        return send_once

    patch.setattr(database, "writing", kill_commits)
    patch.setattr(LocalTransport, "send", kill(send))
    patch.setattr(world.claude, "ask", kill(ask))


def triage_and_undo(at: int) -> Result:
    with open_world() as world, pytest.MonkeyPatch.context() as patch:
        home = open_home(world, labels={"issue_type": True})
        home.go_live()
        home.says(BUG)
        backlog, killer, runs = Backlog(home), Killer(at), list[Batch]()
        backlog.add_issue(7)
        install(world, killer, patch)
        plan = backlog.plan(comments=True)

        def start() -> None:
            newest = [one.batch for one in world.store.batches.newest(limit=1)]
            runs[:] = newest or [backlog.start_of(plan)]

        def take_back() -> None:
            undo(world.store, runs[0], by=BY)

        restart = world.store.queue.release_all_leases
        killer.until_done(start, restart)
        killer.until_done(backlog.process, restart)
        shown = [Talk(home, number).shown() for number in NUMBERS]
        ends = count_ends(backlog.progress(runs[0]).deliveries)
        after_run = (runs[0].id, ends, shown)
        killer.until_done(take_back, restart)
        killer.until_done(backlog.process, restart)
        assert killer.kills == (0 < at <= killer.passed)
        shown = [Talk(home, number).shown() for number in NUMBERS]
        ends = count_ends(backlog.progress(runs[0]).undo)
        return Result(
            after_run,
            (backlog.progress(runs[0]).state, ends, shown),
            {number: written(Talk(home, number)) for number in NUMBERS},
            len(home.questions),
            killer.passed,
        )


def written(talk: Talk) -> list[str]:
    """Return the events and comments of HLS, and the number of edits of each comment."""
    events = [f"{one.kind} {one.detail}" for one in talk.now.events if one.actor.login == HLS.login]
    return [*events, *(f"comment with {len(one.edits)} edits" for one in talk.now.comments)]


@pytest.fixture(scope="module")
def undisturbed() -> Result:
    return triage_and_undo(0)


@pytest.mark.full
@pytest.mark.parametrize("part", TRIED)
def test_kill_pays_and_writes_nothing_twice(undisturbed: Result, part: int) -> None:
    assert undisturbed.questions == 2
    assert undisturbed.points > 100
    repeated = list[int]()
    for at in range(1 + part, undisturbed.points + 1, PARTS):
        found = triage_and_undo(at)
        assert (at, found.after_run) == (at, undisturbed.after_run)
        assert (at, found.after_undo) == (at, undisturbed.after_undo)
        assert (at, found.history) == (at, undisturbed.history)
        assert found.questions <= 3, at
        if found.questions == 3:
            repeated.append(at)
    # of each of two calls: after the reply, and before the commit that stores it
    assert len(repeated) <= 4
