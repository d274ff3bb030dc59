"""A command that has handed its batch over to a service."""

from __future__ import annotations

from hls_handler.cli.batch import Follower
from hls_handler.db.files import find_server
from hls_handler.deliveries import End
from hls_handler.storage import Storage
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


def test_command_without_a_service_names_it_after_30_seconds(store: Storage) -> None:
    clock = Clock()
    batch = begin_batch(store, 1)
    follower = Follower(store, batch, clock=clock.read, pause=clock.pause)
    follower.follow()
    assert follower.problem == "no service has begun: start `hls serve`"
    assert 30 < clock.now < 32


def test_command_follows_a_service_that_has_begun_until_the_end(store: Storage) -> None:
    clock = Clock()
    batch = begin_batch(store, 1)
    lease = claim(store)

    def pause(seconds: float) -> None:
        clock.pause(seconds)
        if clock.now > 60:
            store.queue.finish(lease, End("done", "recorded"))

    follower = Follower(store, batch, clock=clock.read, pause=pause)
    follower.follow()
    assert (follower.problem, clock.now) == ("", 60.5)


def test_postgresql_is_always_handed_over() -> None:
    assert find_server("postgresql+psycopg://hls@localhost/hls") is None
