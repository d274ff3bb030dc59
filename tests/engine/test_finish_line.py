"""The log line about a finished delivery, and the requests to GitHub that it counts."""

from __future__ import annotations

import logging

import pytest

from hls_handler.errors import Permanent
from tests.engine.fakes import CLAUDE_DOWN, INVALID
from tests.engine.world import BUG, MakeWorld
from tests.queue.builders import accept, queued

FIELDS = ("state", "handler", "model", "input_tokens", "output_tokens", "cost_usd", "github_requests", "attempts")


def finish_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.message == "delivery finished"]


def test_finished_delivery_is_logged_once_with_its_cost(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = make_world(CLAUDE_DOWN, BUG)
    world.accept()
    assert world.run() is None
    sent_first = world.github.requests_sent
    world.advance(3600)
    world.finish()
    (line,) = finish_lines(caplog)
    fields = line.__dict__
    assert line.levelname == "INFO"
    assert [fields[name] for name in FIELDS] == [
        "done",
        "IssueHandler",
        "claude-haiku-5-5",
        900,
        100,
        0.00014,
        world.github.requests_sent,
        2,
    ]
    assert 0 < sent_first < world.github.requests_sent
    assert fields["prompt"].startswith("issues/analyze@")
    assert fields["duration_ms"] >= 3_600_000
    assert fields["reason"] == world.row().reason
    assert world.row().github_requests == world.github.requests_sent
    gather = world.store.checkpoints.load(world.row().guid)["gather", 0]
    assert gather.started_at is not None
    assert 0 < (gather.github_requests or 0) < world.github.requests_sent


def test_dead_letter_is_logged_as_an_error_with_its_cost(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(INVALID, INVALID)
    world.accept()
    world.finish()
    (line,) = finish_lines(caplog)
    assert (line.levelname, line.__dict__["state"], line.__dict__["attempts"]) == ("ERROR", "dead", 1)
    assert line.__dict__["model"] == "claude-haiku-5-5"
    assert line.__dict__["reason"] == world.row().reason


def test_delivery_without_a_call_has_no_prompt_and_no_cost(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = make_world()
    world.accept()
    world.github.failing = [Permanent("GitHub answered 404")]
    world.finish()
    (line,) = finish_lines(caplog)
    fields = line.__dict__
    assert (fields["prompt"], fields["model"], fields["cost_usd"]) == (None, None, 0)
    assert (fields["input_tokens"], fields["output_tokens"], fields["github_requests"]) == (0, 0, 1)


def test_superseded_delivery_and_one_whose_worker_died_are_logged(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = make_world()
    accept(world.store, queued("g1", number=7))
    accept(world.store, queued("g2", number=7, action="closed", supersedes="all"))
    (superseded,) = finish_lines(caplog)
    assert (superseded.__dict__["delivery"], superseded.__dict__["state"]) == ("g1", "superseded")
    caplog.clear()
    world.store.queue.claim(worker="w", lease_s=30, max_crashes=1)
    world.advance(31)
    world.store.queue.claim(worker="w", lease_s=30, max_crashes=1)
    (dead,) = finish_lines(caplog)
    assert (dead.__dict__["delivery"], dead.__dict__["state"], dead.levelname) == ("g2", "dead", "ERROR")
    assert dead.__dict__["reason"] == "its worker died 1 time without completing another step"
