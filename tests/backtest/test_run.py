"""Runs of backtests: kills, retries and money."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hls_handler.analysis import Usage
from hls_handler.backtest.first_text import FirstIssue, PastIssue, Truth
from hls_handler.backtest.plan import Inputs, make_side, make_tasks
from hls_handler.backtest.run import Run, RunStopped, Task
from hls_handler.errors import DependencyDown, StoreUnavailable
from hls_handler.events import Account
from hls_handler.prompting import recorded
from hls_handler.settings.effective import RepositoryTable
from hls_handler.store.backtests import BacktestStore
from hls_handler.store.replies import StoredReply
from tests.engine.fakes import FakeClaude, FakeGithub
from tests.engine.world import library, settings
from tests.handlers.world import issue_analysis

MONA = Account("mona", 11, "User")
NUMBERS = (3, 2, 1)
REPLY = issue_analysis(worth_saying=False)
DOWN = DependencyDown("Claude is down", dependency="claude", remedy="wait")


class Killed(BaseException):
    """The process ends here: nothing below it runs."""


@dataclass
class Killer:
    """Kills at one of the points that it passes."""

    at: int = 0  # 0: never
    passed: int = 0
    asked_when_killed: bool = False

    def pass_point(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Killed


class KillableStore(BacktestStore):
    """Passes a point before and after each write."""

    killer = Killer()

    def begin_call(self, *args: Any, **options: Any) -> int | None:
        self.killer.pass_point()
        call = super().begin_call(*args, **options)
        self.killer.pass_point()
        return call

    def end_call(
        self, call: int, usage: Usage, *, reply: StoredReply | None = None, error: str | None = None
    ) -> None:
        self.killer.pass_point()
        super().end_call(call, usage, reply=reply, error=error)
        self.killer.pass_point()

    def end(self, number: int, side: int, problem: str = "") -> None:
        self.killer.pass_point()
        super().end(number, side, problem)
        self.killer.pass_point()


def make_issue(number: int) -> PastIssue:
    opened = datetime(2026, 11, 2, 9, number, tzinfo=UTC)
    first = FirstIssue(number, MONA, opened, f"Thing {number}", "It fails.", ())
    return PastIssue(first, Truth(("bug",), (), ()))


@pytest.fixture
def tasks() -> tuple[Task, ...]:
    given = settings()
    effective = RepositoryTable(given).find(given.repositories[0].name)
    assert effective is not None
    document = recorded.load("issues.opened").payload["repository"]
    reader = FakeGithub().reader("Codertocat/Hello-World")
    inputs = Inputs(given, effective, document, (), {}, reader)
    return make_tasks(inputs, [make_side(library(), "issues/analyze")], map(make_issue, NUMBERS))


@dataclass
class World:
    path: Path
    tasks: tuple[Task, ...]
    claude: FakeClaude = field(default_factory=lambda: FakeClaude([REPLY]))
    waits: list[float] = field(default_factory=list)

    def run(self, killer: Killer | None = None, most_usd: float = 10.0) -> None:
        with KillableStore.open(self.path) as store:
            store.killer = killer or Killer()
            run = Run(store, self.tasks, per_second=1_000_000, threads=1, wait=self.waits.append)
            for _ in run.ask_all(lambda: self.claude, most_usd):
                pass

    def problems(self) -> list[str | None]:
        with BacktestStore.open(self.path) as store:
            return [store.load(number, 0).problem for number in NUMBERS]


@pytest.fixture
def world(tmp_path: Path, tasks: tuple[Task, ...]) -> World:
    return World(tmp_path / "a.db", tasks)


def test_kill_at_each_point_repeats_at_most_the_call_in_flight(
    tmp_path: Path, tasks: tuple[Task, ...]
) -> None:
    counting = Killer()
    World(tmp_path / "counting.db", tasks).run(counting)
    assert counting.passed == 18
    asked: list[int] = []
    for point in range(1, counting.passed + 1):
        world = World(tmp_path / f"{point}.db", tasks)
        with pytest.raises(Killed):
            world.run(Killer(at=point))
        world.run()
        assert world.problems() == ["", "", ""]
        asked.append(len(world.claude.asked))
    # of the six points of each issue, only one is between Claude's reply and its record
    assert asked == [3, 3, 4, 3, 3, 3] * 3


def test_outage_is_waited_for_and_then_ends_the_run(world: World) -> None:
    world.claude = FakeClaude([DOWN])
    with pytest.raises(RunStopped, match="Claude is down"):
        world.run()
    assert [wait for wait in world.waits if wait >= 1] == [2.0, 4.0, 8.0, 16.0]
    assert world.problems() == [None, None, None]
    world.claude = FakeClaude([REPLY])
    world.run()
    assert world.problems() == ["", "", ""]
    assert len(world.claude.asked) == 3


def test_calls_never_cost_more_than_allowed(world: World) -> None:
    # a call may cost $0.05, and costs $0.00014
    with pytest.raises(RunStopped, match=r"which does not fit --max-usd 0\.0502; run it again"):
        world.run(most_usd=0.0502)
    with BacktestStore.open(world.path) as store:
        assert store.spent_usd() == pytest.approx(0.00028)
    assert len(world.claude.asked) == 2


def test_file_of_a_running_backtest_is_not_opened_again(world: World) -> None:
    with (
        BacktestStore.open(world.path),
        pytest.raises(StoreUnavailable, match=r"another `hls backtest` uses .*a\.db: wait until"),
        BacktestStore.open(world.path),
    ):
        pass


def test_call_waits_for_the_money_that_open_calls_have_reserved(world: World) -> None:
    """A call may cost $0.05, and costs $0.00014: all three fit, one after the other."""
    with BacktestStore.open(world.path) as store:
        run = Run(store, world.tasks, per_second=1_000_000, threads=3)
        assert len([*run.ask_all(lambda: world.claude, 0.06)]) == 3
