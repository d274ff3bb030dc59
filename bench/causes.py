"""Response times of the console's pages with 20,000 deliveries that are dead, wait or are done,
with a reason of its own each, relative to one.

The reasons differ in an id, as after an outage of Claude, so they have one cause. Both stores are
asked as by `bench.pages`, but nothing is kept between two requests. The shortest times are
compared, because other load only lengthens them. `python -m bench.causes CORE URL` serves a store.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine
from starlette.types import Receive, Scope, Send

from bench.pages import BATCH, compare_pages, make_browser, serve_pages, time_pages
from bench.process import RunModule, running, separate_cores
from bench.row import Row
from hls_handler.db.tables import deliveries
from hls_handler.deliveries import State, find_cause
from hls_handler.store.storage import Storage
from tests.postgres import running_cluster

REQUIRED, AIM = 3.0, 2.0
STATES: dict[State, str] = {"dead": "dead", "queued": "waiting", "done": "done"}
"""State -> its word in the query."""


@dataclass(frozen=True, slots=True)
class Plan:
    deliveries: int = 20_000
    requests: int = 25  # of each page to each store
    run: RunModule = running


PLAN = Plan()


def measure(folder: Path, *, plan: Plan = PLAN) -> tuple[Row, ...]:
    return tuple(
        _measure(
            f"SQLite, {word}",
            [f"sqlite:///{folder / word}-{size}.db" for size in ("one", "many")],
            state,
            plan,
        )
        for state, word in STATES.items()
    )


def measure_postgresql(folder: Path, *, plan: Plan = PLAN) -> tuple[Row, ...]:
    with running_cluster(within=folder) as cluster:
        return tuple(
            _measure(
                f"PostgreSQL, {word}",
                [cluster.url(cluster.create()) for _ in range(2)],
                state,
                plan,
            )
            for state, word in STATES.items()
        )


def _measure(name: str, urls: Sequence[str], state: State, plan: Plan) -> Row:
    small, large = urls
    fill(small, 1, state)
    fill(large, plan.deliveries, state)
    query = f"/deliveries?q=is:{STATES[state]}"
    pages = {"list": query, "delivery": "/deliveries/failed-1", "overview": "/"}
    if state != "done":
        pages["cause"] = f"{query}+cause:{find_cause(_reason(1))}"
    times = {}
    with (
        separate_cores() as core,
        plan.run("bench.causes", core, small) as of_one,
        plan.run("bench.causes", core, large) as of_many,
    ):
        for page, address in pages.items():
            of_both = time_pages(of_one, address, of_many, address, plan.requests)
            times[page] = (min(of_both[0]), min(of_both[1]))
    title = f"console pages, {plan.deliveries:,} reasons to 1, {name}"
    return compare_pages(title, times, REQUIRED, AIM)


def fill(url: str, number: int, state: State) -> None:
    """Store deliveries in the state, each with a reason of its own."""
    now_ms = int(time.time() * 1000)
    with closing(Storage.open(url)) as store:
        for first in range(1, number + 1, BATCH):
            rows = [
                _delivery(one, state, now_ms)
                for one in range(first, min(first + BATCH, number + 1))
            ]
            with store.database.writing() as connection:
                store.database.insert_rows(connection, deliveries, rows)
        is_postgresql = store.database.file is None
    if is_postgresql:
        # as autovacuum does within a minute; until then, an index is read with its rows
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE deliveries")
        engine.dispose()


def _delivery(number: int, state: State, now_ms: int) -> dict[str, object]:
    reason = _reason(number)
    return {
        "guid": f"failed-{number}",
        "event": "issues",
        "action": "opened",
        "request_id": f"request-{number}",
        "state": state,
        "reason": reason,
        "cause": find_cause(reason),
        "repository_id": 1,
        "repository": "octo/widgets",
        "number": number,
        "sender": "mona",
        "title": "The service does not start",
        "conversation_key": f"1#{number}",
        "received_at": now_ms,
        "queued_at": now_ms,
        "due_at": now_ms + 3_600_000,
        "body": bytes(500),
    }


def _reason(number: int) -> str:
    return f"Claude answered 529: overloaded (req_{number:024x})"


def main(arguments: Sequence[str]) -> None:
    with closing(Storage.open(arguments[1])) as store:
        browser = make_browser(store)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            browser.now += 60  # the overview is kept for ten seconds
            await browser.app(scope, receive, send)

        serve_pages(int(arguments[0]), app)


if __name__ == "__main__":
    main(sys.argv[1:])
