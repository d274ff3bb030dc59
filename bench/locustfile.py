"""Contributors who open pull requests, for locust: each waits until the previous delivery is
finished.

`bench.pull_requests` (`make load`) starts it, and passes the stand-in, database and results file in
the environment.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent.event import AsyncResult  # type: ignore[import-untyped]
from locust import FastHttpUser, events, task
from locust.env import Environment
from locust.exception import StopUser

from bench.process import MeasuredProcess
from bench.requests import SECRET, webhooks
from bench.stand_in import StandIn
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage
from hls_handler.web.webhook import sign

ACKNOWLEDGEMENT, END_TO_END = "acknowledgement", "end to end"
POLL_S = 0.05
MAX_ROWS = 400  # more than the number of deliveries in progress
_OPEN = ("queued", "running")


class Watcher:
    """Polls the database of the service until deliveries are finished."""

    def __init__(self, store: Storage) -> None:
        self._store = store
        self._waiting: dict[str, AsyncResult] = {}

    def expect(self, guid: str) -> AsyncResult:
        """Return a future for the final state of the delivery."""
        self._waiting[guid] = AsyncResult()
        return self._waiting[guid]

    def poll(self) -> None:
        while True:
            gevent.sleep(POLL_S)
            for row in islice(self._store.searches.read_all(DeliverySearch()), MAX_ROWS):
                if row.state not in _OPEN and row.guid in self._waiting:
                    self._waiting.pop(row.guid).set(row.state)


class World:
    """State that all contributors share."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.stand_in = StandIn(MeasuredProcess(int(environ["HLS_LOAD_STAND_IN"]), 0))
        self.watcher = Watcher(Storage.open(environ["HLS_LOAD_STORE"]))
        self.pull_requests: Iterator[tuple[str, bytes]] = (
            one for one in webhooks() if one[0] == "pull_request"
        )
        self.each = int(environ["HLS_LOAD_EACH"])


class Contributor(FastHttpUser):
    """Opens pull requests one after the other."""

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
        final_state = self.world.watcher.expect(guid)
        start = time.perf_counter()
        if (
            self.client.post(
                "/webhook", data=body.decode(), headers=headers, name=ACKNOWLEDGEMENT
            ).status_code
            != 202
        ):
            return
        state = final_state.get()
        took_ms = (time.perf_counter() - start) * 1000
        failed = None if state == "done" else AssertionError(f"delivery {guid} ended as {state}")
        self.environment.events.request.fire(
            request_type="",
            name=END_TO_END,
            response_time=took_ms,
            response_length=0,
            exception=failed,
            context={},
        )


@events.init.add_listener  # type: ignore[untyped-decorator]
def start(environment: Environment, **_: Any) -> None:
    Contributor.world = World(dict(os.environ))
    gevent.spawn(Contributor.world.watcher.poll)
    gevent.spawn(_quit_when_finished, environment)


def _quit_when_finished(environment: Environment) -> None:
    runner = environment.runner
    assert runner is not None
    while not runner.user_count:
        gevent.sleep(POLL_S)
    while runner.user_count:
        gevent.sleep(POLL_S)
    runner.quit()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def write_result(environment: Environment, **_: Any) -> None:
    """Write the number of requests and percentiles in milliseconds as JSON, by name."""
    result = {}
    for entry in environment.stats.entries.values():
        shares = {
            f"p{share}": entry.get_response_time_percentile(share / 100) for share in (50, 95, 99)
        }
        result[entry.name] = {"number": entry.num_requests, "failed": entry.num_failures, **shares}
    Path(os.environ["HLS_LOAD_RESULT"]).write_text(json.dumps(result), encoding="utf-8")
