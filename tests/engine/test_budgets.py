"""Deliveries whose next call does not fit a budget: they wait, or end without a reply."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hls_handler.errors import DependencyDown
from hls_handler.settings.model import Settings
from tests.engine.claude import CLAUDE_DOWN, INVALID
from tests.engine.world import BUG, NOON, MakeWorld, World, settings
from tests.handlers.world import ISSUE, pull_request, pull_request_analysis

SHA = pull_request().head_sha
SMALL = {"day_usd": 0.01}


def make(make_world: MakeWorld, given: Settings, *replies: object) -> World:
    world = make_world(*replies, given=given)
    world.advance((NOON - world.store.now()).total_seconds())
    return world


def test_deliveries_wait_for_the_next_day_and_the_log_says_so_once(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(make_world, settings(budgets={"total": {"day_usd": 0.0501}}))
    states = []
    for number in (1, 2, 3):
        # no reply of the cache fits
        world.github.put_issue(replace(ISSUE, body=f"Another text, number {number}"))
        world.accept(guid=f"g{number}", number=number)
        world.run()
        states.append(world.row(f"g{number}").state)
    assert states == ["done", "queued", "queued"]
    # without a budget of outsiders
    assert "GET /collaborators/Codertocat/permission" not in world.github.calls
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "a budget is used up",
        "degraded",
    ]
    assert world.component("claude").state == "degraded"
    world.advance(12 * 3600)
    assert world.finish().state == "done"


def test_review_that_waits_says_so_in_its_check(make_world: MakeWorld) -> None:
    world = make(make_world, settings(budgets={"total": SMALL}), pull_request_analysis())
    world.open_pull_request()
    assert world.run() is None
    assert (world.row().state, world.row().failures) == ("queued", 0)
    assert world.github.checks_of(SHA) == [
        "The budget for Claude is used up, so the review waits until 2026-11-21 00:00 UTC"
    ]


def test_check_says_by_when_a_review_is_tried_again_while_claude_is_down(
    make_world: MakeWorld,
) -> None:
    world = make(
        make_world, settings(), CLAUDE_DOWN, CLAUDE_DOWN, CLAUDE_DOWN, pull_request_analysis()
    )
    world.open_pull_request()
    shown: list[str] = []
    for _ in range(3):
        assert world.run() is None
        shown += world.github.checks_of(SHA)
        world.advance(100)
    assert shown == [
        "The review is in progress",
        "The review is in progress",
        "Claude does not answer; the review is tried again by 2026-11-20 12:04 UTC",
    ]
    world.advance(300)
    assert world.finish().state == "done"


def test_check_says_at_once_if_claude_asks_to_wait_for_an_hour(make_world: MakeWorld) -> None:
    hour = make_world().store.now() + timedelta(hours=1)
    down = DependencyDown(
        "Claude answered 529", dependency="claude", remedy="wait", not_before=hour
    )
    world = make(make_world, settings(), down, pull_request_analysis())
    world.open_pull_request()
    world.run()
    (title,) = world.github.checks_of(SHA)
    assert title.startswith("Claude does not answer; the review is tried again by ")


def test_review_that_does_not_wait_ends_with_an_incomplete_check(
    make_world: MakeWorld,
) -> None:
    world = make(
        make_world,
        settings(budgets={"total": SMALL, "exceeded": "ignore"}),
        pull_request_analysis(),
    )
    world.open_pull_request()
    finished = world.finish()
    assert finished.state == "done"
    assert world.github.checks_of(SHA) == ["neutral"]
    assert world.claude.asked == []


def test_issue_that_does_not_wait_is_ignored(make_world: MakeWorld) -> None:
    world = make(make_world, settings(budgets={"total": SMALL, "exceeded": "ignore"}))
    finished = world.process()
    assert (finished.state, world.row().reason_kind) == ("ignored", "over budget")
    assert (world.github.labels, world.github.comments) == ({}, {})


@pytest.mark.parametrize(("permission", "state"), [("read", "queued"), ("write", "done")])
def test_budget_of_outsiders_counts_only_accounts_without_write_permission(
    make_world: MakeWorld, permission: Any, state: str
) -> None:
    world = make(make_world, settings(budgets={"outsiders": SMALL}))
    world.github.permit("Codertocat", permission)
    world.accept()
    world.run()
    assert world.row().state == state
    assert world.component("claude").state != "degraded"
    assert world.github.calls.count("GET /collaborators/Codertocat/permission") == 1


def test_permission_is_read_once_for_several_calls(make_world: MakeWorld) -> None:
    world = make(make_world, settings(budgets={"outsiders": {"day_usd": 9}}), INVALID, BUG)
    assert world.process().state == "done"
    assert (
        len(world.claude.asked),
        world.github.calls.count("GET /collaborators/Codertocat/permission"),
    ) == (2, 1)
