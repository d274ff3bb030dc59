"""Contributors who open pull requests, for locust: each waits until the last one was worked on to the end.

`make load` starts it (`bench.pull_requests`); stand-in, store and the file for the results are in its environment.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent.event import AsyncResult  # type: ignore[import-untyped]
from locust import FastHttpUser, events, task
from locust.env import Environment
from locust.exception import StopUser

from bench.process import Subject
from bench.requests import SECRET, webhooks
from bench.standin import StandIn
from hls_handler.storage import Storage
from hls_handler.web.webhook import sign

ACKNOWLEDGEMENT, END_TO_END = "acknowledgement", "end to end"
LOOK_S = 0.05
MOST = 400  # deliveries that are looked at; more than are ever under way
_OPEN = ("queued", "running")


class Watch:
    """Looks into the service's store until deliveries are finished."""

    def __init__(self, store: Storage) -> None:
        self._store = store
        self._waiting: dict[str, AsyncResult] = {}

    def expect(self, guid: str) -> AsyncResult:
        """What will hold the state in which the delivery ends."""
        self._waiting[guid] = AsyncResult()
        return self._waiting[guid]

    def look(self) -> None:
        while True:
            gevent.sleep(LOOK_S)
            for row in self._store.deliveries.newest(limit=MOST):
                if row.state not in _OPEN and row.guid in self._waiting:
                    self._waiting.pop(row.guid).set(row.state)


class World:
    """What all contributors share."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.stand_in = StandIn(Subject(int(environ["HLS_LOAD_STAND_IN"]), 0))
        self.watch = Watch(Storage.open_existing(environ["HLS_LOAD_STORE"]))
        self.pull_requests: Iterator[tuple[str, bytes]] = (one for one in webhooks() if one[0] == "pull_request")
        self.each = int(environ["HLS_LOAD_EACH"])
        self.at_work = itertools.count(1)


class Contributor(FastHttpUser):
    """Opens one pull request after the other."""

    world: World

    def on_start(self) -> None:
        self.left = self.world.each

    @task
    def open_pull_request(self) -> None:
        if not self.left:
            raise StopUser
        self.left -= 1
        event, body = next(self.world.pull_requests)
        self.world.stand_in.plant([(event, body)])
        guid = str(uuid.uuid4())
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": guid,
            "X-Hub-Signature-256": sign(SECRET.encode(), body).decode(),
        }
        ended = self.world.watch.expect(guid)
        begun = time.perf_counter()
        if self.client.post("/webhook", data=body.decode(), headers=headers, name=ACKNOWLEDGEMENT).status_code != 202:
            return
        state = ended.get()
        took_ms = (time.perf_counter() - begun) * 1000
        failed = None if state == "done" else AssertionError(f"delivery {guid} ended as {state}")
        self.environment.events.request.fire(
            request_type="", name=END_TO_END, response_time=took_ms, response_length=0, exception=failed, context={}
        )


@events.init.add_listener  # type: ignore[untyped-decorator]
def begin(environment: Environment, **_: Any) -> None:
    Contributor.world = World(dict(os.environ))
    gevent.spawn(Contributor.world.watch.look)
    gevent.spawn(_end, environment)


def _end(environment: Environment) -> None:
    """End when all have opened what they were to."""
    runner = environment.runner
    assert runner is not None
    while not runner.user_count:
        gevent.sleep(LOOK_S)
    while runner.user_count:
        gevent.sleep(LOOK_S)
    runner.quit()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def tell(environment: Environment, **_: Any) -> None:
    """The figures, as JSON: milliseconds, and how many there were of each kind."""
    told = {}
    for entry in environment.stats.entries.values():
        shares = {f"p{share}": entry.get_response_time_percentile(share / 100) for share in (50, 95, 99)}
        told[entry.name] = {"number": entry.num_requests, "failed": entry.num_failures, **shares}
    Path(os.environ["HLS_LOAD_RESULT"]).write_text(json.dumps(told), encoding="utf-8")
