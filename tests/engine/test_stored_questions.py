"""A review in several calls: each question is stored."""

from __future__ import annotations

import json

import pytest

from hls_handler.claude.provider import request_schema
from hls_handler.deliveries import FIRST_PART, VERIFICATION
from hls_handler.engine.codecs import facts_codec
from tests.engine.test_run_prompts import REFUSED_REPLY, ask, facts_of, found, shown, verdicts
from tests.engine.world import MakeWorld, World


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A review of three files in three calls, of which Claude refused the second, and the
    verification.
    """
    world = make_world(found("a.py"), REFUSED_REPLY, found("c.py"), verdicts(1))
    world.accept("pull_request.opened")
    facts, job = facts_of("a.py", "b.py", "c.py"), world.job()
    job.add(facts_codec(job.handler.facts_type), facts)
    answered = ask(job, facts)
    assert shown(answered) == ["c.py"]
    world.store.checkpoints.save(job.lease, *job.pending.take())
    return world


def test_each_question_of_a_review_is_stored_as_sent(world: World) -> None:
    calls = world.store.calls.calls_of(world.row().guid)
    assert [call.index for call in calls] == [0, FIRST_PART + 1, FIRST_PART + 2, VERIFICATION]
    for call, sent in zip(calls, world.claude.asked, strict=True):
        assert call.request_digest is not None
        stored = world.store.questions.find(world.row().guid, call.request_digest)
        assert stored is not None
        assert (stored.system, stored.message) == (sent.system, sent.task)
        assert json.loads(stored.schema) == request_schema(sent.schema)
