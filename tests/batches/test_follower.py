"""A command that has handed its batch over to a service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from hls_handler.claude.provider import ADDRESS_REMEDY, KEY_REMEDY, OUTAGE_REMEDY
from hls_handler.cli.batch_follower import Follower, find_problem
from hls_handler.db.files import find_server
from hls_handler.deliveries import End
from hls_handler.engine.health import Component, Health
from hls_handler.github.credentials import JWT_REMEDY
from hls_handler.github.errors import TOKEN_REMEDY
from hls_handler.store.storage import Storage
from tests.batches.builders import begin_batch
from tests.queue.builders import claim


class Clock:
    """A clock that only pauses advance."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def follow(
    store: Storage,
    batch: int,
    *,
    clock: Clock | None = None,
    has_service: Callable[[], bool | None] = lambda: None,
    at_s: float = 1.0,
    act: Callable[[], object] = lambda: None,
) -> str:
    """Follow a batch, act at this second, and stop the batch after a minute. Return the problem
    that was named before.
    """
    time = clock or Clock()

    def pause(seconds: float) -> None:
        time.pause(seconds)
        if time.now == at_s:
            act()
        if time.now > 60:
            store.batches.stop(batch, by="mona")

    row = store.batches.find(batch)
    assert row is not None
    follower = Follower(store, row, has_service=has_service, clock=time.read, pause=pause)
    follower.follow()
    return follower.problem


NO_SERVICE = "no service works on it: start `hls serve`"


def test_command_without_a_service_names_it_after_30_seconds(store: Storage) -> None:
    clock = Clock()
    assert follow(store, begin_batch(store, 1), clock=clock) == NO_SERVICE
    assert 30 < clock.now < 32


def test_command_follows_a_service_that_has_begun_until_the_end(store: Storage) -> None:
    clock = Clock()
    batch = begin_batch(store, 1)
    lease = claim(store)
    finish = partial(store.queue.finish, lease, End("done", "recorded"))
    assert follow(store, batch, clock=clock, at_s=59.0, act=finish) == ""
    assert clock.now == 59.0


def test_service_that_is_known_to_run_is_waited_for(store: Storage) -> None:
    batch = begin_batch(store, 1)
    assert follow(store, batch, has_service=lambda: True) == ""


def test_service_that_ended_is_named(store: Storage) -> None:
    batch = begin_batch(store, 1)
    claim(store)  # by another command, which holds the lock no longer
    assert follow(store, batch, has_service=lambda: False) == NO_SERVICE


def test_service_that_is_busy_with_another_batch_is_waited_for(store: Storage) -> None:
    begin_batch(store, 1)
    claim(store)
    assert follow(store, begin_batch(store, 2)) == ""


@pytest.mark.parametrize(
    ("reason", "printed"),
    [
        ("the budget is used up", "waiting     the budget is used up\n"),
        ("waits for a slot to call Claude", ""),
    ],
)
def test_service_that_postponed_what_it_claimed_is_waited_for_and_the_reason_shown(
    store: Storage, capsys: pytest.CaptureFixture[str], reason: str, printed: str
) -> None:
    def postpone() -> None:
        tomorrow = store.now() + timedelta(days=1)
        store.queue.postpone(claim(store), at=tomorrow, reason=reason)

    assert follow(store, begin_batch(store, 1), act=postpone) == ""
    assert capsys.readouterr().err == printed


def test_batch_of_which_nothing_is_due_waits_for_no_service(store: Storage) -> None:
    batch = begin_batch(store, 1)
    tomorrow = store.now() + timedelta(days=1)
    store.queue.postpone(claim(store), at=tomorrow, reason="waits for a budget")
    assert follow(store, batch) == ""


def test_pause_is_waited_for(store: Storage) -> None:
    batch = begin_batch(store, 1)
    store.pauses.pause(None, reason=None, by="mona")
    assert follow(store, batch) == ""


def test_what_ended_before_is_no_sign_of_a_service(store: Storage) -> None:
    batch = begin_batch(store, 1, 2)
    store.queue.finish(claim(store), End("done", "recorded"))
    store.batches.stop(batch, by="mona")
    store.batches.resume(batch, max_usd=None, by="mona")
    assert follow(store, batch) == NO_SERVICE


@pytest.mark.parametrize(
    ("component", "remedy", "problem"),
    [
        ("claude", KEY_REMEDY, f"it failed; {KEY_REMEDY}"),
        ("github", TOKEN_REMEDY, f"it failed; {TOKEN_REMEDY}"),
        ("github", JWT_REMEDY, f"it failed; {JWT_REMEDY}"),
        ("claude", ADDRESS_REMEDY, ""),
        ("claude", "do what the message says", ""),
        ("claude", OUTAGE_REMEDY, ""),
    ],
)
def test_only_rejected_credentials_end_a_batch(
    component: Component, remedy: str, problem: str
) -> None:
    health = Health(lambda: datetime(2026, 11, 2, tzinfo=UTC))
    health.report_problem(component, "it failed", remedy)
    assert find_problem(health) == problem


def test_postgresql_is_always_handed_over() -> None:
    assert find_server("postgresql+psycopg://hls@localhost/hls") is None
