"""Catch-up when single payloads or lists cannot be read: which deliveries are read, tried again, lost or rejected."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hls_handler.actions import StoredComment
from hls_handler.deliveries import NewDelivery
from hls_handler.errors import DependencyDown
from hls_handler.storage import Storage
from hls_handler.store.conversations import CommentChange, ConversationRef
from tests.background.catch_up_world import (
    OTHER,
    OTHER_ID,
    REPOSITORY,
    REPOSITORY_ID,
    World,
    component,
    hook,
    make_loop,
    make_settings,
)

SERVER_ERROR = "GET /repos/octo/widgets/hooks/1/deliveries/1: 502 Server Error"


def server_error(message: str = SERVER_ERROR) -> DependencyDown:
    return DependencyDown(message, dependency="github", remedy="wait", applies_to_all_calls=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    ahead: list[timedelta] = []
    with closing(Storage.open(f"sqlite:///{tmp_path}/hls.db", skew=lambda: sum(ahead, timedelta()))) as store:
        yield World(store, ahead=ahead)


def two_repositories(world: World) -> None:
    world.settings = make_settings(REPOSITORY, OTHER)
    world.github.hook_lists = {f"/repos/{REPOSITORY}": [hook(1)], f"/repos/{OTHER}": [hook(2)]}


def test_unread_payload_delays_neither_later_deliveries_nor_other_hooks(world: World) -> None:
    two_repositories(world)
    world.github.send("bad", number=1)
    world.github.send("good", number=2)
    world.github.send("other", number=3, repository_id=OTHER_ID)
    world.github.errors["bad"] = server_error()
    loop, health = make_loop(world)
    loop.run()
    assert world.process_all() == ["good", "other"]
    found = component(health)
    assert (found.state, found.metrics["unread"], found.metrics["remaining"]) == ("degraded", 1, 1)
    assert found.message == f"1 missed webhook could not be read: {SERVER_ERROR}"
    assert found.remedy == "wait"
    assert loop.every_s() == 600.0

    world.github.errors.clear()
    loop.run()
    assert world.process_all() == ["bad"]
    assert (component(health).state, component(health).metrics["unread"]) == ("healthy", 0)
    world.github.requests.clear()
    loop.run()
    assert world.github.read == 0


def test_progress_is_not_stored_beyond_an_unread_delivery(world: World) -> None:
    world.github.send("first", number=1)
    world.github.send("bad", number=2)
    world.github.send("last", number=3)
    world.github.errors["bad"] = server_error()
    world.catch_up().run()
    assert world.store.catch_up.caught_up_to(f"https://api.github.com/repos/{REPOSITORY}/hooks/1") == 1
    assert [one.attempt.guid for one in world.catch_up().run(dry_run=True).missed] == ["bad"]


@pytest.mark.parametrize("every_s", [None, 5.0])
def test_delivery_that_could_not_be_read_for_an_hour_is_lost_with_one_warning(
    world: World, caplog: pytest.LogCaptureFixture, every_s: float | None
) -> None:
    world.github.send("bad")
    world.github.errors["bad"] = server_error()
    loop, health = make_loop(world, every_s=every_s)
    with caplog.at_level(logging.WARNING):
        loop.run()
        world.ahead.append(timedelta(minutes=59))
        loop.run()
        assert component(health).metrics["lost"] == 0
        world.ahead.append(timedelta(minutes=1))
        loop.run()
        loop.run()
    assert world.github.read == 3
    (lost,) = (record for record in caplog.records if record.message.startswith("missed webhook is lost"))
    assert (lost.__dict__["delivery"], lost.__dict__["why"]) == ("bad", SERVER_ERROR)
    assert (component(health).state, component(health).metrics["lost"]) == ("healthy", 1)
    assert world.catch_up().run().looked_at == 0


def test_many_adjacent_unread_payloads_do_not_block_the_others(world: World) -> None:
    two_repositories(world)
    for number in range(1, 6):
        world.github.send(f"bad-{number}", number=number)
        world.github.errors[f"bad-{number}"] = server_error()
    world.github.send("good", number=6)
    world.github.send("other", number=7, repository_id=OTHER_ID)
    catch_up = world.catch_up()
    catch_up.run()
    catch_up.run()
    assert world.process_all() == ["other", "good"]
    world.ahead.append(timedelta(hours=1))
    assert sum(catch_up.run().lost for _ in range(8)) == 5
    assert world.github.read == 15


def test_outage_costs_a_few_requests_and_loses_nothing(world: World) -> None:
    two_repositories(world)
    guids = [f"guid-{number}" for number in range(1, 41)]
    for number, guid in enumerate(guids, 1):
        world.github.send(guid, number=number)
    catch_up = world.catch_up()
    world.requests_before_stop = 12
    catch_up.run()
    world.requests_before_stop = 1_000_000
    world.github.requests.clear()
    world.github.down = server_error("502")
    for _ in range(5):
        assert len(catch_up.run().problems) > 0
    assert len(world.github.requests) <= 20
    world.github.down = None
    catch_up.run()
    assert sorted(world.process_all()) == sorted(guids)


def test_outage_in_the_middle_of_a_run_ends_it_after_a_few_requests(world: World) -> None:
    for number in range(1, 41):
        world.github.send(f"guid-{number}", number=number)
        if number > 10:
            world.github.errors[f"guid-{number}"] = server_error()
    report = world.catch_up().run()
    assert (report.accepted, report.unread, world.github.read) == (10, 3, 13)


@pytest.mark.parametrize("not_before", [datetime.now(UTC) + timedelta(minutes=1)], ids=["rate limit"])
def test_error_that_applies_to_all_requests_ends_the_run_at_once(world: World, not_before: datetime | None) -> None:
    world.github.send("first", number=1)
    world.github.send("second", number=2)
    all_calls = DependencyDown("no", dependency="github", remedy="set github.token", not_before=not_before)
    world.github.errors = {"first": all_calls, "second": all_calls}
    catch_up = world.catch_up()
    report = catch_up.run()
    assert ([problem.message for problem in report.problems], world.github.read) == (["no"], 1)
    world.github.errors.clear()
    world.store.queue.reschedule_waiting(forget_servers=True)
    assert (catch_up.run().accepted, report.lost) == (2, 0)


@pytest.mark.parametrize("error", [server_error("502")])
def test_list_that_cannot_be_read_does_not_stop_other_hooks(world: World, error: Exception) -> None:
    two_repositories(world)
    world.github.send("here", number=1)
    world.github.send("other", number=2, repository_id=OTHER_ID)
    world.github.list_errors[f"/repos/{REPOSITORY}"] = error
    catch_up = world.catch_up()
    assert [problem.message for problem in catch_up.run().problems] == [str(error)]
    assert world.process_all() == ["other"]
    world.github.list_errors.clear()
    assert catch_up.run().accepted == 1


def changed_payload(**changes: object) -> bytes:
    payload: dict[str, object] = {
        "action": "opened",
        "repository": {"id": REPOSITORY_ID, "full_name": REPOSITORY},
        "sender": {"login": "ann"},
        "issue": {"number": 1, "title": "Widget", "user": {"login": "ann", "id": 3}},
    }
    return json.dumps(payload | changes).encode()


@pytest.mark.parametrize(
    "payload",
    [
        changed_payload(x="\ud800"),
        changed_payload(x="7").replace(b'"7"', b"1e400"),
        changed_payload(x="7").replace(b'"7"', b"[" * 100_000 + b"]" * 100_000),
        b'"text"',
        changed_payload(repository={"id": OTHER_ID, "full_name": REPOSITORY}),
        changed_payload(repository=None),
    ],
    ids=["surrogate", "infinity", "depth", "text", "other id", "no repository"],
)
def test_rule_5_payload_that_the_receiver_would_reject_is_read_once(
    world: World, caplog: pytest.LogCaptureFixture, payload: bytes
) -> None:
    world.settings = make_settings("octo/*", REPOSITORY)
    age = timedelta(minutes=1)  # listed again by the next run
    world.github.send("bad", age=age)
    world.github.payloads["bad"] = payload
    world.github.send("good", number=2, age=age)
    loop, health = make_loop(world)
    with caplog.at_level(logging.INFO):
        loop.run()
        loop.run()
    assert (world.github.read, world.process_all()) == (2, ["good"])
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "missed webhook rejected"
    ]
    assert component(health).state == "healthy"


def test_defect_is_shown_in_health_and_the_next_run_recovers(world: World) -> None:
    world.github.send("guid")
    world.github.errors["guid"] = ZeroDivisionError("defect")
    loop, health = make_loop(world)
    with pytest.raises(ZeroDivisionError):  # the thread logs it
        loop.run()
    found = component(health)
    assert (found.state, found.message) == ("degraded", "catch-up failed: ZeroDivisionError")
    assert found.remedy == "see the log"
    assert loop.every_s() == 600.0
    world.github.errors.clear()
    loop.run()
    assert (component(health).state, world.process_all()) == ("healthy", ["guid"])


def ask_author(world: World, *, answered: bool) -> None:
    """Store the checklist of our comment on issue 1."""
    queued = NewDelivery("opened", "issues", "opened", "request", "queued", repository_id=REPOSITORY_ID, number=1)
    world.store.queue.accept([queued], replay_window_h=72)
    lease = world.store.queue.claim(worker="w", lease_s=30, max_crashes=3)
    assert lease is not None
    state = json.dumps([{"text": "The version", "answered": answered}])
    asked = CommentChange(ConversationRef(REPOSITORY_ID, "hls-bot", 1), "issues", StoredComment(5, "digest", state))
    world.store.queue.finish(lease, "done", reason="asked", kind=None, handler=None, took_s=0.0, changes=[asked])


def send_comment(world: World, guid: str, author: str = "mallory") -> None:
    comment = {"id": 80, "user": {"login": author, "id": 4}, "body": "It is version 3."}
    world.github.send(guid, event="issue_comment", action="created", comment=comment)


@pytest.mark.parametrize("has_checklist", [False, True])
def test_comments_cost_no_request_if_no_author_was_asked_for_anything(world: World, has_checklist: bool) -> None:
    if has_checklist:
        ask_author(world, answered=True)
    for number in range(30):
        send_comment(world, f"guid-{number}")
    report = world.catch_up().run()
    assert (report.looked_at, report.missed, world.github.read, world.committed) == (30, [], 0, [])


def test_answer_of_an_author_to_an_open_checklist_is_caught_up(world: World) -> None:
    ask_author(world, answered=False)
    send_comment(world, "answer", author="ann")
    assert world.catch_up().run().accepted == 1
    assert world.process_all() == ["answer"]
