"""Tries of a prompt on the last deliveries that it was asked about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from hls_handler.batches import past
from hls_handler.batches.preview import CannotPlan, Preview
from hls_handler.batches.recorded import BatchPrompt
from hls_handler.batches.results import load_result
from hls_handler.reports.documents import to_json
from hls_handler.store.batches import Batch
from tests.engine.claude import FakeClaude
from tests.engine.world import BUG, GUID, World, library, open_world
from tests.handlers.world import ISSUE

PROMPT = "issues/analyze"


@pytest.fixture
def world() -> Iterator[World]:
    """A world with one finished issue."""
    with open_world() as found:
        found.accept()
        found.finish()
        yield found


def plan(world: World, prompt: str = PROMPT) -> Preview:
    current = library().prompts[prompt]
    batch_prompt = BatchPrompt(prompt, current.id, library().sources[prompt])
    return past.plan(world.store, world.settings, batch_prompt, last=20, max_usd=1.0)


def begin(world: World) -> Batch:
    preview = plan(world)
    batch = world.store.batches.begin(preview.new, preview.subjects, by="mona", facts=preview.facts)
    found = world.store.batches.find(batch)
    assert found is not None
    return found


def run(world: World) -> past.PastResult:
    batch = begin(world)
    assert world.finish().state == "done"
    result = load_result(world.store, world.store.batches.load_progress(batch))
    assert isinstance(result, past.PastResult)
    return result


def test_facts_are_those_of_the_delivery_and_not_those_of_now(world: World) -> None:
    world.github.put_issue(replace(ISSUE, title="LATER"))
    result = run(world)
    first, second = world.claude.asked
    assert first.task == second.task
    assert (result.different, len(result.replies)) == (0, 1)


def test_result_shows_what_differs_from_the_posted_reply_and_both_costs(
    world: World,
) -> None:
    world.claude = FakeClaude([BUG.model_copy(update={"kind": "question"})])
    result = run(world)
    (reply,) = result.replies
    changed = [line for line in reply.diff if line.startswith(("+", "-"))]
    assert changed == ["-kind: bug", "+kind: question"]
    assert (result.different, result.cost_usd, result.posted_usd) == (1, 0.00014, 0.00014)


def test_posted_cost_has_no_calls_of_other_prompts(world: World) -> None:
    with world.store.database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO calls (delivery_id, step_index, prompt_id, model, started_at,"
            " finished_at, outcome, cost_micro_usd) SELECT delivery_id, 1,"
            " 'issues/follow_up@aaaaaa', model, started_at, finished_at, outcome, 5000 FROM calls"
        )
    assert run(world).posted_usd == 0.00014


def test_credentials_in_a_reply_are_redacted(world: World) -> None:
    leaking = BUG.model_copy(update={"recommended_response": f"Use ghp_{'a1B2' * 9}."})
    world.claude = FakeClaude([leaking])
    assert "ghp_a1B2" not in to_json(run(world))


def test_tries_are_no_deliveries_that_a_prompt_is_tried_on(world: World) -> None:
    run(world)
    preview = plan(world)
    assert [*preview.facts.values()] == [GUID]


def test_deliveries_of_other_prompts_do_not_hide_older_ones(world: World) -> None:
    world.accept(guid="other", number=50)
    world.finish()
    with world.store.database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE calls SET prompt_id = 'issues/other@aaaaaa' WHERE delivery_id ="
            " (SELECT id FROM deliveries WHERE guid = 'other')"
        )
    since = world.store.now() - timedelta(days=1)
    rows = world.store.deliveries.with_reply(PROMPT, since=since, limit=1)
    assert [row.guid for row in rows] == [GUID]


def test_delivery_whose_facts_are_not_stored_is_left_out(world: World) -> None:
    with world.store.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM checkpoints WHERE name = 'gather'")
    with pytest.raises(CannotPlan) as caught:
        plan(world)
    assert str(caught.value) == (
        "no delivery that issues/analyze was asked about can be tried: it ended, or waits, before"
        " its facts were read from GitHub (1); see --closed"
    )


def test_prompt_that_was_not_asked_has_nothing_to_try(world: World) -> None:
    with pytest.raises(CannotPlan, match="asked about can be tried: there is none; see --closed"):
        plan(world, "pull_requests/analyze")
