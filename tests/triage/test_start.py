"""Runs that are started by two commands at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from hls_handler.store.triage import TriageRuns
from hls_handler.triage.runs import start
from tests.triage.backlog import BY, Backlog


def test_two_commands_at_the_same_moment_make_one_run(
    backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = backlog.home.world.store
    plans = [backlog.plan(), backlog.plan()]
    both = Barrier(2, timeout=30)
    begin = TriageRuns.begin

    def begin_together(*args: Any, **options: Any) -> int:
        both.wait()  # both have found no run
        return begin(*args, **options)

    monkeypatch.setattr(TriageRuns, "begin", begin_together)
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda plan: start(store, plan, by=BY), plans))
    backlog.process()
    assert {run.id for run in started} == {1}
    assert [run.id for run in store.triage.newest(most=9)] == [1]
    assert len(backlog.home.questions) == 3


def test_plan_of_a_run_that_was_taken_back_meanwhile_starts_another_run(backlog: Backlog) -> None:
    run = backlog.run(max_usd=0.0502).run
    plan = backlog.plan(max_usd=1.0)
    assert plan.continued is not None
    backlog.undo(run)
    assert backlog.start_of(plan).id == run.id + 1
