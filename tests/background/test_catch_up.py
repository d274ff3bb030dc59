"""Catch-up: which missed webhooks are read, and that each of them becomes one delivery."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hls_handler.background.catch_up import find_reserved, select_missed
from hls_handler.background.hooks import own_hooks
from hls_handler.clients.api import RateLimit
from hls_handler.clients.hooks import Hook
from hls_handler.deliveries import DeliveryAttempt, NewDelivery
from hls_handler.errors import DependencyDown, Permanent
from hls_handler.storage import Storage
from tests.background.catch_up_world import REPOSITORY, REPOSITORY_ID, World, component, hook, make_loop, make_settings


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(Storage.open(f"sqlite:///{tmp_path}/hls.db")) as store:
        yield World(store)


def test_27_of_700_missed_deliveries_are_each_processed_once(world: World) -> None:
    github, wanted = world.github, list[str]()
    for number in range(1, 701):
        guid = f"guid-{number}"
        if number % 25 == 0 and len(wanted) < 27:
            wanted.append(guid)
            github.send(guid, number=number)
        else:
            github.send(guid, event="check_run" if number % 3 else "issues", action="pinned", number=number)
    world.requests_before_stop = 7 + 10  # the process ends in the middle
    interrupted = world.catch_up().run()
    assert (interrupted.accepted, interrupted.remaining) == (9, 18)

    world.requests_before_stop = 1_000_000
    report = world.catch_up().run()
    assert (report.looked_at, report.fetched, report.accepted, report.remaining) == (700, 18, 18, 0)
    assert github.read == 27
    assert world.process_all() == wanted
    again = world.catch_up().run()
    assert (again.looked_at, again.fetched) == (0, 0)
    assert world.store.statistics.counters()["caught_up", ""] == 27


def attempt(number: int, guid: str, status: int) -> DeliveryAttempt:
    return DeliveryAttempt(number, guid, datetime.now(UTC), status, "issues", "opened", REPOSITORY_ID)


@pytest.mark.parametrize(
    ("attempts", "missed"),
    [
        ([attempt(1, "a", 502)], [1]),
        ([attempt(2, "a", 202), attempt(1, "a", 502)], []),  # redelivered with success
        ([attempt(2, "a", 502), attempt(1, "a", 202)], []),  # redelivered without need
        ([attempt(3, "b", 401), attempt(2, "c", 204), attempt(1, "a", 503)], [1, 3]),
    ],
)
def test_only_deliveries_without_any_success_are_missed(attempts: list[DeliveryAttempt], missed: list[int]) -> None:
    assert [one.id for one in select_missed(attempts, lambda _: True)] == missed


def test_ignored_events_and_repositories_are_skipped_without_reading_the_payload(world: World) -> None:
    world.github.send("ignored-event", event="push", action=None)
    world.github.send("ignored-action", action="transferred")
    world.github.send("label", action="labeled")  # may be a correction of a label
    world.github.send("wanted")
    assert [one.attempt.guid for one in world.catch_up().run().missed] == ["label", "wanted"]


def test_unknown_repository_of_an_organisation_is_read_once(world: World) -> None:
    world.settings = make_settings("octo/gadgets")
    world.github.hook_lists = {"/repos/octo/gadgets": [], "/orgs/octo": [hook(1)]}
    for number in range(3):
        world.github.send(f"guid-{number}", number=number + 1)  # of octo/widgets
    assert world.catch_up().run().fetched == 1
    assert [(new.state, accepted.outcome) for new, accepted in world.committed] == [("ignored", "ignored")]


def test_rule_5_delivery_that_arrives_by_webhook_meanwhile_is_processed_once(world: World) -> None:
    world.github.send("guid", number=4)
    received = NewDelivery("guid", "issues", "opened", "request", "queued", repository_id=REPOSITORY_ID, number=4)
    find_payload = world.github.find_payload

    def receive_first(path: str, attempt_id: int) -> bytes | None:
        world.store.queue.accept([received], replay_window_h=72)
        return find_payload(path, attempt_id)

    world.github.find_payload = receive_first  # type: ignore[method-assign]
    assert world.catch_up().run().accepted == 0
    assert world.process_all() == ["guid"]
    assert world.catch_up().run().fetched == 0


def test_stored_delivery_is_not_read_in_any_state(world: World) -> None:
    world.github.send("dead")
    queued = NewDelivery("dead", "issues", "opened", "request", "queued", repository_id=REPOSITORY_ID, number=1)
    world.store.queue.accept([queued], replay_window_h=72)
    lease = world.store.queue.claim(worker="w", lease_s=30, max_crashes=3)
    assert lease is not None
    world.store.queue.dead_letter(lease, reason="broken", handler="IssueHandler")
    assert world.catch_up().run().missed == []


def test_caught_up_delivery_is_marked_and_counts_as_no_webhook(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.github.send("guid", number=4)
    with caplog.at_level(logging.INFO):
        world.catch_up().run()
    (line,) = (record for record in caplog.records if record.message == "webhook received")
    assert (line.__dict__["delivery"], line.__dict__["decision"], line.__dict__["caught_up"]) == (
        "guid",
        "queued",
        True,
    )
    row = world.store.deliveries.find("guid")
    assert row is not None
    assert (row.is_caught_up, row.request_id, row.state) == (True, "caught-up:1", "queued")
    counters = world.store.statistics.counters()
    assert (counters["caught_up", ""], counters["event", "issues.opened"]) == (1, 1)
    assert ("webhooks", "") not in counters
    assert world.store.statistics.last_webhooks() == {}


def test_expired_payload_is_reported_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.github.send("guid", age=timedelta(minutes=1))
    world.github.payloads.clear()
    catch_up = world.catch_up()
    with caplog.at_level(logging.WARNING):
        assert (catch_up.run().lost, catch_up.run().lost) == (1, 0)
    assert [record.message for record in caplog.records] == [
        "missed webhook is lost: GitHub no longer keeps its payload"
    ]


def test_attempts_outside_of_the_window_are_not_read(world: World) -> None:
    world.settings = make_settings(window_h=24)
    world.github.send("old", age=timedelta(hours=25))
    world.github.send("new", age=timedelta(hours=23))
    assert [one.attempt.guid for one in world.catch_up().run().missed] == ["new"]


def test_complete_run_is_not_repeated_but_attempts_listed_late_are_found(world: World) -> None:
    world.github.send("first", age=timedelta(hours=2))
    world.github.send("second", age=timedelta(minutes=10), number=2)
    late = world.github.attempts.pop()
    world.github.send("third", age=timedelta(minutes=1), number=3)
    world.catch_up().run()
    world.github.attempts.insert(1, late)
    assert [one.attempt.guid for one in world.catch_up().run().missed] == ["second"]


def test_dry_run_stores_nothing(world: World) -> None:
    world.github.send("guid")
    report = world.catch_up().run(dry_run=True)
    assert ([one.repository for one in report.missed], world.github.read) == ([REPOSITORY], 0)
    assert world.catch_up().run().accepted == 1


def test_only_one_process_catches_up_at_a_time(world: World) -> None:
    lease = world.store.catch_up.acquire()
    assert lease is not None
    assert world.catch_up().run().is_busy
    assert world.github.requests == []
    world.store.catch_up.release(lease)
    assert not world.catch_up().run().is_busy


def test_missing_permission_is_one_state_with_the_remedy(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.github.hook_lists = {f"/repos/{REPOSITORY}": Permanent("GET ...: 403 Forbidden")}
    loop, health = make_loop(world)
    with caplog.at_level(logging.INFO):
        loop.run()
        loop.run()
    found = component(health)
    assert (found.state, found.message) == (
        "degraded",
        f"the webhooks of {REPOSITORY} cannot be listed: GET ...: 403 Forbidden",
    )
    assert found.remedy is not None
    assert "Webhooks: read" in found.remedy
    assert "catch_up.enabled: false" in found.remedy
    assert [record.message for record in caplog.records] == ["catch-up is incomplete"]


def test_switched_off_sends_no_request(world: World) -> None:
    world.settings = make_settings(enabled=False)
    loop, health = make_loop(world)
    loop.run()
    assert (component(health).state, world.github.requests) == ("healthy", [])


def test_run_while_github_is_down_is_repeated_by_the_next_one(world: World) -> None:
    world.github.send("guid")
    loop, health = make_loop(world)
    in_a_minute = datetime.now(UTC) + timedelta(minutes=1)
    world.github.down = DependencyDown("502 Bad Gateway", dependency="github", remedy="wait")
    loop.run()
    assert (component(health).state, component(health).message) == ("degraded", "502 Bad Gateway")
    world.github.down = DependencyDown("429", dependency="github", remedy="wait", not_before=in_a_minute)
    loop.run()
    world.github.down = None
    loop.run()  # sends nothing, because GitHub asked to wait
    assert "no requests until" in str(component(health).message)
    assert len(world.github.requests) == 2
    world.store.queue.reschedule_waiting(forget_servers=True)
    loop.run()
    assert (component(health).state, world.process_all()) == ("healthy", ["guid"])


def test_metrics_show_the_last_run(world: World) -> None:
    world.github.send("guid")
    world.github.send("received", status=202)
    loop, health = make_loop(world)
    loop.run()
    metrics = dict(component(health).metrics)
    assert datetime.fromisoformat(str(metrics.pop("last_run"))).tzinfo is not None
    assert metrics == {
        "hooks": 1,
        "looked_at": 2,
        "fetched": 1,
        "accepted": 1,
        "unread": 0,
        "lost": 0,
        "remaining": 0,
    }


RESET = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rate_limit", "minutes_before_reset", "waits"),
    [
        (RateLimit(5000, 1250, RESET), 30, False),
        (RateLimit(5000, 1249, RESET), 30, True),
        (RateLimit(5000, 0, RESET), 0, False),
    ],
)
def test_a_quarter_of_the_hourly_limit_is_reserved_for_deliveries(
    rate_limit: RateLimit, minutes_before_reset: int, waits: bool
) -> None:
    assert (find_reserved(rate_limit, RESET - timedelta(minutes=minutes_before_reset)) is not None) == waits


def test_listening_begins_with_the_webhooks_sent_from_now_on(world: World) -> None:
    world.github.send("before")
    loop, _ = make_loop(world, every_s=5.0, since=datetime.now(UTC))
    loop.run()
    world.github.send("after", number=2, age=timedelta())
    loop.run()
    assert (loop.every_s(), world.process_all()) == (5.0, ["after"])


def test_listening_without_a_known_repository_says_what_to_do(world: World) -> None:
    world.settings = make_settings("*/*")
    loop, health = make_loop(world, every_s=5.0, since=datetime.now(UTC))
    loop.run()
    assert component(health).remedy == "name each repository under `repositories` as owner/repo"


HOOKS = [
    hook(1, "https://other.example/ci"),
    hook(2, "https://hls.example/hooks/webhook"),
    hook(3, "https://old.example/webhook", active=False),
]


@pytest.mark.parametrize(
    ("hooks", "hook_id", "chosen"),
    [
        (HOOKS, None, [2]),
        (HOOKS, 3, [3]),
        ([*HOOKS, hook(4)], None, [2, 4]),
        ([hook(5, "https://exa\u2100mple.invalid/webhook"), hook(6, "http://[::1/webhook"), hook(7)], None, [7]),
    ],
)
def test_own_hook_is_the_active_one_with_our_path_or_the_chosen_one(
    hooks: list[Hook], hook_id: int | None, chosen: list[int]
) -> None:
    assert [hook.id for hook in own_hooks(hooks, webhook_paths=("/webhook",), hook_id=hook_id)] == chosen


def problems(world: World) -> list[str]:
    return [problem.message for problem in world.catch_up().run().problems]


def test_several_hooks_with_our_path_are_reported_and_none_is_read(world: World) -> None:
    world.github.hook_lists = {f"/repos/{REPOSITORY}": [hook(1), hook(2)]}
    world.github.send("guid")
    assert problems(world) == [f"{REPOSITORY} has several webhooks that end with /webhook: 1, 2"]
    world.settings = make_settings(hook_id=2)
    assert problems(world) == []


def test_repository_without_a_hook_is_reported_unless_its_organisation_has_one(world: World) -> None:
    world.github.hook_lists = {f"/repos/{REPOSITORY}": []}
    assert problems(world) == [f"{REPOSITORY} has no active webhook whose URL ends with /webhook"]
    world.github.hook_lists["/orgs/octo"] = [hook(5)]
    assert problems(world) == []


def test_pattern_covers_repositories_whose_webhooks_were_received(world: World) -> None:
    world.settings = make_settings("octo/*")
    assert world.catch_up().run().hooks == 0
    seen = NewDelivery("guid-0", "issues", "opened", "request", "ignored", repository=REPOSITORY, reason="x")
    other = replace_repository(seen, "guid-1", "mallory/widgets")
    world.store.queue.accept([seen, other], replay_window_h=72)
    world.github.requests.clear()
    assert world.catch_up().run().hooks == 1
    assert world.github.requests == [f"/repos/{REPOSITORY}", "/orgs/octo", "page None"]


def replace_repository(new: NewDelivery, guid: str, repository: str) -> NewDelivery:
    return NewDelivery(guid, new.event, new.action, new.request_id, "ignored", repository=repository, reason="x")
