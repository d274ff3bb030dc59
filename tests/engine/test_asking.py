"""Calls to Claude: the hourly budget, corrections and late replies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.analysis import UnusableReply, ValidReply
from hls_handler.errors import DependencyDown
from hls_handler.prompting.render import RenderedPrompt
from tests.engine.fakes import INVALID, FakeClaude
from tests.engine.world import BUG, GUID, MakeWorld, settings


@pytest.mark.parametrize(
    ("may_have_succeeded", "outcome", "counted", "asked", "state"),
    [(True, "failed", 1, 1, "queued"), (False, "unavailable", 0, 2, "done")],
    ids=["no answer in time", "not processed"],
)
def test_call_that_may_have_succeeded_uses_the_budget(
    make_world: MakeWorld, may_have_succeeded: bool, outcome: str, counted: int, asked: int, state: str
) -> None:
    failure = DependencyDown("no answer", dependency="claude", remedy="wait", may_have_succeeded=may_have_succeeded)
    world = make_world(failure, BUG, given=settings(claude={"calls_per_hour": 1}))
    world.accept()
    world.run()
    assert [call.outcome for call in world.store.calls.calls_of(GUID)] == [outcome]
    assert world.store.calls.count_last_hour() == counted
    world.advance(60)
    world.run()
    assert (len(world.claude.asked), world.row().state) == (asked, state)


def test_retry_after_two_unusable_replies_starts_without_a_correction(
    make_world: MakeWorld,
) -> None:
    world = make_world(INVALID, INVALID, INVALID, BUG)
    world.accept()
    world.run()
    assert world.row().state == "dead"
    world.store.queue.retry(GUID)
    world.run()
    assert world.row().state == "done"
    assert [correction is None for correction in world.claude.corrections] == [True, False, True, False]


def test_rule_10_unusable_reply_is_redacted_before_it_is_sent_back(make_world: MakeWorld) -> None:
    world = make_world(replace(INVALID, text='{"summary": "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB'), BUG)
    world.accept()
    world.run()
    assert world.row().state == "done"
    assert [correction and correction.text for correction in world.claude.corrections] == [
        None,
        '{"summary": "[redacted: github-token]',
    ]


def test_call_that_ends_after_the_lease_is_recorded_with_its_cost(make_world: MakeWorld) -> None:
    world = make_world(BUG)
    world.accept()
    ask = world.claude.ask

    class SlowClaude(FakeClaude):
        def ask(
            self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
        ) -> ValidReply | UnusableReply:
            world.advance(31)
            return ask(rendered, correction=correction)

    world.claude = SlowClaude([])
    assert world.run() is None
    assert world.row().state == "running"
    assert world.store.checkpoints.load(GUID).keys() == {("route", 0), ("gather", 0)}
    assert [(call.outcome, call.cost_usd) for call in world.store.calls.calls_of(GUID)] == [("ok", 0.00014)]
