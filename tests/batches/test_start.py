"""Batches that are started by two commands at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.batches.backlog import Backlog


def test_two_commands_at_the_same_moment_pay_each_issue_once(backlog: Backlog) -> None:
    previews = [backlog.plan(), backlog.plan()]
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(backlog.start_of, previews))
    backlog.process()
    numbers = [len(backlog.progress(batch).deliveries) for batch in started]
    assert sorted(numbers) == [0, 3]
    assert len(backlog.home.questions) == 3
